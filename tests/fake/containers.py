"""Image files of every kind that the gate reads, also of those that Pillow cannot write."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image


def pillow(image: npt.NDArray[Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a file as Pillow writes it."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def tiff(image: npt.NDArray[Any], **options: Any) -> bytes:
    """Return a TIFF as tifffile writes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(image: npt.NDArray[Any], colour: int, depth: int = 16, chunks: bytes = b"") -> bytes:
    """Return a PNG of kinds that Pillow cannot write; rows use the filter of the row above, where bytes pair up."""
    height, width = image.shape[:2]
    rows = image.astype(f">u{depth // 8}").reshape(height, -1).view(np.uint8)
    filtered = np.hstack((np.full((height, 1), 2, np.uint8), np.diff(rows, axis=0, prepend=np.uint8(0))))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(filtered.tobytes()))
    return SIGNATURE + png_chunk(b"IHDR", header) + chunks + pixels + END


def interlaced_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of 8 bits, grey or RGB, in the seven passes of Adam7."""
    colour = 2 if image.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, colour, 0, 0, 1)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [image[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    return SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + END


def png_header(height: int, depth: int = 8, width: int = 31) -> bytes:
    """Return the header of a grey PNG."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))


SIGNATURE, END = b"\x89PNG\r\n\x1a\n", png_chunk(b"IEND", b"")


def tag(number: int, value: int) -> bytes:
    """Return the directory entry of one LONG in a little-endian TIFF."""
    return struct.pack("<HHII", number, 4, 1, value)


def exif(orientation: int) -> Image.Exif:
    """Return an Exif block that names an orientation."""
    block = Image.Exif()
    block[274] = orientation
    return block
