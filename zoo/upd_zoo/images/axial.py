"""How the axial slices of a volume lie in its own grid, and how they go back.

Whatever the order of its axes, slices go from feet to head, with anterior at the top and the patient's right at the
left. No voxel is resampled.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from nibabel import orientations
from nibabel.affines import voxel_sizes

Array = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class SliceGeometry:
    """How the axial slices of a volume lie in its own grid.

    Attributes:
        shape: Voxels along the volume's own three axes.
        orientation: nibabel orientation array that turns the volume into L-P-S order.
        spacing: Size of a slice's pixel along its rows (towards posterior) and columns (towards left), in mm.
        rows: Rows of a slice.
        columns: Columns of a slice.
    """

    shape: tuple[int, int, int]
    orientation: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    rows: int
    columns: int


def axial_geometry(shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> SliceGeometry:
    """Return how axial slices lie in a volume of this shape and affine (voxel to RAS+ millimetres)."""
    own = orientations.io_orientation(affine)
    lps = orientations.axcodes2ornt(("L", "P", "S"))
    orientation = orientations.ornt_transform(own, lps)
    sizes = np.empty(3)
    counts = np.empty(3, int)
    for axis, size in enumerate(voxel_sizes(affine)):
        target = int(orientation[axis, 0])
        sizes[target], counts[target] = size, shape[axis]
    return SliceGeometry(shape, orientation, (float(sizes[1]), float(sizes[0])), int(counts[1]), int(counts[0]))


def tilt_of(affine: npt.NDArray[np.float64]) -> float:
    """Return by how many degrees the axes of a volume are turned away from the patient's, the largest of the three."""
    axes = affine[:3, :3] / voxel_sizes(affine)
    targets = orientations.io_orientation(affine)[:, 0].astype(int)
    cosines = np.abs(axes[targets, range(3)])
    return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))


def axial_slices(volume: npt.NDArray[Scalar], geometry: SliceGeometry) -> npt.NDArray[Scalar]:
    """Return the axial slices of a volume, from feet to head, anterior at the top, the patient's right at the left.

    Args:
        volume: (X, Y, Z) in its own order.
        geometry: From `axial_geometry`.

    Returns:
        (S, rows, columns) view or copy.
    """
    upright = orientations.apply_orientation(volume, geometry.orientation)
    return np.asarray(upright.transpose(2, 1, 0))


def from_axial_slices(slices: Array, geometry: SliceGeometry) -> Array:
    """Return the volume, in its own order, whose axial slices are given; undoes `axial_slices`.

    Args:
        slices: (S, rows, columns).
        geometry: From `axial_geometry`.
    """
    back = _inverse_orientation(geometry.orientation)
    return np.asarray(orientations.apply_orientation(slices.transpose(2, 1, 0), back))


def _inverse_orientation(orientation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    inverse = np.empty_like(orientation)
    for axis, (target, flip) in enumerate(orientation):
        inverse[int(target)] = axis, flip
    return inverse
