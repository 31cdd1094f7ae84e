"""Folders of one's own: which files are in them, whose they are, and what each is for.

    HEALTHY/**     images of healthy persons
    DISEASED/**    images that show disease; they are for the test alone
    MASKS/**       where: a file, or several, for each diseased image, whose names begin with the image's

Who is in which part:
    A person with a diseased image is in the test, with the healthy images too.
    Of the others a fifth is in the test, if there are diseased images to hold them against.
    Of the rest a fifth is for calibration; where they are fewer than `FEW`, nobody is, and each of them is scored by a
    model that has not learnt from him (`FOLDS`). A hash of the person decides, so the same folder is split alike.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.images.gate import PHOTOGRAPH_SUFFIXES, VOLUME_SUFFIXES, suffix_of
from upd_zoo.sources.grouping import By, grouped
from upd_zoo.sources.splits import part_of
from upd_zoo.stores.places import Part

SALT: Final = "upd-zoo/own"
FEWEST: Final = 10
"""Healthy persons without whom nothing is trained: of five folds, each would be judged on a single one."""
FEW: Final = 50
"""Persons from whom a fifth can be spared for calibration."""
FOLDS: Final = 5
_TESTED: Final = {Part.TEST: 0.2, Part.VALIDATION: 0.16, Part.TRAIN: 0.64}
_ALONE: Final = {Part.VALIDATION: 0.2, Part.TRAIN: 0.8}
_HEALTHY, _DISEASED = "healthy", "diseased"
_SUFFIXES: Final = (*VOLUME_SUFFIXES, *PHOTOGRAPH_SUFFIXES)
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Folders:
    """Where images of one's own lie.

    Attributes:
        healthy: Images of healthy persons.
        diseased: Images that show disease; None for no test.
        masks: Where they show it; None where that is not known.
    """

    healthy: Path
    diseased: Path | None = None
    masks: Path | None = None


@dataclass(frozen=True, slots=True)
class OwnFile:
    """An image of one's own.

    Attributes:
        root: The folder that it was found in.
        name: Its path relative to that, with slashes.
        healthy: Whether it lay among the healthy ones.
        subject: Whose it is.
        masks: Where it shows disease; None where that is not known.
    """

    root: Path
    name: str
    healthy: bool
    subject: str = ""
    masks: tuple[Path, ...] | None = None

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.root / self.name

    @property
    def title(self) -> str:
        """What stores and messages call it."""
        return f"{_HEALTHY if self.healthy else _DISEASED}/{self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What each image is for.

    Attributes:
        parts: The images of every part that has any.
        by: How persons were told apart.
        folds: Into how many parts the persons of the training are divided for calibration; 0 where others are for it.
        copies: Images left out because another is the same file, as pairs of titles.
        both: How many persons are among the healthy and the diseased.
    """

    parts: Mapping[Part, tuple[OwnFile, ...]]
    by: By
    folds: int
    copies: tuple[tuple[str, str], ...]
    both: int

    def subjects(self, part: Part) -> int:
        """Return how many persons are in a part."""
        return len({each.subject for each in self.parts.get(part, ())})


def plan(folders: Folders) -> Plan:
    """Return what each image of some folders is for.

    Raises:
        NotFoundError: A folder is not there, or holds no image.
        UsageError: The same file is among the healthy and the diseased, or too few persons are left to learn from.
    """
    found = list(_files(folders.healthy, healthy=True))
    if folders.diseased is not None:
        found += _files(folders.diseased, healthy=False)
    files, copies = _without_copies(found)
    files, by = _with_subjects(files)
    if folders.masks is not None:
        files = [*_with_masks(files, folders.masks)]
    diseased = {each.subject for each in files if not each.healthy}
    both = diseased & {each.subject for each in files if each.healthy}
    shares = _TESTED if diseased else _ALONE
    part = {each.subject: part_of(each.subject, shares, SALT) for each in files} | dict.fromkeys(diseased, Part.TEST)
    learning = {subject for subject, its in part.items() if its is not Part.TEST}
    _check_enough(len(learning), len({each.subject for each in files if each.healthy}), by)
    folds = FOLDS if len(learning) < FEW else 0
    if folds:
        part |= dict.fromkeys(learning, Part.TRAIN)
    parts = {each: tuple(file for file in files if part[file.subject] is each) for each in Part}
    return Plan({each: chosen for each, chosen in parts.items() if chosen}, by, folds, copies, len(both))


