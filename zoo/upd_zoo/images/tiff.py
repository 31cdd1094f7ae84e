"""TIFF images as the numbers they store, whatever their depth.

Pillow halves 16-bit RGB to 8 bits without a word, and tifffile cannot decode LZW or CCITT by itself. So the directory
is read here, each strip or tile is decompressed to plain bytes, and NumPy gives the bytes their type. Only LZW,
PackBits and CCITT go to libtiff, through Pillow: one segment at a time, in a fresh file with a directory of our own.
libtiff may write a line to stderr about a damaged segment; the line holds nothing of the image.

libtiff goes on where a CCITT stream ends early or has a code that nobody knows, and says so on stderr alone. T.4 and
T.6 leave an encoder one way to code given rows, so what was decoded is coded again and must be what the file holds.

Source: TIFF 6.0; its supplement 2 for deflate.
"""

import io
import math
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from upd_zoo.images.exif import BYTE_ORDERS, orientation
from upd_zoo.images.samples import Samples, corrupt, inflate, refuse_beyond, truncated, unsupported

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _COUNTS, _PLANAR = 273, 277, 278, 279, 284
_T4, _T6, _PREDICTOR, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = (
    292, 293, 317, 320, 322, 323, 324, 325
)  # fmt: skip
_MOST_VALUE, _SAMPLE_FORMAT = 281, 339

_DEFAULTS: Final = {
    _BITS: (1,), _COMPRESSION: (1,), _FILL_ORDER: (1,), _SAMPLES: (1,), _ROWS_PER_STRIP: (2**32 - 1,), _PLANAR: (1,),
    _T4: (0,), _T6: (0,), _PREDICTOR: (1,), _SAMPLE_FORMAT: (1,), _MOST_VALUE: (0,),
}  # fmt: skip
_NO_DEFAULT: Final = (
    _WIDTH, _HEIGHT, _PHOTOMETRIC, _OFFSETS, _COUNTS, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS
)  # fmt: skip
_INTEGER_TYPES: Final = {1: "B", 3: "H", 4: "I"}
_FAX: Final = {_T4: 3, _T6: 4}
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

_STORED, _DEFLATED, _BY_LIBTIFF, _CCITT = (1,), (8, 32946), (2, 3, 4, 5, 32773), (2, 3, 4)
_MOST_SEGMENTS: Final = 1 << 14
"""Of those for libtiff, which takes 0.3 ms to open and check one; a directory of 4 MB can list half a million."""
_PREDICTED: Final = (*_DEFLATED, 5)  # elsewhere libtiff ignores the predictor, and so do all who rely on it
_COLOURS: Final = {0: 1, 1: 1, 2: 3, 3: 1}
_DTYPES: Final = {(1, 1): "u1", (1, 8): "u1", (1, 16): "u2", (3, 16): "f2", (3, 32): "f4", (3, 64): "f8"}


