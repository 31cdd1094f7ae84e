"""A brain scan and what becomes of it: its axial slices in the template's space."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from upd_zoo.brains.alignment import align, follow
from upd_zoo.brains.border import evened
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.extraction import LARGEST, Evidence, Found, evidence_of, extract
from upd_zoo.brains.grid import Bools, Floats, Grid, Matrix, resample, resample_mask, upright
from upd_zoo.brains.shapes import closing, largest
from upd_zoo.brains.template import Template
from upd_zoo.caution import Caution
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.framing import grids_differ
from upd_zoo.images.gate import read_volume
from upd_zoo.images.intensity import background, check_background
from upd_zoo.images.nifti import Volume
from upd_zoo.stores.slices import slices_of
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import Protocol as Rules
from upd_zoo.vocabulary import Side

WORKING: Final = 2.0
"""Millimetres between the voxels on which brains are looked for."""


@dataclass(frozen=True, slots=True)
class Scan:
    """Files of one scan, relative to the folder of the data set, and what is known of the person.

    Attributes:
        subject: Whose brain it is.
        image: The scan itself.
        guide: T1 scan of the same head of the same day, on which the brain is looked for; the scan itself if empty.
        masks: Where it is pathological, in any of them; none if nowhere, or not known.
        part: Which volume of a file of several is the scan; None where there is but one.
        guide_part: Likewise of the guide.
        stripped: Whether nothing but brain is left in it; None where that is told by what it shows.
        sex: `F` or `M`; empty where it is not known.
        age: In whole years; None where it is not known.
        site: Hospital or scanner that it comes from; empty where that is not known.
    """

    subject: str
    image: str
    guide: str = ""
    masks: tuple[str, ...] = ()
    part: int | None = None
    guide_part: int | None = None
    stripped: bool | None = False
    sex: str = ""
    age: int | None = None
    site: str = ""

    @property
    def files(self) -> list[str]:
        """Every file that is read."""
        return [name for name in dict.fromkeys((self.image, self.guide, *self.masks)) if name]


class Brain(NamedTuple):
    """A scan in the template's space.

    Attributes:
        image: (X, Y, Z) float32 on the template's grid, in the scan's own values, 0 outside the brain.
        inside: (X, Y, Z) where the brain is.
        mask: (X, Y, Z) where it is pathological; None where that is not known.
        found: Where the brain was found in the scan, on a grid of about 2 mm.
        grid: That grid.
        where: (4, 4) from the template's millimetres to the scan's.
        stripped: Whether nothing but brain was left in the scan.
        cautions: What is doubtful about the files.
    """

    image: Floats
    inside: Bools
    mask: Bools | None
    found: Found
    grid: Grid
    where: Matrix
    stripped: bool
    cautions: tuple[Caution, ...]


class Keeper(Protocol):
    """What keeps of a scan that which takes long to find, and depends neither on protocol nor on side."""

    def brain(self, find: Callable[[], Found]) -> Found:
        """Return the brain in the guide as it was found before, or find it."""

    def shift(self, find: Callable[[], Matrix]) -> Matrix:
        """Return the transform (4, 4) from the guide's millimetres to the scan's likewise."""


class _Forgetful:
    """Keeps nothing."""

    def brain(self, find: Callable[[], Found]) -> Found:
        return find()

    def shift(self, find: Callable[[], Matrix]) -> Matrix:
        return find()


FORGETFUL: Final[Keeper] = _Forgetful()


def image_of(scan: Scan, root: Path) -> Volume:
    """Return the scan itself, upright."""
    return upright(read_volume(root / scan.image, part=scan.part))


def guide_of(scan: Scan, root: Path) -> Volume:
    """Return the scan on which the brain is looked for, upright."""
    return upright(read_volume(root / scan.guide, part=scan.guide_part)) if scan.guide else image_of(scan, root)


def prepare_scan(
    scan: Scan, root: Path, template: Template, extractor: Extractor | None = None, keeper: Keeper = FORGETFUL
) -> Brain:
    """Find the brain in a scan and bring it into the template's space.

    Args:
        scan: Which files.
        root: Folder that their names are relative to.
        template: What brings its space.
        extractor: Program that finds brains in whole heads; None to find them here.
        keeper: What may know already where the brain lies.

    Raises:
        InputError: A file cannot be read, the mask lies elsewhere than the scan (`geometry`), or much of the scan lies
            below its background (`implausible`).
    """
    image, guide = image_of(scan, root), guide_of(scan, root)
    stripped = litres_shown(guide, background(guide.data)) < LARGEST if scan.stripped is None else scan.stripped
    for name, each in {scan.guide or scan.image: guide, scan.image: image}.items():
        check_background(each.data, background(each.data) if stripped else 0.0, name)
    grid = Grid(guide.data.shape, guide.affine).coarse(WORKING)
    found = keeper.brain(lambda: _found(stripped, guide, grid, template, extractor))
    back = np.asarray(np.linalg.inv(found.transform), np.float64)
    inside = resample_mask(found.mask, grid.affine, template.grid, back)
    where = back if _on_one_grid(guide, image) else keeper.shift(lambda: follow(guide, image)) @ back
    seen = resample(_above_background(image, stripped), image.affine, template.grid, where)
    mask = _pathology(scan, root, image, template, where) if scan.masks else None
    cautions = tuple(dict.fromkeys((*image.cautions, *guide.cautions)))
    return Brain(np.where(inside, seen, 0).astype(np.float32), inside, mask, found, grid, where, stripped, cautions)


def litres_shown(volume: Volume, low: float) -> float:
    """Return the volume of what a scan shows above its background: of a brain less than `LARGEST`, of a head more.

    50 heads of IXI show 4.6 to 7.0 l.
    """
    return float((volume.data > low).sum()) * Grid(volume.data.shape, volume.affine).litres


def _above_background(volume: Volume, stripped: bool) -> Floats:
    lowest = np.float32(background(volume.data)) if stripped else np.float32(0)
    return np.asarray(np.clip(volume.data - lowest, 0, None), np.float32)


def _on_one_grid(first: Volume, second: Volume) -> bool:
    return first.data.shape == second.data.shape and np.allclose(first.affine, second.affine, atol=0.1)


def _pathology(scan: Scan, root: Path, image: Volume, template: Template, where: Matrix) -> Bools:
    """Return where a scan is pathological, on the template's grid."""
    truth = np.zeros(image.data.shape, np.bool_)
    for name in scan.masks:
        outlined = upright(read_volume(root / name, constant_ok=True))
        if outlined.data.shape != image.data.shape:
            raise grids_differ(Path(name).name, outlined.data.shape, image.data.shape)
        if not _on_one_grid(outlined, image):
            raise InputError(
                InputErrorCode.GEOMETRY,
                f"{Path(name).name} lies elsewhere in space than its image",
                "both on the same grid",
                "fetch both again",
            )
        truth |= outlined.data > 0
    return resample_mask(truth, image.affine, template.grid, where)


