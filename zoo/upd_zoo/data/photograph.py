"""Photographs and radiographs as PNG, JPEG or TIFF, decoded only from what carries pixels.

Each container is walked here first: its size against the cap, its checksums, its end. Pillow then gets a file rebuilt
from the pixels and nothing else, so no text chunk, colour profile, thumbnail or foreign tag reaches a decoder, and
neither Pillow's settings (`MAX_IMAGE_PIXELS`, `LOAD_TRUNCATED_IMAGES`) nor its warnings matter.

What a format can prove: every chunk of a PNG has a CRC, and its pixels an Adler-32. A TIFF has no checksum unless it is
deflated, and a JPEG has none: an early end is caught, but a flipped bit that still decodes gives wrong pixels.

Colour profiles and gamma are ignored: the stored values are the image.

Source: PNG, third edition (W3C); ITU-T T.81 for JPEG; Exif 2.32 for the orientation.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from upd_zoo.caution import Caution
from upd_zoo.data.tiff import (
    ACCEPTED,
    BYTE_ORDERS,
    ORIENTATION,
    Samples,
    corrupt,
    directory,
    inflate,
    read_tiff,
    refuse_beyond,
    truncated,
    unsupported,
)
from upd_zoo.errors import InputError, InputErrorCode

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
_BIG_TIFFS: Final = (b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A flat image, upright.

    Attributes:
        data: (C, H, W) float32 in [0, 1], higher is brighter, C = 1 (grey) or 3 (red, green, blue); the stored values
            over the full range of their type, so that 16-bit files with 12 bits of content stay dark.
        cautions: What is doubtful about the file.
    """

    data: npt.NDArray[np.float32]
    cautions: tuple[Caution, ...] = ()


def parse_photograph(data: bytes, most_bytes: int, *, constant_ok: bool = False) -> Photograph:
    """Decode the image in `data`, of the format that its first bytes name.

    Palettes are expanded to colours, and the Exif orientation is applied. An opacity channel is dropped where it is
    opaque everywhere; a transparent pixel has no value to score, and inventing a background is not for the reader.

    Args:
        data: The whole file.
        most_bytes: Largest decompressed size in bytes.
        constant_ok: Accept an image with one single value, as an empty mask has.

    Raises:
        InputError: The file is not one whole grey or RGB image. The message does not name the file.
    """
    samples = _decoded(data, most_bytes)
    values = _in_unit_range(_opaque(samples))
    if values.min() == values.max() and not constant_ok:
        raise InputError(InputErrorCode.EMPTY, "all pixels have the same value", "an image that shows something")
    return Photograph(np.ascontiguousarray(_upright(values.transpose(2, 0, 1), samples.orientation)))


def _decoded(data: bytes, most_bytes: int) -> Samples:
    """Return what the file stores, by the format of its first bytes."""
    if data.startswith(_PNG):
        return _read_png(data, most_bytes)
    if data.startswith(_JPEG):
        return _read_jpeg(data, most_bytes)
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
    full = np.iinfo(opacity.dtype).max if opacity.dtype.kind == "u" else 1
    if (opacity != full).any():
        raise unsupported("some of its pixels are transparent")
    return samples.values[..., :-1]


