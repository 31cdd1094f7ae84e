"""NIfTI-1 and NIfTI-2 volumes, built only from bytes that have been proven whole.

nibabel never reads the trailer of a gzip member: 171 of 201 single-bit flips in a `.nii.gz` gave wrong voxels without
an error. Here the stream is decompressed to its end first, which makes zlib check CRC-32 and length of every member,
and its length must be the one that the header promises. nibabel only names the header's fields.

A plain `.nii` carries no checksum: what its header contradicts is caught, a flipped voxel is not.

Source: the NIfTI-1.1 and NIfTI-2 standards; RFC 1952 for gzip.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from upd_zoo.caution import Caution
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.placement import Placement, affine_of, cautions_of
from upd_zoo.images.voids import filled

_BLOCK: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_GZIP_STREAM: Final = 31  # zlib's wbits for gzip with header and trailer
_LONGEST_HEADER: Final = 540
_DTYPES: Final = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"
}  # fmt: skip
_OTHER_DTYPES: Final = {
    1: "single bits", 32: "complex numbers", 128: "RGB colours", 1536: "128-bit numbers", 1792: "complex numbers",
    2048: "complex numbers", 2304: "RGBA colours",
}  # fmt: skip
_ACCEPTED: Final = "one 3-D volume of real numbers, as a whole NIfTI file (.nii or .nii.gz)"
_EXPORT_AGAIN: Final = "copy or export the file again"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A scalar image on a regular grid in space.

    Attributes:
        data: (X, Y, Z) float32, finite but in maps, the values after the file's own slope and intercept, axes in the
            file's order.
        affine: (4, 4) float64, voxel indices to millimetres in RAS+ (right, anterior, superior), orthogonal axes.
        cautions: What is doubtful about the file.
        stored: How its file says where it lies; None where there is no file on this grid.
    """

    data: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    cautions: tuple[Caution, ...] = ()
    stored: Placement | None = None

    @property
    def placement(self) -> Placement:
        """What the header of an image on the same grid says about where it lies."""
        return self.stored or Placement.in_millimetres(self.affine)


def parse_volume(
    stream: BinaryIO, most_bytes: int, *, constant_ok: bool = False, as_map: bool = False, part: int | None = None
) -> Volume:
    """Read one NIfTI file from `stream`, gzip or plain by its first bytes, whatever its name says.

    Memory stays below the header's promise plus a few megabytes, however far the stream would expand.

    Args:
        stream: The file, at its start.
        most_bytes: Largest decompressed size in bytes.
        constant_ok: Accept a volume with one single value, as the mask of a healthy subject has.
        as_map: Accept what an anomaly map may hold: one single value, and NaN anywhere, which stays.
        part: Which of several volumes on one grid to return, from 0; None where there is but one.

    Raises:
        InputError: The file is not one whole, finite, three-dimensional NIfTI volume with an orthogonal affine. NaN
            around a brain is taken for background, with a caution. The message does not name the file.
    """
    content, header, layout = _whole_content(stream, most_bytes)
    chosen = _chosen(layout, part)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite in the end is refused
        placement, affine = Placement.of(header), affine_of(header)
        cautions = cautions_of(header, affine, layout.shape)
        data = _scaled(layout.voxels(content, chosen), *_slope_and_intercept(header))
        low, high = data.min(), data.max()
    if not (np.isfinite(low) and np.isfinite(high)) and not as_map:
        data, caution = filled(data)
        cautions, low, high = (*cautions, caution), data.min(), data.max()
    if low == high and not (constant_ok or as_map):
        raise InputError(InputErrorCode.EMPTY, "all voxels have the same value", "a volume that shows something")
    return Volume(data, affine, cautions, placement)


class _Layout(NamedTuple):
    """Where the voxels lie in the decompressed file, as the header promises."""

    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    offset: int

    @property
    def end(self) -> int:
        """Length of the decompressed file in bytes."""
        return self.offset + self.volumes * math.prod(self.shape) * self.dtype.itemsize

    def voxels(self, content: bytearray, part: int) -> npt.NDArray[Any]:
        """Return the stored values of one volume, (X, Y, Z) in the file's own dtype, sharing memory with `content`."""
        count = math.prod(self.shape)
        start = self.offset + part * count * self.dtype.itemsize
        return np.frombuffer(content, self.dtype, count, start).reshape(self.shape, order="F")


def _chosen(layout: _Layout, part: int | None) -> int:
    """Return which volume of a file is meant."""
    if part is None and layout.volumes > 1:
        problem = f"its dimensions are {' x '.join(map(str, (*layout.shape, layout.volumes)))}"
        raise InputError(InputErrorCode.UNSUPPORTED, problem, _ACCEPTED, "save one volume per file")
    if part is not None and part >= layout.volumes:
        problem = f"it holds {layout.volumes} volumes, of which number {part + 1} is asked for"
        raise InputError(InputErrorCode.UNSUPPORTED, problem, "a file with more", _EXPORT_AGAIN)
    return part or 0


