"""Scans as they come from a scanner: the brain is found and seen as the model knows brains, maps go back to the scan.

A T1 scan is prepared by itself. A T2 scan needs the T1 scan of the same head, under the same path with T1 for T2, such
as `IXI-T1/IXI012-HH-1211-T1.nii.gz` or `sub-01_T1w.nii.gz`; that scan is then no input of its own. Scans whose skull is
off already are told by their volume.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from upd_harness.scoring.inputs import Input
from upd_harness.scoring.volumes import VolumeCase, case_of, describe_grid, write_map
from upd_zoo.artefact.records import Config, Space
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.grid import Grid, Matrix, resample, sitk
from upd_zoo.brains.scans import Brain, Scan, check_brain, prepare_scan
from upd_zoo.brains.shelf import space_of
from upd_zoo.brains.template import Template, load_template
from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images.gate import read_volume
from upd_zoo.images.intensity import Intensities
from upd_zoo.images.nifti import Volume
from upd_zoo.images.placement import Placement
from upd_zoo.runtime.model import Array
from upd_zoo.vocabulary import Scale, Side

_IN_ITS_SPACE: Final = Caution(CautionCode.SPACE, "slices are those of the template's space, not of the scan")


@dataclass(frozen=True, slots=True)
class HeadCase:
    """A scan as a model sees its brain.

    Attributes:
        brain: The brain in the template's space.
        scan: The file's own grid.
        placement: How the file says where that lies.
        where: (4, 4) from the template's millimetres to the scan's.
        found: Plausibility of the brain, and what it was found with, for `results.jsonl`.
        cautions: What the user should know.
    """

    brain: VolumeCase
    scan: Grid
    placement: Placement
    where: Matrix
    found: dict[str, Any]
    cautions: list[Caution]

    @property
    def images(self) -> Array:
        """(N, 1, H, W) float32 in [0, 1]: the slices of the template's space that show brain."""
        return self.brain.images

    @property
    def positions(self) -> list[int]:
        """Number of each of them, counted from the template's lowest slice."""
        return self.brain.positions

    @property
    def depth(self) -> int:
        """Number of the template's slices."""
        return self.brain.depth

    @property
    def levels(self) -> int:
        """How many values its brain has in the template's space, where those of the scan were mixed."""
        return self.brain.levels

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""
        return self.brain.nbytes

    def describe(self) -> dict[str, Any]:
        """Return shape, spacing and orientation of the file, and what was found in it, for `results.jsonl`."""
        return describe_grid(self.scan.shape, self.scan.affine) | {"brain": self.found}

    def restore(self, maps: Array) -> Array:
        """Return the map in the scan's own grid, (X, Y, Z), of the maps (N, H, W) of the template's slices."""
        seen = self.brain.restore(maps)
        return resample(seen, self.brain.affine, self.scan, np.asarray(np.linalg.inv(self.where), np.float64))

    def write(self, folder: Path, source: Input, maps: Array, colours: tuple[float, float]) -> None:  # noqa: ARG002 - a volume's map has no colours
        """Write the map as NIfTI under the file's own name."""
        write_map(folder, source, self.restore(maps), self.placement)


