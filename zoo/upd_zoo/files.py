"""Files written whole or not at all, and their hashes."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from typing_extensions import Buffer

from upd_zoo.errors import UsageError

_BLOCK: Final = 1 << 20
_LOCK: Final = ".lock"
_OLD: Final = ".old"
_POLL: Final = 0.5
"""Seconds between two looks at a lock that somebody else holds; many may wait, on a shared file system."""
HALF_WRITTEN: Final = ".[0-9]*.tmp.*"
"""What `replacing` leaves behind where a process is killed: a pattern of file names."""
_LONGEST_SUFFIX: Final = 16


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits, reading in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; when the block ends well it takes the place of `path` in one step.

    The temporary file keeps the last suffixes of `path`, because many writers choose their format by them, and nothing
    else of its name, which may be as long as names can be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp{_suffix(path)}")
    try:
        with naming(path, temporary):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let errors of the operating system, such as a full disk, name what could not be written.

    Args:
        path: What is written.
        temporary: Where it is written meanwhile, a name that says nothing to anyone.
    """
    try:
        yield
    except OSError as error:
        told = {error.filename, error.filename2} - {None}  # a copy names what it reads first
        if not told or (temporary and any(Path(os.fsdecode(each)).is_relative_to(temporary) for each in told)):
            error.filename, error.filename2 = str(path), None
        raise


def _suffix(path: Path) -> str:
    """Return what a writer chooses its format by, such as ".nii.gz"; a full stop where there is nothing."""
    both = "".join(path.suffixes[-2:])
    return next((suffix for suffix in (both, path.suffix) if 0 < len(suffix) <= _LONGEST_SUFFIX), ".")


@contextmanager
def replacing_folder(path: Path, names: Collection[str]) -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends well it takes the place of the folder `path`.

    What a process that was killed left beside `path` is removed first: its lock is nobody's.

    Args:
        path: The folder; where it is a link, what it leads to is replaced.
        names: What may stand in the folder and be lost: files by relative path.

    Raises:
        UsageError: Anything else stands there.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    _check_nothing_is_lost(path, names)
    temporary = path.with_name(_temporary_folder(path) + secrets.token_hex(4))
    temporary.mkdir()  # readable by whom the umask says, which mkdtemp does not heed
    with held(_beside(temporary, _LOCK)):
        try:
            with naming(path, temporary):
                yield temporary
                if path.exists():
                    path.rename(_beside(temporary, _OLD))
                temporary.rename(path)
        finally:
            _clear(path, temporary)


def _check_nothing_is_lost(path: Path, names: Collection[str]) -> None:
    foreign = next((name for name in _inside(path) if name not in names), None)
    if foreign is not None:
        raise UsageError(
            f"the folder {path} holds {foreign}, which would be lost",
            "a new or empty folder, or an older version of what is to be written",
            "choose another folder, or move away what is in this one",
        )
    if path.is_file():
        raise UsageError(f"the folder {path} is a file", "a new or empty folder", "choose another name")


def _inside(path: Path) -> Iterator[str]:
    """Yield what is below a folder but folders, by relative path; a link is not followed."""
    for folder, below, files in os.walk(path):
        links = [name for name in below if (Path(folder) / name).is_symlink()]
        yield from ((Path(folder) / name).relative_to(path).as_posix() for name in (*files, *links))


@contextmanager
def held(lock: Path, patience: float = 0) -> Iterator[None]:
    """Hold a lock, whose file is then removed.

    A process that ends, even by a kill, holds nothing any more.

    Args:
        lock: Its file.
        patience: Seconds to wait for whoever holds it; -1 for as long as it takes.

    Raises:
        Timeout: Somebody else holds it.
    """
    holding = FileLock(lock)
    holding.acquire(timeout=patience, poll_interval=_POLL)
    try:
        yield
    finally:
        with suppress(OSError):  # before it is released: whoever waits finds that the file is gone, and makes another
            lock.unlink()
        holding.release()


@contextmanager
def held_alone(lock: Path, problem: str) -> Iterator[None]:
    """Hold a lock as `held` does, at once or not at all.

    Args:
        lock: Its file.
        problem: What is wrong where somebody else holds it.

    Raises:
        UsageError: Somebody else holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock))
        except Timeout:
            raise UsageError(problem, "one at a time", "wait until it has ended, or choose another folder") from None
        yield


def _beside(temporary: Path, suffix: str) -> Path:
    return temporary.with_name(temporary.name + suffix)


def _clear(path: Path, temporary: Path) -> None:
    """Remove a temporary folder and the one that stood in `path`, which goes back if nothing took its place."""
    aside = _beside(temporary, _OLD)
    if aside.exists() and not path.exists():
        aside.rename(path)
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(temporary, ignore_errors=True)


def _temporary_folder(path: Path) -> str:
    """Return how the names of temporary folders for `path` begin; its own may be as long as names can be."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.tmp."


def _sweep(path: Path) -> None:
    for lock in path.parent.glob(f"{_temporary_folder(path)}*{_LOCK}"):
        with suppress(Timeout), held(lock):
            _clear(path, lock.with_name(lock.name.removesuffix(_LOCK)))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: Buffer) -> None:
    """Write bytes to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Return `value` as JSON text; NaN and infinity are refused because JSON has neither.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON to `path`, whole or not at all."""
    write_text(path, to_json(value) + "\n")


_LEAST_MEGABYTES: Final = 0.01
"""Less than this is told as that: nobody compares bytes in it."""


def megabytes(count: int) -> str:
    """Return a number of bytes as people read it: in MB of a million bytes, a small one to two digits."""
    size = count / 1e6
    if 0 < size < _LEAST_MEGABYTES:
        return f"under {_LEAST_MEGABYTES} MB"
    return f"{size:.0f} MB" if size >= 100 else f"{size:.1f} MB" if size >= 1 else f"{size:.2g} MB"
