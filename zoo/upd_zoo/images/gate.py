"""The gate: the one place where medical images from files of unknown origin become arrays.

Readers of training sources and the scoring harness come through here, so that a file is judged once and alike. A file
is either whole and of a kind that can be scored, or it ends in one `InputError` whose message names the file and the
reason, and never holds content of the file: headers carry names, dates and places of patients.

The first bytes decide what a file is, not its suffix: a plain NIfTI called `.nii.gz` and a JPEG called `.png` are read,
since nothing about their pixels is in doubt.
"""

import hashlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, Final

from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images.nifti import Volume, parse_volume
from upd_zoo.images.photograph import Photograph, parse_photograph

VOLUME_SUFFIXES: Final = (".nii", ".nii.gz")
"""Suffixes of the files that `read_volume` is meant for."""

PHOTOGRAPH_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Suffixes of the files that `read_photograph` is meant for."""

_BLOCK: Final = 1 << 20
_LIMIT: Final = "UPD_ZOO_MAX_INPUT_BYTES"
_DEFAULT_LIMIT: Final = 2 << 30
_COPIES: Final = 8
"""The part of the limit that the pixels of a photograph may take, as decoders hold several copies of them for a moment:
a PNG of 67 million pixels, the most by default, takes 770 MB while it is read and written."""

_FOREIGN: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    HeaderDataError,
    ImageFileError,
    LookupError,
    MemoryError,
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What zlib, NumPy, nibabel and Pillow raise on hostile files."""


def max_input_bytes() -> int:
    """Return the largest size of one input in bytes, as stored and as decompressed.

    The environment variable `UPD_ZOO_MAX_INPUT_BYTES` sets it; without it, it is 2 GiB.

    Raises:
        UsageError: The variable is not a whole number above zero.
    """
    text = os.environ.get(_LIMIT, "").strip()
    if not text:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) > 0):
        accepted = "a whole number of bytes above zero, such as 2147483648"
        raise UsageError(f"{_LIMIT} is '{text}'", accepted, f"unset {_LIMIT} for the default of 2 GiB")
    return int(text)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file name in lower case, `.nii.gz` counted as one; empty where there is none."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def read_volume(path: Path, *, constant_ok: bool = False, as_map: bool = False, part: int | None = None) -> Volume:
    """Read one three-dimensional image from a NIfTI-1 or NIfTI-2 file, gzip-compressed or plain.

    Before a voxel is used, the file is decompressed to its end under the size limit, which checks CRC-32 and length of
    the gzip stream, and its length is held against what its header promises. A plain `.nii` has no checksum.

    Args:
        path: The file; its first bytes decide about compression, not its name.
        constant_ok: Accept a volume with one single value, as the lesion mask of a healthy subject has.
        as_map: Accept what an anomaly map may hold: one single value, and NaN anywhere, which stays.
        part: Which of several volumes on one grid to return, from 0; None where there is but one.

    Returns:
        The volume with the file's slope and intercept applied, in the file's own orientation. A fourth axis of length
        one is dropped.

    Raises:
        InputError: `missing`, `unreadable`, `truncated`, `corrupt`, `too-large`, `unsupported` (colours, complex
            numbers, 2-D, several volumes, .hdr/.img pairs), `geometry` (no, a singular or a sheared affine),
            `not-finite`, or `empty` (one single value).
        UsageError: `UPD_ZOO_MAX_INPUT_BYTES` is not a number of bytes.
    """
    limit = max_input_bytes()
    with _one_error(path), _opened(path, limit) as file:
        return parse_volume(file, limit, constant_ok=constant_ok, as_map=as_map, part=part)