def _in_unit_range(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the stored values over the full range of their type, float32 in [0, 1]."""
    if stored.dtype.kind == "u":
        full = np.float32(np.iinfo(stored.dtype).max)
        return np.asarray(np.divide(stored, full, dtype=np.float32), np.float32)
    if not np.isfinite(stored).all():
        raise InputError(InputErrorCode.NOT_FINITE, "some pixels are NaN or infinite", ACCEPTED)
    if stored.min() < 0 or stored.max() > 1:
        raise unsupported("its floating-point pixels leave the range from 0 to 1")
    return stored.astype(np.float32)


def _upright(image: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Return a (C, H, W) image with its first row on top and its first column on the left.

    Orientations 5 to 8 have rows and columns exchanged; what is not 1 to 8 says nothing and counts as 1.
    """
    if 5 <= orientation <= 8:
        image = image.transpose(0, 2, 1)
    flipped = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return np.asarray(np.flip(image, flipped), np.float32)


def _orientation(exif: bytes) -> int:
    """Return the orientation that an Exif block names."""
    if exif[:4] not in BYTE_ORDERS:
        raise corrupt("its Exif block does not begin as one")
    return directory(exif)[0][ORIENTATION][0]


# PNG

_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class _PngHeader(NamedTuple):
    """The chunk IHDR, field by field."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlaced: int

    @property
    def promised(self) -> int:
        """Length of the decompressed pixels in bytes: each row of each pass begins with the number of its filter."""
        bits = self.depth * _PNG_CHANNELS[self.colour]
        passes = _ADAM7 if self.interlaced else _WHOLE
        sizes = ((-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in passes)
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _read_png(data: bytes, most_bytes: int) -> Samples:
    """Return the samples of a PNG whose every chunk and pixel has passed its checksum."""
    chunks: dict[bytes, list[memoryview]] = {}
    for kind, body in _png_chunks(data):
        if kind == b"acTL":
            raise unsupported("it is an animation")
        chunks.setdefault(kind, []).append(body)
    header = _png_header(chunks)
    refuse_beyond(header.promised, most_bytes)
    pixels = b"".join(chunks.get(b"IDAT", []))
    inflate(pixels, header.promised, header.promised)
    values = _png_values(header, pixels)
    if header.colour == 3:
        values = _png_colours(values, chunks)
    elif b"tRNS" in chunks:
        raise unsupported("one of its colours stands for transparency")
    exif = chunks.get(b"eXIf")
    has_alpha = header.colour in (4, 6) or (header.colour == 3 and values.shape[2] == 4)
    return Samples(values, has_alpha, _orientation(bytes(exif[0])) if exif else 1)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each chunk after checking its CRC, up to IEND, which must end the file."""
    view, at = memoryview(data), len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        end = at + 12 + length
        if end > len(data):
            raise truncated("it ends within a chunk")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise corrupt("a chunk does not have its checksum")
        if kind == b"IEND":
            break
        yield kind, view[at + 8 : end - 4]
        at = end
    if end != len(data):
        raise corrupt("it goes on after its last chunk")


def _png_header(chunks: dict[bytes, list[memoryview]]) -> _PngHeader:
    """Return the header after checking that it contradicts neither the standard nor itself."""
    first, *others = chunks or [b""]
    if first != b"IHDR" or len(chunks[first]) != 1 or len(chunks[first][0]) != 13:
        raise corrupt("it does not begin with its one header")
    if any(kind[:1].isupper() and kind not in (b"PLTE", b"IDAT") for kind in others):
        raise unsupported("it has a critical chunk that the standard does not know")
    header = _PngHeader(*struct.unpack(">IIBBBBB", chunks[first][0]))
    if not (header.width and header.height) or header.depth not in _PNG_DEPTHS.get(header.colour, ()):
        raise corrupt("its header has no such size, depth or colour type")
    if header.compression or header.filtering or header.interlaced > 1:
        raise corrupt("its header has no such compression, filter or interlacing")
    return header


def _png_values(header: _PngHeader, pixels: bytes) -> npt.NDArray[Any]:
    """Return the stored samples, (H, W, S).

    Pillow keeps the upper byte of 16-bit colours only. Read once as big-endian for the upper bytes and once as
    little-endian for the lower ones, they are whole; a 16-bit grey with opacity is read as four bytes.
    """
    body = b"".join((_chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), _PNG_PALETTE, _chunk(b"IDAT", pixels)))
    png = _PNG + body + _chunk(b"IEND", b"")
    if header.depth < 16 or header.colour == 0:
        values = _by_pillow(png)
    elif header.colour == 4:
        values = _by_pillow(png, "RGBA").view(">u2").astype(np.uint16)
    else:
        mode = "RGB" if header.colour == 2 else "RGBA"
        values = _by_pillow(png, f"{mode};16B").astype(np.uint16) << 8 | _by_pillow(png, f"{mode};16L")
    return values.reshape(header.height, header.width, -1)


