"""IDRiD: fundus photographs of diabetic patients, Part A with masks of four lesions, Part B with grades 0 to 4.

    A. Segmentation/1. Original Images/{a. Training Set, b. Testing Set}/IDRiD_01.jpg
    A. Segmentation/2. All Segmentation Groundtruths/{a. …, b. …}/{1. Microaneurysms, …}/IDRiD_01_MA.tif
    B. Disease Grading/1. Original Images/{a. …, b. …}/IDRiD_001.jpg
    B. Disease Grading/2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv, b. …Testing Labels.csv

Healthy is grade 0. The healthy photographs are split into train, validation and test; both test sets share the last.
Test set `idrid` adds the diseased of Part B, `idrid-lesions` the photographs of Part A with their masks. The two are
never pooled, for most photographs of Part A are also in Part B.

What to know of the data:
    Both sets of Part B count their photographs from IDRiD_001, so a name alone does not say which photograph is meant.
    No patient is named: every photograph counts as a subject, and two eyes of one patient may lie on both sides of a
    split. No two of the 134 healthy photographs of the training set are the same; among its diseased, five pairs are
    (two of them with different grades), and all of them are kept.
    A mask that is missing means that the photograph has no lesion of that kind. The optic disc, also outlined, is none.

References:
    Porwal et al., "Indian Diabetic Retinopathy Image Dataset (IDRiD)", Data 3(3), 25, 2018.
    Study, section V-A, for what it does with DDR: lesion masks combined into one, centre crop.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.framing import frame, frame_mask
from upd_zoo.sources.photographs import outlined_in_any, read_in_colour
from upd_zoo.sources.source import FolderSource, Inputs
from upd_zoo.sources.splits import part_of
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import DOMAINS, Side

SHARES: Final = {Part.TRAIN: 0.60, Part.VALIDATION: 0.15, Part.TEST: 0.25}
"""How the healthy photographs are divided."""
SALT: Final = "upd-zoo/idrid"

_DOMAIN: Final = DOMAINS["idrid"]
_LESIONS: Final = "idrid-lesions"
_IMAGES_A: Final = "A. Segmentation/1. Original Images"
_MASKS_A: Final = "A. Segmentation/2. All Segmentation Groundtruths"
_IMAGES_B: Final = "B. Disease Grading/1. Original Images"
_GRADES_B: Final = "B. Disease Grading/2. Groundtruths"
_GRADE_FILES: Final = {
    "a. Training Set": "a. IDRiD_Disease Grading_Training Labels.csv",
    "b. Testing Set": "b. IDRiD_Disease Grading_Testing Labels.csv",
}
_MASK_KINDS: Final = {
    "1. Microaneurysms": "MA",
    "2. Haemorrhages": "HE",
    "3. Hard Exudates": "EX",
    "4. Soft Exudates": "SE",
}
_NAME, _GRADE = "Image name", "Retinopathy grade"
_ORIGIN: Final = "get 'A. Segmentation' and 'B. Disease Grading' from IEEE DataPort, doi:10.21227/H25W98"
_EXPECTED: Final = (
    f"{_IMAGES_A}/a. Training Set",
    f"{_MASKS_A}/a. Training Set",
    f"{_IMAGES_B}/a. Training Set",
    f"{_GRADES_B}/{_GRADE_FILES['a. Training Set']}",
)


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photograph and what is known of it.

    Attributes:
        path: Its file.
        subject: Part, set and name, such as `B/a/IDRiD_001`.
        healthy: Whether its grade is 0.
        masks: Files of its lesion masks; None where pixel truth is not known.
    """

    path: Path
    subject: str
    healthy: bool
    masks: tuple[Path, ...] | None = None

    @property
    def part(self) -> Part:
        """Where it belongs if it is healthy."""
        return part_of(self.subject, SHARES, SALT)


def _find(store: StoreName, root: Path) -> Inputs:
    photos = list(_choose(store, root))
    return {photo.path.relative_to(root).as_posix(): partial(_read, photo, store.side) for photo in photos}


def _choose(store: StoreName, root: Path) -> Iterator[_Photo]:
    """Yield the photographs of a store: the healthy ones of its part, then the diseased ones."""
    graded = list(_graded(root))
    yield from (photo for photo in graded if photo.healthy and photo.part is store.part)
    if store.part is Part.TEST:
        yield from _outlined(root) if store.target == _LESIONS else (photo for photo in graded if not photo.healthy)


def _graded(root: Path) -> Iterator[_Photo]:
    """Yield the photographs of Part B, in the order of its tables."""
    for folder, table in _GRADE_FILES.items():
        if not (root / _IMAGES_B / folder).is_dir():
            continue
        for name, grade in _grades(root / _GRADES_B / table):
            path = root / _IMAGES_B / folder / f"{name}.jpg"
            yield _Photo(path, f"B/{folder[0]}/{name}", grade == 0)


def _grades(table: Path) -> Iterator[tuple[str, int]]:
    """Yield name and grade of each photograph; empty lines, which spreadsheets leave behind, are passed over."""
    if not table.is_file():
        raise NotFoundError(f"there is no table of grades '{table.name}'", f"one in '{_GRADES_B}'", _ORIGIN)
    with table.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if not {_NAME, _GRADE} <= set(rows.fieldnames or ()):
            raise _damaged(table, f"has the columns {rows.fieldnames}")
        for row in rows:
            name, grade = (row[_NAME] or "").strip(), (row[_GRADE] or "").strip()
            if not name and not grade:
                continue
            if not name or grade not in {"0", "1", "2", "3", "4"}:
                raise _damaged(table, f"gives '{name}' the grade '{grade}'")
            yield name, int(grade)


def _damaged(table: Path, what: str) -> InputError:
    accepted = f"a name under '{_NAME}' and 0 to 4 under '{_GRADE}'"
    return InputError(InputErrorCode.CORRUPT, f"'{table.name}' {what}", accepted, _ORIGIN)


def _outlined(root: Path) -> Iterator[_Photo]:
    """Yield the photographs of Part A, ordered by name."""
    for folder in _GRADE_FILES:
        for path in sorted((root / _IMAGES_A / folder).glob("*.jpg")):
            masks = (
                root / _MASKS_A / folder / kind / f"{path.stem}_{suffix}.tif" for kind, suffix in _MASK_KINDS.items()
            )
            found = tuple(mask for mask in masks if mask.is_file())
            yield _Photo(path, f"A/{folder[0]}/{path.stem}", False, found)


def _read(photo: _Photo, side: Side) -> list[Sample]:
    """Read a photograph and its masks.

    Raises:
        InputError: A file of it cannot be read, is not in colour, or differs in its grid.
    """
    image = read_in_colour(photo.path)
    square = frame(image, _DOMAIN.modality.framing, side)
    mask = np.zeros(square.shape[1:], np.uint8) if photo.healthy else None
    if photo.masks is not None:
        mask = frame_mask(_lesions(photo, image.shape[1:]), _DOMAIN.modality.framing, side)
    return [Sample(square, not photo.healthy, photo.subject, mask=mask)]


def _lesions(photo: _Photo, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return where any lesion is outlined, (H, W)."""
    if not photo.masks:
        raise InputError(InputErrorCode.MISSING, f"{photo.path.name} has no mask of any lesion", "", _ORIGIN)
    return outlined_in_any(photo.masks, shape)


IDRID: Final = FolderSource(
    "idrid", "IDRiD", (_DOMAIN.id, _LESIONS), "open data: IDRiD", origin=_ORIGIN, expected=_EXPECTED, find=_find
)
