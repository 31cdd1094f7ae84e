"""The list of inputs of a run, made once.

Nothing below the folder is lost in silence. Links to folders are followed, each folder once; a folder that cannot be
listed is an input that fails; what is no input is counted by kind, and folders that hold results of an earlier run are
named. File names decide what is looked at, and content what is scored: a mask that lies among scans is an input.
"""

import os
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from upd_harness.scoring.inputs import SUFFIXES, Input, Kind, shortened
from upd_harness.scoring.output import holds_results
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.gate import suffix_of

_MAGIC: Final = 128, b"DICM"
_LONGEST_SUFFIX: Final = 8

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a folder.

    Attributes:
        inputs: In the order of their names.
        left_out: How many files and folders are no inputs, by kind: a suffix, `DICOM`, `hidden` and so on.
        results: Folders that hold results of an earlier run.
    """

    inputs: tuple[Input, ...]
    left_out: dict[str, int]
    results: tuple[str, ...]


def list_inputs(
    folder: Path, leave_out: Path | None = None, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Listing:
    """Return every volume and photograph below a folder, and what else is there.

    Args:
        folder: A folder, or a single file.
        leave_out: A folder whose content is no input, such as the output of the run.
        include: Patterns such as `*_T1w.nii.gz`; an input matches one of them. They are held against its name and
            against the name of its file; `*` stands for slashes too.
        exclude: Patterns that no input matches, nor a folder with a slash after its name.

    Raises:
        NotFoundError: There is no such folder, or no image in it.
    """
    if folder.is_file():
        return Listing((Input.of(folder),), {}, ())
    if not folder.is_dir():
        raise NotFoundError(f"the folder {folder} does not exist", "a folder of images, or one image")
    search = _Search(folder, include, exclude, None if leave_out is None else _place(leave_out))
    search.run()
    if not search.found:
        raise NotFoundError(
            f"there is no image in {folder}{search.otherwise}", f"files that end in {', '.join(SUFFIXES)}"
        )
    return Listing(tuple(_with_places(search.found)), dict(sorted(search.left_out.items())), tuple(search.results))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    base = name.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(base, pattern) for pattern in patterns)


@dataclass(slots=True)
class _Search:
    """A walk over all folders below one, links last, so that a folder keeps the name under which it really lies."""

    root: Path
    include: Sequence[str]
    exclude: Sequence[str]
    own: Place | None
    found: list[Input] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter[str])
    results: list[str] = field(default_factory=list)
    seen: set[Place | None] = field(default_factory=set)
    pending: deque[tuple[Path, str]] = field(default_factory=deque)
    links: deque[tuple[Path, str]] = field(default_factory=deque)

    def run(self) -> None:
        """Look at every folder once."""
        # A link to a folder that holds this one would bring in everything beside it, and this one again.
        self.seen.update(_place(each) for each in (self.root, *self.root.resolve().parents))
        self._list(self.root, "")
        while self.pending or self.links:
            path, name = self.pending.popleft() if self.pending else self.links.popleft()
            if self._is_new(_place(path)):
                self._list(path, name)
        self.found.sort(key=lambda each: each.name.split("/"))

    def _is_new(self, place: Place | None) -> bool:
        if place is None:  # listing it will tell why
            return True
        if place in self.seen:
            self.left_out["folder met before, by a link"] += place != self.own
            return False
        self.seen.add(place)
        return place != self.own

    def _list(self, folder: Path, name: str) -> None:
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._cannot_list(folder, name, error)
            return
        if holds_results(folder):
            self.results.append(name or ".")
            return
        for entry in listed:
            inner = f"{name}/{entry.name}" if name else entry.name
            if entry.name.startswith("."):
                self.left_out["hidden"] += 1
            elif not _is_folder(entry):
                self._take(Path(entry.path), inner)
            elif _matches(f"{inner}/", self.exclude):
                self.left_out["excluded"] += 1
            else:
                (self.links if entry.is_symlink() else self.pending).append((Path(entry.path), inner))

    def _cannot_list(self, folder: Path, name: str, error: OSError) -> None:
        problem = f"{name or folder.name}: the folder cannot be listed ({error.strerror})"
        refusal = InputError(
            InputErrorCode.UNREADABLE, problem, "", "check its permissions, or leave it out by --exclude"
        )
        self.found.append(Input(f"{name or '.'}/", (), Kind.FOLDER, "", self.root, refusal))

    def _take(self, path: Path, name: str) -> None:
        if suffix_of(path) not in SUFFIXES:
            self.left_out[_kind_of_foreign(path)] += 1
        elif _matches(name, self.exclude) or (self.include and not _matches(name, self.include)):
            self.left_out["excluded"] += 1
        else:
            self.found.append(Input.of(path, self.root))

    @property
    def otherwise(self) -> str:
        """What there is instead of images, as the end of a phrase."""
        kinds = [f"{count} {kind}" for kind, count in self.left_out.most_common(5)]
        kinds += ["results of an earlier run"] * bool(self.results)
        return f", but {', '.join(kinds)}" if kinds else ""


def _place(folder: Path) -> Place | None:
    """Return what is one for a folder however it was come to; None where it cannot be looked at."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads nowhere, or to itself, is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _kind_of_foreign(path: Path) -> str:
    """Return what a file that is no input is counted as."""
    if _is_dicom(path):
        return "DICOM"
    suffix = suffix_of(path)
    plain = suffix[1:].isalnum() and not suffix[1:].isdigit() and len(suffix) <= _LONGEST_SUFFIX
    return suffix if plain else "other"


def _is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM files do, whose names often have no suffix."""
    offset, magic = _MAGIC
    try:
        # A named pipe would block for ever.
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(offset + len(magic))[offset:] == magic
    except OSError:
        return False


def _with_places(inputs: Sequence[Input]) -> Iterable[Input]:
    """Give inputs names for their results that neither exceed what a file system takes nor are another's folder."""
    folders = {str(parent) for each in inputs for parent in PurePosixPath(each.name).parents}
    for each in inputs:
        yield replace(each, stored=shortened(each.name)) if each.is_in_the_way(folders) else each