def _found(stripped: bool, guide: Volume, grid: Grid, template: Template, extractor: Extractor | None) -> Found:
    """Return the brain of a scan: all that it shows, or what was found in a head."""
    head = resample(guide.data, guide.affine, grid)
    if stripped:
        return _recognised(guide.data > background(guide.data), guide, head, grid, template)
    if extractor is not None:
        return _recognised(extractor.extract(guide), guide, head, grid, template)
    return extract(head, grid, template)


def _recognised(tissue: Bools, volume: Volume, head: Floats, grid: Grid, template: Template) -> Found:
    """Return the brain of a scan of which it is known what is brain."""
    mask = closing(largest(resample_mask(tissue, volume.affine, grid)), 2)
    brain = evened(head, mask)
    transform = align(brain, grid.affine, template)
    return Found(mask, transform, evidence_of(head, brain, mask, grid, template, transform), 1)


def check_brain(name: str, evidence: Evidence) -> None:
    """Refuse what does not look like a brain.

    Raises:
        InputError: It is doubted (`implausible`).
    """
    doubts = evidence.doubts()
    if doubts:
        raise InputError(
            InputErrorCode.IMPLAUSIBLE,
            f"{name}: no plausible brain was found: {', '.join(doubts)}",
            "a whole head or a skull-stripped brain in T1, its directions correct in the header",
            "look at its picture, or strip the skull with a program of your choice and prepare that",
        )


def samples_of(scan: Scan, brain: Brain, template: Template, protocol: Rules, side: Side) -> list[Sample]:
    """Return the axial slices of a prepared scan, from feet to head, empty ones left out."""
    mask = None if brain.mask is None else brain.mask.astype(np.uint8)
    slices = slices_of(brain.image, template.grid.affine, scan.subject, mask, protocol=protocol, side=side)
    return [replace(each, sex=scan.sex, age=scan.age, site=scan.site) for each in slices]
