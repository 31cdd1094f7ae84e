"""Photographs and radiographs as PNG, JPEG or TIFF, decoded only from what carries pixels.

Each container is walked by code of ours: its size against the cap, its checksums, its end. Decoders then get a file
rebuilt from the pixels and nothing else, so no text chunk, colour profile, thumbnail or foreign tag reaches them, and
neither Pillow's settings (`MAX_IMAGE_PIXELS`, `LOAD_TRUNCATED_IMAGES`) nor its warnings matter.

What a format can prove: every chunk of a PNG has a CRC, and its pixels an Adler-32. A TIFF has no checksum unless it is
deflated, and a JPEG has none: an early end and codes that nobody knows are caught, but a flipped bit that decodes to
something else gives wrong pixels.

Colour profiles and gamma are ignored: the stored values are the image.

**Bits in use.** A file of 16 bits may hold 12 or 10, which then look dark. Where the file declares them (sBIT of a PNG,
MaxSampleValue of a TIFF) and no value contradicts it, they are the range. Where it does not, the range stays that of
the type: a dark image of 16 bits and a bright one of 12 cannot be told apart, and brightening the first would be as
wrong and as silent as darkening the second. So nothing is guessed, and a caution says what share of the range is used.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images import jpeg, png
from upd_zoo.images.exif import BYTE_ORDERS
from upd_zoo.images.jpeg import read_jpeg
from upd_zoo.images.png import read_png
from upd_zoo.images.samples import ACCEPTED, Samples, corrupt, unsupported
from upd_zoo.images.tiff import read_tiff

_BIG_TIFFS: Final = (b"II+\0", b"MM\0+")
_BRIGHT: Final = 0.999
"""A quantile rather than the maximum: a burnt-in letter or a dead pixel says nothing of the bits in use."""
_LEAST_IN_USE: Final = 0.5
"""One bit of the range. That quantile is 0.59 or more in 736 radiographs of NIH ChestX-ray14, and 0.67 or more in the
413 photographs of IDRiD's Part B."""
_LOOKED_AT: Final = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A flat image, upright.

    Attributes:
        stored: (C, H, W) as the file stores it, bool, uint8, uint16 or floating; higher is brighter, C = 1 (grey) or 3
            (red, green, blue). A view of the decoded file, not contiguous.
        full: The stored value that is 1: the largest of its type, or of the bits that the file declares.
        cautions: What is doubtful about the file.
    """

    stored: npt.NDArray[Any]
    full: int
    cautions: tuple[Caution, ...] = ()

    @property
    def data(self) -> npt.NDArray[np.float32]:
        """Make (C, H, W) float32 in [0, 1] of the whole image: four times the memory of its bytes."""
        return np.stack([self.channel(number) for number in range(len(self.stored))])

    def channel(self, number: int) -> npt.NDArray[np.float32]:
        """Return one channel, (H, W) float32 in [0, 1]."""
        return np.asarray(np.divide(self.stored[number], np.float32(self.full), dtype=np.float32, order="C"))


def parse_photograph(data: bytes, most_bytes: int, *, constant_ok: bool = False, as_map: bool = False) -> Photograph:
    """Decode the image in `data`, of the format that its first bytes name.

    Palettes are expanded to colours, and the Exif orientation is applied. An opacity channel is dropped where it is
    opaque everywhere; a transparent pixel has no value to score, and inventing a background is not for the reader.

    Args:
        data: The whole file.
        most_bytes: Largest decompressed size in bytes.
        constant_ok: Accept an image with one single value, as an empty mask has.
        as_map: Accept what an anomaly map may hold: floats of any value, and NaN.

    Raises:
        InputError: The file is not one whole grey or RGB image. The message does not name the file.
    """
    samples = _decoded(data, most_bytes)
    values = _opaque(samples)
    if not as_map:
        _check_floats(values)
    if values.min() == values.max() and not (constant_ok or as_map):
        raise InputError(InputErrorCode.EMPTY, "all pixels have the same value", "an image that shows something")
    full = _full(values, samples.bits)
    upright = _upright(values.transpose(2, 0, 1), samples.orientation)
    return Photograph(upright, full, samples.cautions + (() if as_map else _dark(values, full)))


def thinned(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return at most a million or so pixels of (H, W, …), evenly spread: enough for a share or a quantile."""
    step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _LOOKED_AT))
    return image[::step, ::step]


def _decoded(data: bytes, most_bytes: int) -> Samples:
    """Return what the file stores, by the format of its first bytes."""
    if data.startswith(png.SIGNATURE):
        return read_png(data, most_bytes)
    if data.startswith(jpeg.SIGNATURE):
        return read_jpeg(data, most_bytes)
    if data[:4] in BYTE_ORDERS:
        return read_tiff(data, most_bytes)
    if data[:4] in _BIG_TIFFS:
        raise unsupported("it is a BigTIFF")
    raise corrupt("it does not begin as a PNG, JPEG or TIFF file does")


def _opaque(samples: Samples) -> npt.NDArray[Any]:
    """Return the channels without opacity, after making sure that nothing is transparent."""
    if not samples.has_alpha:
        return samples.values
    opacity = samples.values[..., -1]
    if (opacity != _largest(opacity.dtype)).any():
        raise unsupported("some of its pixels are transparent")
    return samples.values[..., :-1]


def _check_floats(stored: npt.NDArray[Any]) -> None:
    """Refuse floats that are no numbers or leave the range that other images have."""
    if stored.dtype.kind != "f":
        return
    if not np.isfinite(stored).all():
        raise InputError(InputErrorCode.NOT_FINITE, "some pixels are NaN or infinite", ACCEPTED)
    if stored.min() < 0 or stored.max() > 1:
        raise unsupported("its floating-point pixels leave the range from 0 to 1")


def _largest(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def _full(stored: npt.NDArray[Any], bits: int | None) -> int:
    """Return the stored value that is 1: that of the declared bits where no pixel lies above, else of the type."""
    if bits is not None and stored.max() < 1 << bits:
        return (1 << bits) - 1
    return _largest(stored.dtype)


def _dark(stored: npt.NDArray[Any], full: int) -> tuple[Caution, ...]:
    """Return the caution for an image of more than 8 bits that uses a small part of its range.

    One of 8 bits that does is dark in every reader; nobody expects fewer bits in it.
    """
    if stored.dtype.itemsize == 1:
        return ()
    share = float(np.quantile(thinned(stored), _BRIGHT)) / full
    if share >= _LEAST_IN_USE:
        return ()
    message = f"Its brightest pixels reach {100 * share:.2g} % of its range of 0 to {full}, so the model sees it dark."
    return (Caution(CautionCode.BITS, message + _remedy(int(stored.max()), full)),)


def _remedy(largest: int, full: int) -> str:
    """Return what to do where the largest whole number needs fewer bits than the range has."""
    bits, spare = largest.bit_length(), full.bit_length() - largest.bit_length()
    if not bits or not spare:
        return ""
    return (
        f" If it holds {bits} bits, save it with its values multiplied by {1 << spare}, or let the file declare them:"
        f" sBIT {bits} in a PNG, MaxSampleValue {(1 << bits) - 1} in a TIFF."
    )


def _upright(image: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Return a view of a (C, H, W) image with its first row on top and its first column on the left.

    Orientations 5 to 8 have rows and columns exchanged.
    """
    if 5 <= orientation <= 8:
        image = image.transpose(0, 2, 1)
    flipped = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return np.flip(image, flipped)
