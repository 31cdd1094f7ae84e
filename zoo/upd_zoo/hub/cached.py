"""What the cache holds, for who wants to look at it or to make room: only what a pull wrote counts, and only that goes.

Anything else that lies in the folder, such as files of the user or of another program, is neither listed nor touched.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from upd_zoo.artefact.folder import ASKED
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import MANIFEST, SIGNATURE, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.files import HALF_WRITTEN, sha256_of
from upd_zoo.hub.cache import UNWRITABLE, Known
from upd_zoo.hub.receiving import PART
from upd_zoo.names import ModelId

_DAY: Final = 86_400.0
_VERSION: Final = "[0-9a-f]" * 16


@dataclass(frozen=True, slots=True)
class Cached:
    """One version of a model that was pulled.

    Attributes:
        model: Canonical name of the model.
        revisions: Under which names hubs gave it when they were last asked: `main`, a seed, a commit.
        folder: Where it lies.
        bytes: Size of its files in bytes.
        fetched: When the last of them was fetched, in seconds since 1970.
    """

    model: str
    revisions: tuple[str, ...]
    folder: Path
    bytes: int
    fetched: float

    @property
    def age(self) -> float:
        """How many days ago the last of its files was fetched."""
        return (time.time() - self.fetched) / _DAY


def cached(root: Path) -> list[Cached]:
    """Return what lies in a cache, by name and then by age.

    Args:
        root: The folder of the cache; it need not be there.
    """
    found = [_described(folder) for folder in root.glob(f"*/{_VERSION}") if _is_ours(folder)]
    return sorted(found, key=lambda each: (each.model, -each.fetched))


def remove(version: Cached) -> None:
    """Remove a version from its cache: its files, and what was noted of it.

    A file that no pull wrote stays, and so do the folders above it.

    Raises:
        UpdZooError: The cache may not be written.
    """
    folder = version.folder
    try:
        with FileLock(folder.with_suffix(".lock")):
            files = [*_files(folder), *folder.rglob(HALF_WRITTEN), *folder.rglob(PART)]
            notes = [path for path, known in _known(folder) if known.manifest.startswith(folder.name)]
            for path in (*files, *notes):
                path.unlink(missing_ok=True)
        # Whoever waited for the lock fetches the version anew, file by file, and needs nothing that goes here.
        folder.with_suffix(".lock").unlink(missing_ok=True)
        _remove_empty({above for path in (*files, *notes) for above in path.parents if folder.parent in above.parents})
        _remove_empty({folder.parent})
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise UpdZooError(
            f"{version.model} cannot be removed: the cache {folder.parent.parent} is not yours "
            "to write, and others may use it",
            "a cache that you may write to",
            "ask who keeps it, or name a cache of your own with --cache-dir",
        ) from error


def chosen(versions: list[Cached], name: str) -> list[Cached]:
    """Return the versions that are meant by `MODEL` or `MODEL@REVISION`; without a revision, all of the model.

    Raises:
        UsageError: The name is no model's.
        NotFoundError: None of them is in the cache.
    """
    model, revision = ModelId.parse(name), name.partition("@")[2]
    wanted = model.canonical.name
    found = [each for each in versions if each.model == wanted and (not revision or revision in _names_of(each))]
    if not found:
        names = dict.fromkeys(f"{each.model}@{name}" for each in versions for name in each.revisions)
        raise NotFoundError(f"{name} is not in the cache", ", ".join(names), "upd-zoo cache ls")
    return found


def older_than(versions: list[Cached], days: float) -> list[Cached]:
    """Return the versions of which nothing was fetched for so many days.

    Raises:
        UsageError: The number is negative.
    """
    if days < 0:
        raise UsageError(f"nothing is older than {days:g} days ago", "0 or more days")
    return [each for each in versions if each.age >= days]


def _names_of(version: Cached) -> set[str]:
    return {*version.revisions, version.folder.name}


def _is_ours(folder: Path) -> bool:
    """Return whether a pull wrote a folder: its name is the start of the hash of its manifest."""
    if folder.is_symlink() or folder.parent.is_symlink():
        return False
    try:
        manifest = read_record(folder / MANIFEST, Manifest)
        return manifest.id == folder.parent.name and sha256_of(folder / MANIFEST).startswith(folder.name)
    except (NotFoundError, IntegrityError, OSError):
        return False


def _described(folder: Path) -> Cached:
    facts = [path.stat() for path in _files(folder)]
    names = [path.stem for path, known in _known(folder) if known.manifest.startswith(folder.name)]
    return Cached(
        model=folder.parent.name,
        revisions=tuple(sorted(set(names), key=lambda name: (len(name), name))),
        folder=folder,
        bytes=sum(fact.st_size for fact in facts),
        fetched=max(fact.st_mtime for fact in facts),
    )


def _files(folder: Path) -> list[Path]:
    """Return the files of a version, the manifest last: what is half removed is still known as ours."""
    manifest, whole = read_record(folder / MANIFEST, Manifest), folder.resolve()
    paths = (folder / name for name in (*manifest.files, SIGNATURE, ASKED, MANIFEST))
    return [path for path in paths if path.is_file() and path.parent.resolve().is_relative_to(whole)]


def _known(folder: Path) -> Iterator[tuple[Path, Known]]:
    """Yield what hubs gave under the names of the model of a version."""
    for path in (folder.parent / "known").glob("*/*.json"):
        with contextlib.suppress(NotFoundError, IntegrityError, OSError):
            yield path, read_record(path, Known)


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        with contextlib.suppress(OSError):  # what still holds something stays
            folder.rmdir()
