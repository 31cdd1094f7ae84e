"""JPEG images decoded without a warning, from the segments that carry pixels.

A JPEG has no checksum. What can be told is that it reaches its end marker, that its bits suffice for its size, and that
libjpeg had nothing to warn of: where a scan ends early or holds a code that nobody knows, it fills in what it likes.

Source: ITU-T T.81.
"""

import re
import struct
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from upd_zoo.images.exif import orientation
from upd_zoo.images.samples import Samples, corrupt, refuse_beyond, trailing, truncated, unsupported

SIGNATURE: Final = b"\xff\xd8"
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = 0xC2
_READ_SOF: Final = (0xC0, 0xC1, _PROGRESSIVE)  # baseline, extended sequential, progressive, with Huffman codes
_SOS, _EOI, _APP0, _APP1, _APP14, _APP15, _COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_MOST_SCANS: Final = 100
"""Progressive files have about ten scans; each costs a pass over all pixels, so a few kilobytes could cost hours."""


def read_jpeg(data: bytes, most_bytes: int) -> Samples:
    """Return the samples of a JPEG that has one frame and reaches its end marker.

    What follows the end marker is left unread: cameras put previews there.

    Args:
        data: The whole file.
        most_bytes: Largest decompressed size in bytes.

    Raises:
        InputError: The file is truncated or damaged, contradicts itself, is too large or of an unusual kind.
    """
    segments, end = _segments(data)
    frames = [(marker, segment) for marker, segment in segments if marker in _SOF]
    scans = [segment for marker, segment in segments if marker == _SOS]
    if len(frames) != 1 or not 1 <= len(scans) <= _MOST_SCANS:
        raise corrupt(f"it has {len(frames)} frames and {len(scans)} scans")
    frame = _read_frame(*frames[0])
    refuse_beyond(frame.height, frame.width, frame.height * frame.width * len(frame.factors), most_bytes)
    _check_bits(frame, sum(len(scan) - 2 - int.from_bytes(scan[2:4], "big") for scan in scans))
    exif = [segment[10:] for marker, segment in segments if marker == _APP1 and segment[4:10] == b"Exif\0\0"]
    turn, cautions = orientation(exif)
    kept = b"".join((SIGNATURE, *(segment for marker, segment in segments if _carries_pixels(marker))))
    return Samples(_decoded(kept, len(frame.factors)), orientation=turn, cautions=cautions + trailing(data, end))


def _carries_pixels(marker: int) -> bool:
    """Return whether a decoder needs a segment: application data and comments it does not, but for the colour's."""
    return marker in (_APP0, _APP14) or not (_APP0 <= marker <= _APP15 or marker == _COMMENT)


def _decoded(jpeg: bytes, channels: int) -> npt.NDArray[Any]:
    """Return the pixels (H, W, channels) uint8, after refusing what libjpeg warns of.

    libjpeg warned of none of the 467 photographs of IDRiD.
    """
    try:
        return np.asarray(simplejpeg.decode_jpeg(jpeg, "GRAY" if channels == 1 else "RGB", strict=True))
    except ValueError as error:
        if "subsampling" in str(error):
            raise unsupported("its chroma subsampling is of an unsupported kind") from error
        raise corrupt("its pixels are damaged or end early") from error


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return each marker with its whole segment, coded data included, up to the end marker, and where that ends."""
    segments: list[tuple[int, bytes]] = []
    at = len(SIGNATURE)
    while True:
        found = _MARKER.match(data, at)
        if found is None:
            raise truncated("it ends before its end marker") if at >= len(data) else corrupt("a marker is missing")
        marker, start = found[1][0], found.end()
        if marker == _EOI:
            return [*segments, (marker, b"\xff\xd9")], start
        end = start + int.from_bytes(data[start : start + 2], "big")
        if start + 2 > len(data) or end > len(data):
            raise truncated("it ends within a segment")
        if marker == _SOS:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        segments.append((marker, data[start - 2 : end]))
        at = end


class _Frame(NamedTuple):
    """The frame header: size in pixels, and how many samples of each channel lie along and across, relatively."""

    progressive: bool
    height: int
    width: int
    factors: tuple[tuple[int, int], ...]

    @property
    def blocks(self) -> int:
        """Number of 8 x 8 blocks of all channels that a file cannot do without."""
        across, down = (max(factor[axis] for factor in self.factors) for axis in (0, 1))
        return sum(
            -(-self.width * along // (8 * across)) * -(-self.height * below // (8 * down))
            for along, below in self.factors
        )


def _read_frame(marker: int, segment: bytes) -> _Frame:
    """Return the frame header, after refusing what the decoder would not read as 8-bit grey or colour."""
    depth, height, width, channels = struct.unpack_from(">BHHB", segment, 4)
    if marker not in _READ_SOF or depth != 8:
        raise unsupported(f"it is an unsupported kind of JPEG (frame {marker & 15}, {depth} bits)")
    if channels not in (1, 3):
        raise unsupported(f"it has {channels} channels; four are CMYK")
    listed = [segment[at] for at in range(11, 11 + 3 * channels, 3)]
    factors = tuple((each >> 4, each & 15) for each in listed)
    if not height or not width or any(not 1 <= side <= 4 for factor in factors for side in factor):
        raise corrupt("its frame header has an invalid size or chroma subsampling")
    return _Frame(marker == _PROGRESSIVE, height, width, factors)


def _check_bits(frame: _Frame, coded: int) -> None:
    """Refuse a frame whose blocks do not fit into the coded bytes, before memory is taken for its pixels.

    A block takes a code for its mean, and one for the end of its detail: at least 2 bits, as no code is empty. In a
    progressive file one code may end the detail of 32767 blocks, which leaves 1 bit.
    """
    least = frame.blocks * (1 if frame.progressive else 2) // 8
    if coded < least:
        size = f"{frame.height} x {frame.width} pixels"
        raise truncated(f"its {coded} coded bytes cannot hold {size}, which take at least {least}")