def _directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return the known tags of the first directory of a TIFF file, and where the next directory lies.

    A tag that stands there twice is refused: of two widths, readers take the first or the last.

    Returns:
        The whole numbers of each tag, with the standard's defaults; the next directory's offset, 0 for none.

    Raises:
        InputError: The directory or one of the values lies beyond the end, or a tag is repeated.
    """
    order = BYTE_ORDERS[data[:4]]
    tags: dict[int, tuple[int, ...]] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (entries,) = struct.unpack_from(f"{order}H", data, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            (tag,) = struct.unpack_from(f"{order}H", data, at)
            if tag in tags:
                raise corrupt(f"its directory has the tag {tag} twice")
            if tag in _DEFAULTS or tag in _NO_DEFAULT:
                tags[tag] = _tag_values(data, at, order)
        (following,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * entries)
    except struct.error as error:
        raise truncated("its directory lies beyond its end") from error
    return _DEFAULTS | tags, following


def _tag_values(data: bytes, at: int, order: str) -> tuple[int, ...]:
    """Return the whole numbers of the directory entry at `at`, which holds them or points to them."""
    kind, count = struct.unpack_from(f"{order}HI", data, at + 2)
    length = count * struct.calcsize(_INTEGER_TYPES[kind])
    place = at + 8 if length <= 4 else struct.unpack_from(f"{order}I", data, at + 8)[0]
    return struct.unpack_from(f"{order}{count}{_INTEGER_TYPES[kind]}", data, place)


def read_tiff(data: bytes, most_bytes: int) -> Samples:
    """Return the one image of a TIFF file.

    Stored, deflated, LZW, PackBits and CCITT compression; strips and tiles; both byte orders and planar arrangements.

    Args:
        data: The whole file.
        most_bytes: Largest decompressed size in bytes.

    Raises:
        InputError: The file is truncated, contradicts itself, is too large or holds something else.
    """
    tags, following = _directory(data)
    if following:
        raise unsupported("it holds several images")
    layout = _layout(tags, BYTE_ORDERS[data[:4]])
    refuse_beyond(layout.height, layout.width, max(layout.promised, layout.expanded), most_bytes)
    planes = [_plane(data, layout, plane) for plane in range(layout.planes)]
    values = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    if layout.photometric == 3:
        values = _coloured(values, tags)
    elif layout.photometric == 0:
        values = ~values if values.dtype.kind in "bu" else 1 - values
    turn, cautions = orientation([data])
    return Samples(values, layout.has_alpha, turn, _bits_declared(tags), cautions)


def _bits_declared(tags: dict[int, tuple[int, ...]]) -> int | None:
    """Return the bits in use where MaxSampleValue names the largest number of so many bits, as 4095 is of 12."""
    most = max(tags[_MOST_VALUE])
    return most.bit_length() if most and most & (most + 1) == 0 else None


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the samples of one image are spread over segments (strips, or tiles), as its directory promises."""

    height: int
    width: int
    channels: int  # per segment: all of the image's, or one where the planes are stored apart
    planes: int
    bits: int
    dtype: np.dtype[Any]
    photometric: int
    compression: int
    predictor: int
    segment_height: int
    segment_width: int
    tiled: bool
    segments: tuple[tuple[int, int], ...]  # offset and length in bytes, plane by plane, row by row
    fax: tuple[int, int, int]  # fill order, T4 options, T6 options; of CCITT alone

    @property
    def has_alpha(self) -> bool:
        """Whether there is one channel more than the colours need."""
        return self.channels * self.planes > _COLOURS[self.photometric]

    @property
    def row_bytes(self) -> int:
        """Length of one decompressed row of a segment."""
        return -(-self.segment_width * self.channels * self.bits // 8)

    @property
    def grid(self) -> tuple[int, int]:
        """Number of segments of one plane: down, across."""
        return -(-self.height // self.segment_height), -(-self.width // self.segment_width)

    @property
    def promised(self) -> int:
        """Length of all decompressed segments in bytes, padding of tiles included."""
        return self.planes * math.prod(self.grid) * self.segment_height * self.row_bytes

    @property
    def expanded(self) -> int:
        """Length in bytes of the samples as they are returned: single bits as bytes, palettes as colours of 16 bits."""
        sample = 6 if self.photometric == 3 else -(-self.bits // 8)
        return self.height * self.width * self.channels * self.planes * sample


def _layout(tags: dict[int, tuple[int, ...]], order: str) -> _Layout:
    """Return the layout that `tags` promise, after refusing what is not supported."""
    height, width, photometric = (_required(tags, tag)[0] for tag in (_HEIGHT, _WIDTH, _PHOTOMETRIC))
    samples, compression, planar = (tags[tag][0] for tag in (_SAMPLES, _COMPRESSION, _PLANAR))
    predictor = tags[_PREDICTOR][0] if compression in _PREDICTED else 1
    tiled = _TILE_WIDTH in tags
    rows = _required(tags, _TILE_HEIGHT)[0] if tiled else min(tags[_ROWS_PER_STRIP][0], height)
    columns = tags[_TILE_WIDTH][0] if tiled else width
    if min(height, width, samples, rows, columns) < 1:
        raise corrupt("its directory has a dimension of zero")
    bits = _one_kind(tags)
    _refuse_unsupported(photometric, samples, compression, predictor, bits, tags)
    offsets, counts = (
        _required(tags, tag) for tag in ((_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_OFFSETS, _COUNTS))
    )
    layout = _Layout(
        height, width, samples if planar == 1 else 1, 1 if planar == 1 else samples, bits,
        np.dtype(f"{order}{_DTYPES[tags[_SAMPLE_FORMAT][0], bits]}"), photometric, compression, predictor,
        rows, columns, tiled, tuple(zip(offsets, counts, strict=False)),
        (tags[_FILL_ORDER][0], tags[_T4][0], tags[_T6][0]),
    )  # fmt: skip
    if not len(offsets) == len(counts) == layout.planes * math.prod(layout.grid):
        raise corrupt("its directory does not list one strip or tile for each part of the image")
    if compression in _BY_LIBTIFF and len(offsets) > _MOST_SEGMENTS:
        raise unsupported(f"its image is cut into {len(offsets)} strips or tiles")
    return layout


def _required(tags: dict[int, tuple[int, ...]], tag: int) -> tuple[int, ...]:
    if tag not in tags:
        raise corrupt(f"its directory lacks the tag {tag}")
    return tags[tag]


def _one_kind(tags: dict[int, tuple[int, ...]]) -> int:
    """Return the bits of every sample, after refusing images that mix kinds."""
    bits, formats = set(tags[_BITS]), set(tags[_SAMPLE_FORMAT])
    if len(bits) > 1 or len(formats) > 1 or (tags[_SAMPLE_FORMAT][0], tags[_BITS][0]) not in _DTYPES:
        kinds = f"bits {sorted(bits)}, formats {sorted(formats)}"
        raise unsupported(f"its samples are not of one supported kind ({kinds})")
    return tags[_BITS][0]


def _refuse_unsupported(
    photometric: int, samples: int, compression: int, predictor: int, bits: int, tags: dict[int, tuple[int, ...]]
) -> None:
    """Refuse images that are whole but of a kind that is not read."""
    if photometric not in _COLOURS:
        raise unsupported(f"its colours are neither grey, RGB nor a palette (photometric {photometric})")
    if samples not in (_COLOURS[photometric], _COLOURS[photometric] + 1) or (photometric == 3 and samples > 1):
        raise unsupported(f"it has {samples} channels")
    if compression not in (*_STORED, *_DEFLATED, *_BY_LIBTIFF):
        raise unsupported(f"its compression is neither LZW, deflate, PackBits, CCITT nor none ({compression})")
    single_bits = bits == 1 and samples == 1
    if (bits == 1 or compression in _CCITT) and not single_bits:
        raise unsupported("its single bits are not a grey or palette image")
    if predictor not in (1, 2) or (predictor == 2 and (single_bits or tags[_SAMPLE_FORMAT][0] == 3)):
        raise unsupported(f"its predictor is not supported ({predictor})")
    if tags[_FILL_ORDER][0] != 1 and compression not in _CCITT:
        raise unsupported("its bits are stored in reverse order")
    if tags[_PLANAR][0] not in (1, 2):
        raise corrupt("its planar configuration is neither 1 nor 2")


def _plane(data: bytes, layout: _Layout, plane: int) -> npt.NDArray[Any]:
    """Return the samples of one plane, (H, W, channels)."""
    down, across = layout.grid
    dtype = np.dtype(bool) if layout.bits == 1 else layout.dtype.newbyteorder("=")
    values = np.empty((layout.height, layout.width, layout.channels), dtype)
    for row in range(down):
        for column in range(across):
            offset, count = layout.segments[(plane * down + row) * across + column]
            if offset + count > len(data):
                raise truncated("a strip or tile lies beyond its end")
            top, left = row * layout.segment_height, column * layout.segment_width
            part = values[top : top + layout.segment_height, left : left + layout.segment_width]
            rows = layout.segment_height if layout.tiled else len(part)
            part[...] = _segment(data[offset : offset + count], layout, rows)[: len(part), : part.shape[1]]
    return values


def _segment(packed: bytes, layout: _Layout, rows: int) -> npt.NDArray[Any]:
    """Return the samples of one strip or tile, (rows, segment width, channels)."""
    content = np.frombuffer(_unpacked(packed, layout, rows), np.uint8, rows * layout.row_bytes)
    if layout.bits == 1:
        return np.unpackbits(content.reshape(rows, -1), axis=1)[:, : layout.segment_width, None].astype(bool)
    values = content.view(layout.dtype).reshape(rows, layout.segment_width, layout.channels)
    if layout.predictor == 2:
        return np.cumsum(values, axis=1, dtype=layout.dtype.newbyteorder("="))
    return values


def _unpacked(packed: bytes, layout: _Layout, rows: int) -> bytes:
    """Return the decompressed bytes of one segment, at least `rows` rows of them."""
    least, most = rows * layout.row_bytes, layout.segment_height * layout.row_bytes
    if layout.compression in _DEFLATED:
        return inflate(packed, least, most)  # the last strip may be padded to full height
    if layout.compression in _BY_LIBTIFF:
        return _by_libtiff(packed, layout, rows)
    if len(packed) < least:
        raise truncated("a strip or tile is shorter than its part of the image")
    return packed


def _by_libtiff(packed: bytes, layout: _Layout, rows: int) -> bytes:
    """Return one segment as libtiff decompresses it, presented to it as a grey image of bytes or of single bits."""
    fill_order, *options = layout.fax
    if fill_order == 2:
        packed = packed.translate(_REVERSED)
    bits, width = (1, layout.segment_width) if layout.bits == 1 else (8, layout.row_bytes)
    tags = {
        _WIDTH: width, _HEIGHT: rows, _BITS: bits, _COMPRESSION: layout.compression, _PHOTOMETRIC: 1,
        _OFFSETS: 8, _SAMPLES: 1, _ROWS_PER_STRIP: rows, _COUNTS: len(packed),
    }  # fmt: skip
    fax = {tag: value for tag, value in zip((_T4, _T6), options, strict=True) if layout.compression == _FAX[tag]}
    padding = b"\0" * (len(packed) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted((tags | fax).items()))
    head = struct.pack("<4sI", b"II*\0", 8 + len(packed) + len(padding))
    file = io.BytesIO(b"".join((head, packed, padding, struct.pack("<H", len(tags | fax)), entries, bytes(4))))
    with TiffImageFile(file) as image:
        # Pillow would hold the size against its own limit; the promise is already within ours.
        image.im = Image.new(image.mode, image.size).im
        image.load()
        if layout.compression in _CCITT:
            _prove_fax(packed, image, fax)
        return image.tobytes()


def _prove_fax(packed: bytes, image: Image.Image, options: dict[int, int]) -> None:
    """Refuse a CCITT segment that is not what its decoded rows are coded as.

    Raises:
        InputError: It ends early, is damaged, or its encoder went another way, which cannot be told from damage.
    """
    file = io.BytesIO()
    tags = {_PHOTOMETRIC: 1, **options}
    image.save(file, "TIFF", compression=image.info["compression"], tiffinfo=tags, strip_size=1 << 31)
    written, _ = _directory(file.getvalue())
    (offset,), (count,) = written[_OFFSETS], written[_COUNTS]
    coded = file.getvalue()[offset : offset + count]
    if not packed.startswith(coded) or packed[len(coded) :].strip(b"\0"):
        raise corrupt("its CCITT rows end early, are damaged, or are coded in a way that cannot be checked")


def _coloured(indices: npt.NDArray[Any], tags: dict[int, tuple[int, ...]]) -> npt.NDArray[np.uint16]:
    """Return the colours, (H, W, 3) uint16, of palette entries, (H, W, 1)."""
    palette = np.asarray(_required(tags, _PALETTE), np.uint16)
    if len(palette) != 3 << tags[_BITS][0]:
        raise corrupt("its palette does not have one colour for each value")
    colours: npt.NDArray[np.uint16] = palette.reshape(3, -1).T[indices[..., 0].astype(np.intp)]
    return colours
