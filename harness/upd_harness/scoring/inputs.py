"""The list of inputs of a run, made once: every input has a name, its files, a kind, and a place for its results.

Nothing below the folder is lost in silence. Links to folders are followed, each folder once; a folder that cannot be
listed is an input that fails; what is no input is counted by kind, and folders that hold results of an earlier run are
named. File names decide what is looked at, and content what is scored: a mask that lies among scans is an input.
"""

import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.gate import PHOTOGRAPH_SUFFIXES, VOLUME_SUFFIXES, suffix_of

RUN: Final = "run.json"
IDENTITY: Final = "identity.json"
"""What marks a folder as one of results: the first is there when a run has ended, the second from its start."""

_SUFFIXES: Final = (*VOLUME_SUFFIXES, *PHOTOGRAPH_SUFFIXES)
_ADDED: Final = (".tif", ".png", ".jpg")
"""What results add to the name of their input."""
_LONGEST_NAME: Final = 255 - max(map(len, _ADDED))
"""Bytes of a file name that leave room for them on common file systems."""
_MAGIC: Final = 128, b"DICM"
_RECORD: Final = 64
"""Bytes within which a record names its schema."""
_SHORTENED: Final = 40
_LONGEST_SUFFIX: Final = 8

Place = tuple[int, int]


class Kind(StrEnum):
    """What an input is."""

    VOLUME = "volume"
    PHOTOGRAPH = "photograph"
    FOLDER = "folder"
    """A folder that cannot be listed: whatever it holds is not scored."""


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to score.

    Attributes:
        name: Path relative to the folder of inputs, with slashes; what results call it.
        files: What it consists of, the image itself first.
        kind: What it is.
        stored: What its results are called: its own name wherever that can be.
        refusal: Why it cannot be opened at all.
    """

    name: str
    files: tuple[Path, ...]
    kind: Kind
    stored: str
    refusal: InputError | None = None

    @classmethod
    def of(cls, path: Path, name: str = "") -> "Input":
        """Return one file as an input; without a known suffix it is a photograph, whose reader tells what it is.

        Args:
            path: The file.
            name: What results call it; its own name if empty.
        """
        kind = Kind.VOLUME if suffix_of(path) in VOLUME_SUFFIXES else Kind.PHOTOGRAPH
        name = name or path.name
        return cls(name, (path,), kind, _short(name) if _too_long(name) else name)

    def sha256_of(self, hashes: Mapping[Path, str]) -> str:
        """Return the hash that names its content: that of its file, or of the list of the hashes of its files."""
        first, *others = (hashes[path] for path in self.files)
        return hashlib.sha256("".join((first, *others)).encode()).hexdigest() if others else first


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
    search = _Search(include, exclude, None if leave_out is None else _place(leave_out))
    search.run(folder)
    if not search.found:
        raise NotFoundError(
            f"there is no image in {folder}{search.otherwise}", f"files that end in {', '.join(_SUFFIXES)}"
        )
    return Listing(tuple(_with_places(search.found)), dict(sorted(search.left_out.items())), tuple(search.results))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    base = name.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) or fnmatchcase(base, pattern) for pattern in patterns)


@dataclass(slots=True)
class _Search:
    """A walk over all folders below one, links last, so that a folder keeps the name under which it really lies."""

    include: Sequence[str]
    exclude: Sequence[str]
    own: Place | None
    found: list[Input] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter[str])
    results: list[str] = field(default_factory=list)
    seen: set[Place | None] = field(default_factory=set)
    pending: deque[tuple[Path, str]] = field(default_factory=deque)
    links: deque[tuple[Path, str]] = field(default_factory=deque)

    def run(self, folder: Path) -> None:
        """Look at every folder once."""
        # A link to a folder that holds this one would bring in everything beside it, and this one again.
        self.seen.update(_place(each) for each in (folder, *folder.resolve().parents))
        self._list(folder, "")
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
        self.found.append(Input(f"{name or '.'}/", (), Kind.FOLDER, "", refusal))

    def _take(self, path: Path, name: str) -> None:
        if suffix_of(path) not in _SUFFIXES:
            self.left_out[_kind_of_foreign(path)] += 1
        elif _matches(name, self.exclude) or (self.include and not _matches(name, self.include)):
            self.left_out["excluded"] += 1
        else:
            self.found.append(Input.of(path, name))

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


def holds_results(folder: Path) -> bool:
    """Return whether a run of this program writes, or wrote, to a folder."""
    return any(_is_ours(folder / name) for name in (RUN, IDENTITY))


def _is_ours(path: Path) -> bool:
    """Return whether a file begins as the records of this program do."""
    try:
        return path.is_file() and b'"schema": "upd-zoo/' in _beginning(path, _RECORD)
    except OSError:
        return False


def _beginning(path: Path, size: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(size)


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
        return path.is_file() and _beginning(path, offset + len(magic))[offset:] == magic
    except OSError:
        return False


def _with_places(inputs: Sequence[Input]) -> Iterable[Input]:
    """Give inputs names for their results that neither exceed what a file system takes nor are another's folder."""
    folders = {str(parent) for each in inputs for parent in PurePosixPath(each.name).parents}
    for each in inputs:
        taken = any(each.name + added in folders for added in _ADDED)
        yield replace(each, stored=_short(each.name)) if taken else each


def _too_long(name: str) -> bool:
    return len(os.fsencode(PurePosixPath(name).name)) > _LONGEST_NAME


def _short(name: str) -> str:
    """Return a name for results that is the input's own alone: its beginning and a hash, with its suffix."""
    path = PurePosixPath(name)
    suffix = suffix_of(Path(name))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return str(path.with_name(f"{path.name[:_SHORTENED]}-{digest}{suffix}"))