def _whole_content(stream: BinaryIO, most_bytes: int) -> tuple[bytearray, Any, _Layout]:
    """Return the decompressed file, its header and its layout, after checking each against the others."""
    magic = stream.read(len(_GZIP))
    stream.seek(0)
    blocks = _inflated(stream) if magic == _GZIP else iter(lambda: stream.read(_BLOCK), b"")
    content = bytearray()
    while len(content) < _LONGEST_HEADER and (block := next(blocks, b"")):
        content += block
    header, layout = _header_and_layout(bytes(content[:_LONGEST_HEADER]))
    if layout.end > most_bytes:
        problem = f"the header promises {layout.end} bytes"
        raise InputError(
            InputErrorCode.TOO_LARGE, problem, f"at most {most_bytes} bytes", "raise UPD_ZOO_MAX_INPUT_BYTES"
        )
    while len(content) <= layout.end and (block := next(blocks, b"")):
        content += block
    if len(content) < layout.end:
        problem = f"it holds {len(content)} of the {layout.end} bytes that its header promises"
        raise InputError(InputErrorCode.TRUNCATED, problem, _ACCEPTED, _EXPORT_AGAIN)
    if len(content) > layout.end:
        raise _corrupt(f"it continues after the {layout.end} bytes that its header promises")
    return content, header, layout


def _inflated(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the decompressed bytes of all gzip members, none empty; zero padding after the last one is legal.

    zlib raises `zlib.error` where CRC-32 or length of a member is wrong.
    """
    pending = stream.read(_BLOCK)
    while pending.startswith(_GZIP):
        member = zlib.decompressobj(_GZIP_STREAM)
        while not member.eof:
            block = member.decompress(pending, _BLOCK)
            pending = member.unconsumed_tail or stream.read(_BLOCK)
            if block:
                yield block
            elif not pending and not member.eof:
                problem = "its gzip stream ends too early"
                raise InputError(InputErrorCode.TRUNCATED, problem, _ACCEPTED, _EXPORT_AGAIN)
        pending = member.unused_data + pending
    while pending:
        if pending.strip(b"\0"):
            raise _corrupt("bytes that are not gzip follow its gzip stream")
        pending = stream.read(_BLOCK)


def _header_and_layout(start: bytes) -> tuple[Any, _Layout]:
    """Return nibabel's header and the promised layout from the first bytes of a decompressed file.

    Two bytes of redundancy decide the format and its byte order: `sizeof_hdr` and `magic`.
    """
    for endianness in "<>":
        order = np.dtype(f"{endianness}i4")
        size = int(np.frombuffer(start, order, 1)[0]) if len(start) >= order.itemsize else 0
        if size == 348 and start[344:348] == b"n+1\0":
            return _laid_out(Nifti1Header(start[:size], endianness, check=False), endianness, 352)
        if size == 540 and start[4:12] == b"n+2\0\r\n\x1a\n" and len(start) == _LONGEST_HEADER:
            return _laid_out(Nifti2Header(start[:size], endianness, check=False), endianness, 544)
    if start[344:348] == b"ni1\0" or start[4:12] == b"ni2\0\r\n\x1a\n":
        problem = "it is the header of a pair (.hdr and .img)"
        raise InputError(InputErrorCode.UNSUPPORTED, problem, _ACCEPTED, "convert the pair to one .nii.gz")
    if len(start) < 348 or start[4:7] == b"n+2":
        problem = f"{len(start)} bytes are too few for a header"
        raise InputError(InputErrorCode.TRUNCATED, problem, _ACCEPTED, _EXPORT_AGAIN)
    raise _corrupt("it does not begin with a NIfTI header")


def _laid_out(header: Any, endianness: str, least_offset: int) -> tuple[Any, _Layout]:
    """Return `header` and the layout that it promises."""
    offset = float(header["vox_offset"])
    if not offset.is_integer() or offset < least_offset:
        raise _corrupt("its header puts the voxels inside the header (vox_offset)")
    return header, _Layout(*_shape(header), _dtype(header, endianness), int(offset))


def _shape(header: Any) -> tuple[tuple[int, int, int], int]:
    """Return the grid of the volumes in a file and their number."""
    rank, *lengths = (int(length) for length in header["dim"])
    if not 1 <= rank <= len(lengths) or min(lengths[:rank]) < 1:
        raise _corrupt("its header has a dimension below one (dim)")
    if rank < 3 or math.prod(lengths[4:rank]) > 1:
        problem = f"its dimensions are {' x '.join(str(length) for length in lengths[:rank])}"
        raise InputError(InputErrorCode.UNSUPPORTED, problem, _ACCEPTED, "save one volume per file")
    return (lengths[0], lengths[1], lengths[2]), math.prod(lengths[3:rank])


def _dtype(header: Any, endianness: str) -> np.dtype[Any]:
    """Return the dtype of the stored values."""
    code = int(header["datatype"])
    if code in _OTHER_DTYPES:
        problem = f"it stores {_OTHER_DTYPES[code]} (datatype {code})"
        raise InputError(InputErrorCode.UNSUPPORTED, problem, _ACCEPTED, "save it as a grey-scale volume")
    if code not in _DTYPES:
        raise _corrupt(f"its header names an unknown datatype, {code}")
    dtype = np.dtype(f"{endianness}{_DTYPES[code]}")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise _corrupt("its header contradicts itself (datatype, bitpix)")
    return dtype


def _slope_and_intercept(header: Any) -> tuple[float, float]:
    """Return the scaling of the stored values; a slope of zero (the standard) or NaN (nibabel) stands for none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise _corrupt("its header has a slope but no finite intercept (scl_inter)")
    return slope, intercept


def _scaled(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    """Return `slope * stored + intercept`, computed in float64 slice by slice, as float32."""
    if (slope, intercept) == (1.0, 0.0):
        return stored.astype(np.float32)
    data = np.empty(stored.shape, np.float32, order="F")
    for index in range(stored.shape[2]):
        data[..., index] = stored[..., index] * np.float64(slope) + intercept
    return data


def _corrupt(problem: str) -> InputError:
    return InputError(InputErrorCode.CORRUPT, problem, _ACCEPTED, _EXPORT_AGAIN)