@dataclass(frozen=True, slots=True)
class Heads:
    """How scans of heads are prepared for a model.

    Attributes:
        template: The space that the model knows.
        extractor: Program that finds brains; None to find them here.
        guided: Whether scans need the T1 scan of the same head.
        scale: Which value of a brain the model knows as 1.
        side: Of the model's image in pixels.
        taught: How the brains were prepared that the model learnt from; None where nothing says it.
    """

    template: Template
    extractor: Extractor | None
    guided: bool
    scale: Scale
    side: Side
    taught: Space | None

    @classmethod
    def known_to(cls, config: Config, template: Path | None = None, extractor: str = "") -> "Heads":
        """Return how scans are prepared for a model.

        Args:
            config: What the model is.
            template: skull-stripped T1 brain; None for MNI152.
            extractor: Name or command of a program that finds brains; empty to find them here.

        Raises:
            UsageError: The model takes no brain scans, was trained in the space of another template, or the extractor
                cannot be used.
            MissingExtraError: What preparation needs is not installed.
        """
        if config.scale is None:
            raise UsageError(f"{config.id} takes no brain scans", "a model for brain MRI", "leave out --prepare")
        sitk()
        chosen = load_template(template)
        config.check_space(chosen.name, chosen.sha256)
        guided = config.images.contrast == "T2"
        program = Extractor.parse(extractor) if extractor else None
        return cls(chosen, program, guided, config.scale, config.input.side, config.space)

    @property
    def space(self) -> Space:
        """What says in records how scans are prepared."""
        return space_of(self.template, self.extractor)

    def chosen(self, inputs: Sequence[Input]) -> list[Input]:
        """Return what is to be prepared: all that does not guide another, together with what guides it.

        A guide may lie in the folder of the inputs without having been asked for.
        """
        if not self.guided:
            return [*inputs]
        guides = {each.name: _guide_beside(each) for each in inputs}
        found = [each for each in inputs if each.name not in {*guides.values()}]
        paired = ((each, guides[each.name]) for each in found)
        return [replace(each, files=(*each.files, each.root / guide)) if guide else each for each, guide in paired]

    def open(self, source: Input) -> HeadCase:
        """Prepare a scan.

        Raises:
            InputError: A file cannot be read, the T1 scan of the same head is missing, or no brain is believed.
        """
        name = source.name
        if not source.is_volume:
            problem = f"{name} is a picture, in which no brain can be found"
            raise InputError(InputErrorCode.UNSUPPORTED, problem, "NIfTI", "score it without --prepare")
        image, *guides = source.files
        guide = "".join(map(source.name_of, guides))
        if self.guided and not guide:
            raise _unguided(name)
        brain = prepare_scan(Scan(name, name, guide, stripped=None), source.root, self.template, self.extractor)
        check_brain(name, brain.found.evidence)
        return self._case(read_volume(image), brain, guide)

    def _case(self, own: Volume, brain: Brain, guide: str) -> HeadCase:
        found = {**asdict(brain.found.evidence), "attempts": brain.found.attempts}
        told = {key: round(value, 3) for key, value in found.items()}
        volume = Volume(brain.image, self.template.grid.affine)
        case = case_of(volume, Intensities(brain.image), self.scale, self.side)
        cautions = [*brain.cautions, *case.cautions, _IN_ITS_SPACE, *_otherwise(self.taught, self.space)]
        told |= {"stripped": brain.stripped, "guide": guide or None}
        return HeadCase(case, Grid(own.data.shape, own.affine), own.placement, brain.where, told, cautions)


def _otherwise(taught: Space | None, here: Space) -> list[Caution]:
    """Return what to know where a model learnt from brains that were found or prepared in another way than here."""
    if taught is None or (taught.extractor, taught.preparation) == (here.extractor, here.preparation):
        return []
    ways = [f"{each.extractor}, version {each.preparation}" for each in (taught, here)]
    message = f"the model learnt from brains prepared by {ways[0]}, and this one was prepared by {ways[1]}"
    return [Caution(CautionCode.SPACE, message)]


_NAMED: Final = "a T2 scan whose name says so, such as sub-01_T2w.nii.gz beside sub-01_T1w.nii.gz"


def _guide_beside(scan: Input) -> str:
    """Return the T1 scan of the same head that lies in the folder of the inputs; empty if there is none."""
    return next((each for each in _t1_names(scan.name) if (scan.root / each).is_file()), "")


def _unguided(name: str) -> InputError:
    names = _t1_names(name)
    return InputError(
        InputErrorCode.MISSING,
        f"{name}: the T1 scan of the same head is missing",
        f"beside it, {' or '.join(names)}" if names else _NAMED,
        "put it there, or strip the skull and score without --prepare",
    )


def _t1_names(name: str) -> list[str]:
    """Return under which names the T1 scan of the head of a T2 scan may lie, the likeliest first."""
    folder, slash, file = name.rpartition("/")
    swapped = file.replace("T2", "T1").replace("t2", "t1")
    if swapped == file:
        return []
    elsewhere = folder.replace("T2", "T1").replace("t2", "t1")
    return list(dict.fromkeys((f"{elsewhere}{slash}{swapped}", f"{folder}{slash}{swapped}")))
