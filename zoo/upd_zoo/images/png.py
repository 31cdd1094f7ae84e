"""PNG images whose every chunk and pixel has passed its checksum.

Every chunk has a CRC and the pixels an Adler-32, so no damage passes unnoticed. Pillow gets a file rebuilt from header
and pixels alone.

Source: PNG, third edition (W3C).
"""

import io
import struct
import zlib
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from upd_zoo.images.exif import orientation
from upd_zoo.images.samples import Samples, corrupt, prove, refuse_beyond, trailing, truncated, unsupported

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class _Header(NamedTuple):
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
        bits = self.depth * _CHANNELS[self.colour]
        passes = _ADAM7 if self.interlaced else _WHOLE
        sizes = ((-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in passes)
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)

    @property
    def expanded(self) -> int:
        """Length in bytes of the samples as they are returned: single bits as bytes, palettes as colours."""
        channels = 4 if self.colour == 3 else _CHANNELS[self.colour]
        return self.width * self.height * channels * -(-self.depth // 8)


def read_png(data: bytes, most_bytes: int) -> Samples:
    """Return the samples of a PNG.

    Args:
        data: The whole file.
        most_bytes: Largest decompressed size in bytes.

    Raises:
        InputError: The file is truncated, contradicts itself, is too large or holds something else.
    """
    chunks, end = _chunks(data)
    if b"acTL" in chunks:
        raise unsupported("it is an animation")
    header = _header(chunks)
    refuse_beyond(header.height, header.width, max(header.promised, header.expanded), most_bytes)
    pixels = b"".join(chunks.get(b"IDAT", []))
    prove(pixels, header.promised)
    values = _values(header, pixels)
    if header.colour == 3:
        values = _colours(values, chunks)
    elif b"tRNS" in chunks:
        raise unsupported("one of its colours means transparency")
    turn, cautions = orientation(chunks.get(b"eXIf", []))
    has_alpha = header.colour in (4, 6) or (header.colour == 3 and values.shape[2] == 4)
    return Samples(values, has_alpha, turn, _bits_declared(header, chunks, values), cautions + trailing(data, end))


def _chunks(data: bytes) -> tuple[dict[bytes, list[memoryview]], int]:
    """Return the contents of the chunks by name, after checking every CRC up to IEND, and where IEND ends."""
    chunks: dict[bytes, list[memoryview]] = {}
    view, at = memoryview(data), len(SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at) if at + 12 <= len(data) else (0, b"")
        end = at + 12 + length
        if end > len(data):
            raise truncated("it ends within a chunk")
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise corrupt("a chunk fails its checksum")
        if kind == b"IEND":
            return chunks, end
        chunks.setdefault(kind, []).append(view[at + 8 : end - 4])
        at = end


def _header(chunks: dict[bytes, list[memoryview]]) -> _Header:
    """Return the header after checking that it contradicts neither the standard nor itself."""
    first, *others = chunks or [b""]
    if first != b"IHDR" or len(chunks[first]) != 1 or len(chunks[first][0]) != 13:
        raise corrupt("it does not begin with its one header")
    if any(kind[:1].isupper() and kind not in (b"PLTE", b"IDAT") for kind in others):
        raise unsupported("it has a critical chunk that is not in the standard")
    header = _Header(*struct.unpack(">IIBBBBB", chunks[first][0]))
    if not (header.width and header.height) or header.depth not in _DEPTHS.get(header.colour, ()):
        raise corrupt("its header has an invalid size, depth or colour type")
    if header.compression or header.filtering or header.interlaced > 1:
        raise corrupt("its header has an invalid compression, filter or interlacing")
    return header


def _values(header: _Header, pixels: bytes) -> npt.NDArray[Any]:
    """Return the stored samples, (H, W, S).

    Pillow keeps the upper byte of 16-bit colours only. Read once as big-endian for the upper bytes and once as
    little-endian for the lower ones, they are whole; a 16-bit grey with opacity is read as four bytes.
    """
    body = b"".join((_chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), _PALETTE, _chunk(b"IDAT", pixels)))
    png = SIGNATURE + body + _chunk(b"IEND", b"")
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


def _colours(indices: npt.NDArray[Any], chunks: dict[bytes, list[memoryview]]) -> npt.NDArray[np.uint8]:
    """Return the colours of palette entries, (H, W, 3), or (H, W, 4) where the palette has opacities."""
    palette = np.frombuffer(chunks[b"PLTE"][0], np.uint8).reshape(-1, 3)
    if b"tRNS" in chunks:
        opacities = np.full((len(palette), 1), 255, np.uint8)
        listed = np.frombuffer(chunks[b"tRNS"][0], np.uint8)[: len(palette)]
        opacities[: len(listed), 0] = listed
        palette = np.hstack((palette, opacities))
    colours: npt.NDArray[np.uint8] = palette[indices[..., 0]]
    return colours


def _bits_declared(header: _Header, chunks: dict[bytes, list[memoryview]], values: npt.NDArray[Any]) -> int | None:
    """Return the bits in use, from the lowest, that the chunk sBIT declares.

    The standard has an encoder put the significant bits on top, where the values fill their range already. Many put
    them at the bottom all the same: there the lowest bits are not the zeros that dark pixels of the first kind have.
    """
    declared = {*chunks.get(b"sBIT", [b""])[0]}
    if header.colour == 3 or len(declared) != 1 or not 0 < (bits := declared.pop()) < header.depth:
        return None
    colours = values[..., :-1] if header.colour in (4, 6) else values
    return bits if (colours & ((1 << (header.depth - bits)) - 1)).any() else None


def _chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk with its length and CRC."""
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))))


_PALETTE: Final = _chunk(b"PLTE", bytes(768))  # a placeholder: colours are looked up here