def read_photograph(path: Path, *, constant_ok: bool = False, as_map: bool = False) -> Photograph:
    """Read one flat image from a PNG, JPEG or TIFF file.

    The pixels of PNG and deflated TIFF are proven by their checksums. JPEG and other TIFF have none: they are proven to
    reach their end and to decode without a warning, but a flipped bit that decodes to something else cannot be noticed.

    Args:
        path: The file; its first bytes decide about the format, not its name.
        constant_ok: Accept an image with one single value, as an empty mask has.
        as_map: Accept what an anomaly map may hold: one single value, floats of any value, and NaN.

    Returns:
        The image upright, over the full range of its type: 8 bits over 255, 16 bits over 65535 or over the fewer bits
        that the file declares, floats as they are.

    Raises:
        InputError: `missing`, `unreadable`, `truncated`, `corrupt`, `too-large`, `unsupported` (CMYK, transparency,
            several pages, animations, floats outside [0, 1], rare kinds of JPEG and TIFF), `not-finite`, or `empty`.
        UsageError: `UPD_ZOO_MAX_INPUT_BYTES` is not a number of bytes.
    """
    limit = max_input_bytes()
    with _one_error(path), _opened(path, limit) as file:
        return parse_photograph(file.read(), limit // _COPIES, constant_ok=constant_ok, as_map=as_map)


@contextmanager
def _opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most `limit` bytes; a named pipe would block for ever."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        problem = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
        raise InputError(InputErrorCode.UNREADABLE, problem, "a file")
    if status.st_size > limit:
        problem, accepted = f"it has {status.st_size} bytes", f"at most {limit} bytes"
        raise InputError(InputErrorCode.TOO_LARGE, problem, accepted, f"raise {_LIMIT}")
    if status.st_size == 0:
        raise InputError(InputErrorCode.TRUNCATED, "it has no content", "", "copy or export the file again")
    raw = _Hashed(path)
    with io.BufferedReader(raw) as file:
        yield file
        while file.read(_BLOCK):
            pass
        _note(path, raw.digest.hexdigest())


_READ: ContextVar[dict[Path, str] | None] = ContextVar("_READ", default=None)


@contextmanager
def hashes_of_what_is_read() -> Iterator[dict[Path, str]]:
    """Give the SHA-256 of every file that passes the gate within the block and this thread, by path.

    They are those of the bytes that were decoded: a file that is replaced meanwhile cannot carry the hash of others.

    Raises:
        InputError: A file was read twice and was not the same (`unreadable`).
    """
    found: dict[Path, str] = {}
    token = _READ.set(found)
    try:
        yield found
    finally:
        _READ.reset(token)


def _note(path: Path, digest: str) -> None:
    """Tell the hash of a file to whoever asked for it."""
    found = _READ.get()
    if found is not None and found.setdefault(path, digest) != digest:
        raise InputError(
            InputErrorCode.UNREADABLE, "it changed while it was read", "", "add --continue to try it again"
        )


class _Hashed(io.FileIO):
    """A file that hashes the bytes that leave it, and that is read from its start to its end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.digest = hashlib.sha256()

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        return count

    def readall(self) -> bytes:
        content = super().readall()
        self.digest.update(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if (offset, whence) != (0, os.SEEK_SET):
            raise io.UnsupportedOperation("what is hashed is read from its start")
        self.digest = hashlib.sha256()
        return super().seek(offset, whence)


@contextmanager
def _one_error(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with one file into one `InputError` that names the file and nothing of its content."""
    try:
        yield
    except InputError as error:
        raise InputError(error.code, f"{path.name}: {error.problem}", error.accepted, error.next_step) from error
    except _FOREIGN as error:
        code, problem, next_step = _verdict(error)
        raise InputError(code, f"{path.name}: {problem}", "", next_step) from error


def _verdict(error: BaseException) -> tuple[InputErrorCode, str, str]:
    """Return code, problem and next step for an error of another library or of the operating system.

    The libraries' own messages are left to the traceback: some quote the file.
    """
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return InputErrorCode.MISSING, "there is no such file", "check the path"
        case OSError(errno=int(number)):
            return InputErrorCode.UNREADABLE, f"it cannot be read ({os.strerror(number)})", "check its permissions"
        case MemoryError():
            return InputErrorCode.TOO_LARGE, "it needs more memory than is available", f"lower {_LIMIT} or add memory"
        case EOFError():
            return InputErrorCode.TRUNCATED, "it ends too early", "copy or export the file again"
        case zlib.error():
            return InputErrorCode.CORRUPT, "its compressed data fail their checksum", "copy or export the file again"
        case _:
            return InputErrorCode.CORRUPT, "its content breaks the rules of its format", "copy or export the file again"
