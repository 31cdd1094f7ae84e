"""Files of tensors: safetensors are read, and whatever else a file of weights may be is named."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from upd_zoo.errors import IntegrityError
from upd_zoo.files import replacing

_HEAD: Final = 512
"""Bytes by which a file is known."""
_CONVERT: Final = (
    "convert it, where you trust who made it: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'FILE.safetensors')"
)
_FETCH: Final = "open its address in a browser, agree or log in where it asks, and fetch the file itself"
_LOOKALIKES: Final[tuple[tuple[tuple[bytes, ...], str, str], ...]] = (
    ((b"version https://git-lfs",), "is a pointer of Git LFS, and not the file that it points to", "git lfs pull"),
    ((b"<!doctype html", b"<html", b"<?xml"), "is a web page, and not the file that was asked for", _FETCH),
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "is a pickle, which may run any code when it is read",
        _CONVERT,
    ),
    ((b"pk\x03\x04",), "is an archive of torch.save, which holds a pickle", _CONVERT),
    ((b"\x89hdf",), "is an HDF5 file", "convert it to safetensors"),
)
"""Beginnings of other files, in lower case, what they are, and what to do."""


def read_tensors(path: Path, next_step: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, all of them finite.

    Args:
        path: The file.
        next_step: What to do where it is damaged.

    Raises:
        IntegrityError: It is no safetensors file, or holds a NaN or infinity.
    """
    with open_tensors(path, next_step) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    check_finite(tensors, path, next_step)
    return tensors


@contextmanager
def open_tensors(path: Path, next_step: str) -> Iterator[Any]:
    """Give an opened safetensors file.

    Raises:
        IntegrityError: It is no safetensors file, or ends too early.
    """
    try:
        with safe_open(path, "pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        what, advice = _known(path) or (f"is not a whole safetensors file: {error}", next_step)
        raise IntegrityError(f"{path.name} {what}", "a safetensors file", advice) from error


def check_finite(tensors: Mapping[str, Tensor], path: Path, next_step: str) -> None:
    """Refuse tensors of a file that hold a NaN or infinity.

    Raises:
        IntegrityError: One does; it is named.
    """
    wrong = sorted(
        name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()
    )
    if wrong:
        more = f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise IntegrityError(f"{path.name} holds NaN or infinity in {wrong[0]}{more}", "finite numbers", next_step)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors that share no memory as safetensors, whole or not at all.

    Raises:
        OSError: The file cannot be written; safetensors itself calls a full disk an error of its format.
    """
    with replacing(path) as temporary:
        temporary.touch()
        readers = stat.S_IMODE(temporary.stat().st_mode)  # as the umask says; safetensors writes for the owner alone
        try:
            safetensors.torch.save_file(dict(tensors), temporary, metadata)
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
        temporary.chmod(readers)


def _known(path: Path) -> tuple[str, str] | None:
    """Return what a file is that is no safetensors file, and what to do; None where it cannot be told."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).lstrip().lower()
    except OSError:
        return None
    return next(((what, advice) for starts, what, advice in _LOOKALIKES if head.startswith(starts)), None)
