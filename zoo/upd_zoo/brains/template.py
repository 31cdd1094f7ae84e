"""The space that brains are brought into.

The study's is SRI24, which its authors give out. Without it, it is the MNI152 average that nilearn has inside its
package; both show a skull-stripped brain, in T1.

Source: Rohlfing et al., The SRI24 multichannel atlas of normal adult human brain structure, Human Brain Mapping 31
(2010); Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011).
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from upd_zoo.brains.grid import Bools, Floats, Grid, resample, resample_mask, upright
from upd_zoo.brains.shapes import closing, largest
from upd_zoo.errors import InputError, InputErrorCode, MissingExtraError
from upd_zoo.files import sha256_of
from upd_zoo.images.gate import read_volume

_MNI152: Final = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_TISSUE: Final = 0.05
"""Share of the brightest value from which a voxel of the template is brain."""

COMPARED: Final = 2.0
"""Millimetres between voxels of a template that is compared with brains."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A brain that others are aligned with.

    Attributes:
        name: File name.
        sha256: Hash of the file.
        data: (X, Y, Z) float32, T1, 0 outside the brain; axes run right, anterior, superior.
        mask: (X, Y, Z) where the brain is, without holes.
        grid: Where the voxels lie; prepared scans get the same.
    """

    name: str
    sha256: str
    data: Floats
    mask: Bools
    grid: Grid


@cache
def coarse(template: Template, spacing: float) -> Template:
    """Return a template whose voxels are nowhere smaller than a spacing in mm, made once per process.

    What is compared with heads of 2 mm needs no finer one; on that grid an alignment takes a fifth of the time.
    """
    grid = template.grid.coarse(spacing)
    data, mask = (
        resample(template.data, template.grid.affine, grid),
        resample_mask(template.mask, template.grid.affine, grid),
    )
    return Template(template.name, template.sha256, np.where(mask, data, 0).astype(np.float32), mask, grid)


@cache
def load_template(path: Path | None = None) -> Template:
    """Return a template, read once per process.

    Args:
        path: NIfTI file of a skull-stripped T1 brain; None for MNI152.

    Raises:
        InputError: The file cannot be read, or shows a whole head or nothing.
        MissingExtraError: nilearn, SciPy or SimpleITK is not installed.
    """
    file = path or _mni152()
    volume = upright(read_volume(file))
    mask = closing(largest(volume.data > _TISSUE * volume.data.max()), 2)
    share = float(mask.mean())
    grid = Grid(volume.data.shape, volume.affine)
    if not 0.7 < mask.sum() * grid.litres < 2.5:
        raise InputError(
            InputErrorCode.UNSUPPORTED,
            f"{file.name} shows {mask.sum() * grid.litres:.2f} l of tissue, {100 * share:.0f} % of its box",
            "a skull-stripped T1 brain, such as SRI24's T1_brain.nii",
        )
    return Template(file.name, sha256_of(file), np.where(mask, volume.data, 0).astype(np.float32), mask, grid)


def _mni152() -> Path:
    spec = importlib.util.find_spec("nilearn")  # found, not imported: importing it takes seconds
    if spec is None or spec.origin is None:
        raise MissingExtraError("Aligning brains with MNI152", "prepare")
    return Path(spec.origin).parent / "datasets" / "data" / _MNI152
