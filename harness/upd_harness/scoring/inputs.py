"""One input of a run: its name, its files, its kind, and where its results go.

Whoever makes the list of inputs decides all of it once, from the names of files; everybody else asks the record.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from upd_zoo.errors import InputError
from upd_zoo.images.gate import PHOTOGRAPH_SUFFIXES, VOLUME_SUFFIXES, suffix_of

SUFFIXES: Final = (*VOLUME_SUFFIXES, *PHOTOGRAPH_SUFFIXES)
"""Of files that are inputs."""
_PACKED: Final = ".nii.gz"
_LONGEST: Final = 255
"""Bytes of a file name on common file systems."""
_SHORTENED: Final = 40


class Kind(StrEnum):
    """What an input is."""

    VOLUME = "volume"
    PHOTOGRAPH = "photograph"
    FOLDER = "folder"
    """A folder that cannot be listed: whatever it holds is not scored."""


_PLACES: Final[Mapping[Kind, Mapping[str, tuple[str, str]]]] = {
    Kind.VOLUME: {"map": ("maps", ""), "thumbnail": ("thumbnails", ".jpg")},
    Kind.PHOTOGRAPH: {"map": ("maps", ".tif"), "overlay": ("overlays", ".png"), "thumbnail": ("thumbnails", ".jpg")},
    Kind.FOLDER: {},
}
"""The folder of each result, and what its name adds to that of its input."""
RESULT_FOLDERS: Final = tuple(sorted({folder for places in _PLACES.values() for folder, _ in places.values()}))
_ADDED: Final = tuple(sorted({added for places in _PLACES.values() for _, added in places.values() if added}))


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to score.

    Attributes:
        name: Path relative to the folder of inputs, with slashes; what results call it.
        files: What it consists of, the image itself first: one file, all of a series, a scan and its guide.
        kind: What it is.
        stored: What its results are called: its own name wherever that can be.
        root: The folder of inputs.
        refusal: Why it cannot be opened at all.
    """

    name: str
    files: tuple[Path, ...]
    kind: Kind
    stored: str
    root: Path
    refusal: InputError | None = None

    @classmethod
    def of(cls, path: Path, root: Path | None = None) -> "Input":
        """Return one file as an input; without a known suffix it is a photograph, whose reader tells what it is.

        Args:
            path: The file.
            root: A folder above it, that of all inputs; the one it lies in if None.
        """
        root = root or path.parent
        name = path.relative_to(root).as_posix()
        kind = Kind.VOLUME if suffix_of(path) in VOLUME_SUFFIXES else Kind.PHOTOGRAPH
        return cls(name, (path,), kind, shortened(name) if _is_too_long(name) else name, root)

    @property
    def is_volume(self) -> bool:
        """Whether its images are the slices of one volume."""
        return self.kind is Kind.VOLUME

    @property
    def outputs(self) -> dict[str, str]:
        """Where its results go, relative to the folder of results, by what they are."""
        return {what: f"{folder}/{self.stored}{added}" for what, (folder, added) in _PLACES[self.kind].items()}

    @property
    def is_packed(self) -> bool:
        """Whether a map under its name is compressed, as the name says."""
        return suffix_of(Path(self.stored)) == _PACKED

    def name_of(self, file: Path) -> str:
        """Return the path of one of its files relative to the folder of inputs, with slashes."""
        return file.relative_to(self.root).as_posix()

    def is_in_the_way(self, folders: set[str]) -> bool:
        """Return whether a file of its results would have the path of one of `folders` of other inputs."""
        return any(self.name + added in folders for added in _ADDED)

    def sha256_of(self, hashes: Mapping[Path, str]) -> str:
        """Return the hash that names its content: that of its file, or of the list of the hashes of its files."""
        first, *others = (hashes[path] for path in self.files)
        return hashlib.sha256("".join((first, *others)).encode()).hexdigest() if others else first


def _is_too_long(name: str) -> bool:
    return len(os.fsencode(PurePosixPath(name).name)) > _LONGEST - max(map(len, _ADDED))


def shortened(name: str) -> str:
    """Return a name for results that is the input's own alone: its beginning and a hash, with its suffix."""
    path = PurePosixPath(name)
    suffix = suffix_of(Path(name))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return str(path.with_name(f"{path.name[:_SHORTENED]}-{digest}{suffix}"))
