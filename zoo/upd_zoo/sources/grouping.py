"""Whose image is it? Persons, told by the names of files in folders that nobody arranged for us.

Images of one person must not lie on both sides of a split, and no table says who is who. Three customs do: BIDS writes
`sub-01`, some keep a folder for each person, some begin the names of a person's files alike, as `P01_left.png`. One of
them is believed where it makes enough groups for each of them to be a person; else every file stands for one.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from upd_zoo.images.gate import suffix_of

MANY: Final = 10
"""Groups that are persons whatever their size."""
_EACH: Final = 4
"""Files on average in each of fewer groups: two eyes, seen twice."""
_MOST: Final = 0.2
"""Share of all files that may be one person's: a word that most names begin with, such as `IMG`, is nobody."""
_BIDS: Final = re.compile(r"(?:^|[/_])(sub-[A-Za-z0-9]+)")
_SEPARATOR: Final = re.compile(r"[_\-. ]+")


class By(StrEnum):
    """By what persons are told."""

    BIDS = "BIDS subject"
    FOLDER = "folder"
    BEGINNING = "the beginning of file names"
    FILE = "file"


class Grouping(NamedTuple):
    """Persons of files.

    Attributes:
        by: By what they were told.
        subjects: Name of the person, by the name of the file.
    """

    by: By
    subjects: dict[str, str]


def grouped(names: Sequence[str]) -> Grouping:
    """Return whose images some files are.

    Args:
        names: Paths with slashes, relative to their folder; the same name in two folders is the same person's.
    """
    for by, tell in (
        (By.BIDS, _bids),
        (By.FOLDER, _folder),
        *((By.BEGINNING, _beginning(words)) for words in range(1, _most_words(names))),
    ):
        subjects = {name: tell(name) for name in names}
        groups = Counter(subjects.values())
        if all(groups) and _are_persons(len(groups), len(subjects), max(groups.values())):
            return Grouping(by, subjects)
    return Grouping(By.FILE, {name: _stem(name) for name in names})


def _are_persons(groups: int, files: int, largest: int) -> bool:
    """Return whether groups of files may be persons: they are many, or small; others are cameras, or left and right."""
    are_so = groups >= MANY or (groups > 2 and files <= _EACH * groups)
    return are_so and groups < files and largest <= max(_EACH, _MOST * files)


def _bids(name: str) -> str:
    found = _BIDS.search(name)
    return found[1] if found else ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _beginning(words: int) -> Callable[[str], str]:
    """Return what gives the first words of a file's name, as many as it has at most, below its folder."""

    def tell(name: str) -> str:
        path = PurePosixPath(_stem(name))
        parts = _SEPARATOR.split(path.name)
        kept = "_".join(parts[:words]) if len(parts) > words else path.name
        return (path.parent / kept).as_posix()

    return tell


def _stem(name: str) -> str:
    return name.removesuffix(name[len(name) - len(suffix_of(Path(name))) :])


def _most_words(names: Sequence[str]) -> int:
    return max((len(_SEPARATOR.split(PurePosixPath(_stem(name)).name)) for name in names), default=1)
