"""DDR: fundus photographs from many clinics with grades 0 to 5, and 757 with masks of four lesions.

    DR_grading/{train, valid, test}.txt                              a name and its grade in each line
    DR_grading/{train, valid, test}/007-0004-000.jpg
    lesion_segmentation/{train, valid, test}/image/007-1774-100.jpg
    lesion_segmentation/{train, test}/label/{EX, HE, MA, SE}/007-1774-100.tif
    lesion_segmentation/valid/segmentation label/…                   `label`, where someone has renamed it

Healthy is grade 0; diseased are the photographs with masks, whose four masks become one. Grades 1 to 4 are not used,
for they have no masks; nor is grade 5, which means that a photograph cannot be graded. `study` splits by place in the
sorted names:

    reserved     the first 757 of the healthy; of these, the first 733 are the normal test
    training     the other 5509, 95 % and 5 %
    test         normal and diseased each in their order, 90 %; the other 10 %, only logged there, is in no store
    masks        sampled at the nearest pixel; where nothing is left of a lesion, the photograph counts as normal

On the whole release this gives 5233, 276 and 1340 images. `sound`: a hash of its name puts a healthy photograph into
train, validation or test; one that also has masks of lesions is left out. All photographs with masks are in the test,
and each is diseased, whatever is left of its lesions. A mask pixel is set where half of its area was.

What to know of the data:
    No patient is named, and 13 673 photographs come from 9598 people: two eyes of one may lie on both sides of a split.
    A photograph without exactly four masks is an error of its own; an empty mask means that there is no such lesion.

References:
    Li et al., "Diagnostic Assessment of Deep Learning Algorithms for Diabetic Retinopathy Screening", Information
    Sciences 501, 2019.
    Study, section V-A; cards/study.md, section 5.6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.framing import frame, frame_mask
from upd_zoo.sources.photographs import outlined_in_any, read_in_colour
from upd_zoo.sources.source import FolderSource, Inputs
from upd_zoo.sources.splits import cut, part_of
from upd_zoo.sources.tables import damaged, inside
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import DOMAINS, Protocol

SHARES: Final = {Part.TRAIN: 0.83, Part.VALIDATION: 0.05, Part.TEST: 0.12}
"""How the sound protocol divides the healthy photographs: about as many in the test as there are with masks."""
SALT: Final = "upd-zoo/ddr"

_DOMAIN: Final = DOMAINS["ddr"]
_FRAMING: Final = _DOMAIN.modality.framing
_GRADES, _LESIONS = "DR_grading", "lesion_segmentation"
_SPLITS: Final = ("train", "valid", "test")
_MASKS: Final = ("label", "segmentation label")
_KINDS: Final = ("EX", "HE", "MA", "SE")
_RESERVED, _NORMALS = 757, 733
"""The study reserves as many healthy photographs as there are with masks, and leaves out 24 of these: 12 for those
whose lesions vanish, and 12 because these then count as normal."""
_ORIGIN: Final = "get 'DR_grading' and 'lesion_segmentation' as github.com/nkicsl/DDR-dataset says"
_EXPECTED: Final = (
    *(f"{_GRADES}/{split}{suffix}" for split in _SPLITS for suffix in (".txt", "")),
    *(f"{_LESIONS}/{split}/image" for split in _SPLITS),
)


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photograph: its file relative to the root, and whether it has no lesion."""

    file: str
    healthy: bool

    @property
    def name(self) -> str:
        """Its name without folder and suffix."""
        return PurePosixPath(self.file).stem


def _find(store: StoreName, root: Path) -> Inputs:
    healthy = sorted(_healthy(root), key=lambda photo: photo.name)
    diseased = sorted(_diseased(root), key=lambda photo: photo.name)
    choose = _of_the_study if store.protocol is Protocol.STUDY else _of_the_sound
    return {photo.file: partial(_read, photo, root, store) for photo in choose(store.part, healthy, diseased)}


def _of_the_study(part: Part, healthy: list[_Photo], diseased: list[_Photo]) -> list[_Photo]:
    if part is Part.TEST:
        return [*cut(healthy[:_NORMALS], 90)[0], *cut(diseased, 90)[0]]
    train, validation = cut(healthy[_RESERVED:], 95)
    return [*(train if part is Part.TRAIN else validation)]


def _of_the_sound(part: Part, healthy: list[_Photo], diseased: list[_Photo]) -> list[_Photo]:
    outlined = {photo.name for photo in diseased}
    well = [photo for photo in healthy if photo.name not in outlined and part_of(photo.name, SHARES, SALT) is part]
    return [*well, *(diseased if part is Part.TEST else ())]


def _healthy(root: Path) -> Iterator[_Photo]:
    """Yield the photographs of grade 0."""
    for split in _SPLITS:
        table = root / _GRADES / f"{split}.txt"
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, grade = line.strip().rpartition(" ")
            if not line.strip():
                continue
            if not name or grade not in {"0", "1", "2", "3", "4", "5"}:
                raise damaged(table, f"has the line '{line}'", "a name and a grade from 0 to 5 in each", _ORIGIN)
            if grade == "0":
                yield _Photo(f"{_GRADES}/{split}/{name.strip()}", healthy=True)


def _diseased(root: Path) -> Iterator[_Photo]:
    """Yield the photographs with masks."""
    for split in _SPLITS:
        for path in (root / _LESIONS / split / "image").glob("*.jpg"):
            yield _Photo(path.relative_to(root).as_posix(), healthy=False)


def _read(photo: _Photo, root: Path, store: StoreName) -> list[Sample]:
    """Read a photograph and its masks.

    Raises:
        InputError: A name leads out of the folder, a file cannot be read, is not in colour or differs in its grid, or
            there are not four masks.
    """
    path = inside(root, photo.file)
    image = read_in_colour(path)
    square = frame(image, _FRAMING, store.side)
    if photo.healthy:
        return [Sample(square, False, photo.name, mask=np.zeros(square.shape[1:], np.uint8))]
    lesions = _lesions(path, image.shape[1:])
    mask = frame_mask(lesions, _FRAMING, store.side, protocol=store.protocol)
    vanished = store.protocol is Protocol.STUDY and not mask.any()
    return [Sample(square, not vanished, photo.name, mask=mask)]


def _lesions(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return where any lesion of a photograph is outlined, (H, W)."""
    files = [path.parents[1] / folder / kind / f"{path.stem}.tif" for folder in _MASKS for kind in _KINDS]
    found = [file for file in files if file.is_file()]
    if len(found) != len(_KINDS):
        problem = f"{path.name} has {len(found)} masks"
        raise InputError(InputErrorCode.MISSING, problem, f"one of each of {', '.join(_KINDS)}", _ORIGIN)
    return outlined_in_any(found, shape)


DDR: Final = FolderSource("ddr", "DDR", (_DOMAIN.id,), "DDR", origin=_ORIGIN, expected=_EXPECTED, find=_find)
