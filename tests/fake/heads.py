"""Whole heads around the MNI152 brain: fluid, bone, skin and a spinal cord, whose true brain is known."""

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from upd_zoo.brains.grid import Grid, resample, resample_mask
from upd_zoo.brains.shapes import dilation
from upd_zoo.brains.template import load_template

SPACING = 2.5
"""Millimetres between voxels."""


@dataclass(frozen=True)
class Head:
    """A head and the brain in it.

    Attributes:
        data: (X, Y, Z) float32.
        brain: Where the brain is.
        affine: From voxel to RAS+ millimetres.
    """

    data: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]


def head(seed: int = 0, size: float = 0.92, turn: float = 0.0, skin: float = 0.9, vertex: float = 1.0) -> Head:
    """Return a head of one person.

    Args:
        seed: Of noise and of the place in the box.
        size: Of the brain, as a share of the template's along every axis.
        turn: Degrees by which the head nods.
        skin: Brightness of what lies outside of bone, as a share of the brightest brain.
        vertex: Brightness at the upper end of the box, as a share of that at the lower, where the coil is.
    """
    template, generator = load_template(), np.random.default_rng(seed)
    nod = np.radians(turn)
    rotation = np.array([[1, 0, 0], [0, np.cos(nod), -np.sin(nod)], [0, np.sin(nod), np.cos(nod)]])
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = (-100, -128, -100)
    to_template = np.eye(4)
    to_template[:3, :3] = rotation / size
    to_template[:3, 3] = generator.uniform(-6, 6, 3)
    grid = Grid((80, 96, 84), affine)
    brain = resample_mask(template.mask, template.grid.affine, grid, to_template)
    tissue = resample(template.data, template.grid.affine, grid, to_template)
    data = np.where(brain, 900 * tissue / tissue.max(), 0)
    fluid, bone, flesh = (dilation(brain, millimetres / SPACING) for millimetres in (3, 9, 16))
    below = np.arange(84)[None, None, :] < np.argwhere(brain)[:, 2].min() + 4
    cord = np.hypot(*(np.ogrid[:80, :96][axis] - np.argwhere(brain)[:, axis].mean() for axis in (0, 1))) < 4
    data = np.where(flesh & ~bone, 900 * skin, np.where(fluid & ~brain, 120, np.where(bone & ~brain, 40, data)))
    data = np.where(below & cord[:, :, None] & ~brain, 600, data) * np.linspace(1, vertex, 84)
    return Head((data + generator.normal(0, 8, data.shape)).clip(0).astype(np.float32), brain, affine)


def save(path: Path, data: npt.NDArray[np.generic], affine: npt.NDArray[np.float64], axes: str = "PSR") -> None:
    """Write a volume as NIfTI, its axes turned to other directions; no voxel changes its place."""
    orientation = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    image = nibabel.Nifti1Image(np.asarray(data, np.float32), affine).as_reoriented(orientation)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