def _check_enough(count: int, healthy: int, by: By) -> None:
    if count < FEWEST:
        tested = f" beside {healthy - count} in the test" if healthy > count else ""
        raise UsageError(
            f"{count} healthy persons{tested}, told apart by {by}, are too few to learn from",
            f"at least {FEWEST}",
            "add images of other persons",
        )


def _files(folder: Path, *, healthy: bool) -> Iterable[OwnFile]:
    """Yield the images below a folder, ordered by name; hidden ones are passed over.

    Raises:
        NotFoundError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", "a folder of images", "check the path")
    others: Counter[str] = Counter()
    names = []
    for where, below, files in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        for file in files:
            if suffix_of(Path(file)) in _SUFFIXES and not file.startswith("."):
                names.append((Path(where) / file).relative_to(folder).as_posix())
            else:
                others[suffix_of(Path(file)) or "without a suffix"] += 1
    if not names:
        there = ", ".join(f"{count} {kind}" for kind, count in others.most_common(_NAMED))
        raise NotFoundError(
            f"there is no image in {folder}" + (f", but {there}" if there else ""),
            f"files that end in {', '.join(_SUFFIXES)}",
        )
    return [OwnFile(folder, name, healthy) for name in sorted(names)]


def _without_copies(files: Sequence[OwnFile]) -> tuple[list[OwnFile], tuple[tuple[str, str], ...]]:
    """Return the files without those that are another's copy, and which these are.

    Raises:
        UsageError: A file is among the healthy and the diseased.
    """
    first: dict[str, OwnFile] = {}
    copies: list[tuple[OwnFile, OwnFile]] = []
    for file in files:
        kept = first.setdefault(_content(file), file)
        if kept is not file:
            copies.append((file, kept))
    for file, kept in copies:
        if file.healthy is not kept.healthy:
            raise UsageError(
                f"{file.title} is the same file as {kept.title}", "every image in one of the two folders", "remove one"
            )
    return [*first.values()], tuple((file.title, kept.title) for file, kept in copies)


def _content(file: OwnFile) -> str:
    """Return what is the same for copies; of a file that cannot be read, which is said later, its name."""
    try:
        return sha256_of(file.path) if file.path.is_file() else file.title
    except OSError:
        return file.title


def _with_subjects(files: Sequence[OwnFile]) -> tuple[list[OwnFile], By]:
    """Return files with whose they are; where each stands for a person, equal names in two folders are two persons."""
    by, subjects = grouped([each.name for each in files])
    if by is By.FILE:
        return [replace(each, subject=each.title) for each in files], by
    return [replace(each, subject=subjects[each.name]) for each in files], by


def _with_masks(files: Sequence[OwnFile], folder: Path) -> Iterable[OwnFile]:
    """Yield files, the diseased with their masks: those whose names begin with theirs, and with no longer one's.

    Where a diseased image is alone in its folder, all masks in the folder of the same name are its.
    """
    images = {_stem(each.name): each for each in files if not each.healthy}
    alone = _alone(images.values())
    own: dict[str, list[Path]] = defaultdict(list)
    for mask in _files(folder, healthy=False):
        stem = _stem(mask.name)
        begun = [image for image in images if stem == image or stem.startswith(tuple(image + sign for sign in "_-. "))]
        its = max(begun, key=len) if begun else alone.get(PurePosixPath(mask.name).parent)
        if its is not None:
            own[its].append(mask.path)
    for each in files:
        yield each if each.healthy else replace(each, masks=tuple(own[_stem(each.name)]))


def _alone(files: Iterable[OwnFile]) -> dict[PurePosixPath, str]:
    """Return, without its suffix, the one image of each folder below the root that holds one."""
    found = [(PurePosixPath(each.name).parent, _stem(each.name)) for each in files]
    count = Counter(where for where, _ in found)
    return {where: stem for where, stem in found if where.parts and count[where] == 1}


def _stem(name: str) -> str:
    """Return the last name of a path without its suffix."""
    last = PurePosixPath(name).name
    return last[: len(last) - len(suffix_of(Path(last)))]