def _by_pillow(png: bytes, raw_mode: str | None = None) -> npt.NDArray[Any]:
    """Return the pixels as Pillow unpacks them, by its own choice or as `raw_mode`."""
    with PngImageFile(io.BytesIO(png)) as image:
        if raw_mode is not None:
            image.tile = [image.tile[0]._replace(args=raw_mode)]
        image.load()
        return np.asarray(image)


def _png_colours(indices: npt.NDArray[Any], chunks: dict[bytes, list[memoryview]]) -> npt.NDArray[np.uint8]:
    """Return the colours of palette entries, (H, W, 3), or (H, W, 4) where the palette has opacities."""
    palette = np.frombuffer(chunks[b"PLTE"][0], np.uint8).reshape(-1, 3)
    if b"tRNS" in chunks:
        opacities = np.full((len(palette), 1), 255, np.uint8)
        listed = np.frombuffer(chunks[b"tRNS"][0], np.uint8)[: len(palette)]
        opacities[: len(listed), 0] = listed
        palette = np.hstack((palette, opacities))
    colours: npt.NDArray[np.uint8] = palette[indices[..., 0]]
    return colours


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk with its length and CRC."""
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))))


_PNG_PALETTE: Final = _chunk(b"PLTE", bytes(768))  # a placeholder: colours are looked up here


# JPEG

_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READ_SOF: Final = (0xC0, 0xC1, 0xC2)  # baseline, extended sequential, progressive, with Huffman codes
_SOS, _EOI, _APP0, _APP1, _APP14, _APP15, _COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_MOST_SCANS: Final = 100
"""Progressive files have about ten scans; each costs a pass over all pixels, so a few kilobytes could cost hours."""


def _read_jpeg(data: bytes, most_bytes: int) -> Samples:
    """Return the samples of a JPEG that has one frame and reaches its end marker.

    What follows the end marker is ignored: cameras put previews there.
    """
    kept, frames, scans, orientation = [_JPEG], [], 0, 1
    for marker, segment in _jpeg_segments(data):
        if marker in _SOF:
            frames.append((marker, segment))
        if marker == _APP1 and segment[4:10] == b"Exif\0\0":
            orientation = _orientation(segment[10:])
        scans += marker == _SOS
        if marker in (_APP0, _APP14) or not (_APP0 <= marker <= _APP15 or marker == _COMMENT):
            kept.append(segment)
    if len(frames) != 1 or not 1 <= scans <= _MOST_SCANS:
        raise corrupt(f"it has {len(frames)} frames and {scans} scans")
    _check_frame(*frames[0], most_bytes)
    with JpegImageFile(io.BytesIO(b"".join(kept))) as image:
        image.load()
        values = np.asarray(image)
    return Samples(values.reshape(*values.shape[:2], -1), False, orientation)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each marker with its whole segment, entropy-coded data included, up to and with the end marker."""
    at = len(_JPEG)
    while True:
        found = _MARKER.match(data, at)
        if found is None:
            raise truncated("it ends before its end marker") if at >= len(data) else corrupt("a marker is missing")
        marker, start = found[1][0], found.end()
        if marker == _EOI:
            yield marker, b"\xff\xd9"
            return
        end = start + int.from_bytes(data[start : start + 2], "big")
        if start + 2 > len(data) or end > len(data):
            raise truncated("it ends within a segment")
        if marker == _SOS:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, data[start - 2 : end]
        at = end


def _check_frame(marker: int, segment: bytes, most_bytes: int) -> None:
    """Refuse a frame that is too large, or that the decoder would not read as 8-bit grey or colour."""
    depth, height, width, channels = struct.unpack_from(">BHHB", segment, 4)
    if marker not in _READ_SOF or depth != 8:
        raise unsupported(f"it is a JPEG of an unusual kind (frame {marker & 15}, {depth} bits)")
    if channels not in (1, 3):
        raise unsupported(f"it has {channels} channels; four are CMYK")
    refuse_beyond(height * width * channels, most_bytes)
