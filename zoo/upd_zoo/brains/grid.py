"""Images with a place in space, and how one is seen on the grid of another.

SimpleITK does the work; it is imported when first used, for it is no part of the base install. Its world axes point
left and backwards where ours point right and forwards.
"""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from nibabel import orientations

from upd_zoo.errors import MissingExtraError
from upd_zoo.images.nifti import Volume

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


@cache
def sitk() -> Any:
    """Return SimpleITK, which then keeps to one thread: subjects are prepared side by side.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        module = importlib.import_module("SimpleITK")
    except ImportError as error:
        raise MissingExtraError("Preparing brain scans", "prepare") from error
    module.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return module


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    Attributes:
        shape: Voxels along the three axes.
        affine: (4, 4) float64 from voxel to RAS+ millimetres, orthogonal axes.
    """

    shape: tuple[int, ...]
    affine: Matrix

    @property
    def litres(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1e6

    def coarse(self, spacing: float) -> "Grid":
        """Return a grid over the same box whose voxels are nowhere smaller than a spacing in mm."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        factors = np.maximum(spacing / sizes, 1.0)
        shape = tuple(int(count) for count in np.ceil(np.array(self.shape) / factors))
        affine = self.affine.copy()
        affine[:3, :3] *= factors
        affine[:3, 3] += self.affine[:3, :3] @ ((factors - 1) / 2)
        return Grid(shape, affine)


def upright(volume: Volume) -> Volume:
    """Return a volume whose axes run nearest to right, anterior and superior; no voxel changes its place in space."""
    orientation = orientations.io_orientation(volume.affine)
    data = orientations.apply_orientation(volume.data, orientation)
    affine = volume.affine @ orientations.inv_ornt_aff(orientation, volume.data.shape)
    return Volume(np.ascontiguousarray(data), affine, volume.cautions)


def to_image(data: npt.NDArray[Any], affine: Matrix) -> Any:
    """Return an array (X, Y, Z) as an image of SimpleITK, in float32."""
    return _placed(sitk().GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0), np.float32)), affine)


def _placed(image: Any, affine: Matrix) -> Any:
    """Return an image of SimpleITK after telling it where its voxels lie."""
    world = _TO_LPS @ affine
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(world[:3, 3].tolist())
    return image


def to_array(image: Any) -> Floats:
    """Return an image of SimpleITK as an array (X, Y, Z) float32."""
    return np.asarray(sitk().GetArrayFromImage(image).transpose(2, 1, 0), np.float32)


def to_matrix(transform: Any) -> Matrix:
    """Return an affine transform of SimpleITK as a (4, 4) matrix between RAS+ millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return np.asarray(_TO_LPS @ matrix @ _TO_LPS)


def to_transform(matrix: Matrix) -> Any:
    """Return a (4, 4) matrix between RAS+ millimetres as an affine transform of SimpleITK."""
    world = _TO_LPS @ matrix @ _TO_LPS
    transform = sitk().AffineTransform(3)
    transform.SetMatrix(world[:3, :3].ravel().tolist())
    transform.SetTranslation(world[:3, 3].tolist())
    return transform


def resample(data: npt.NDArray[Any], affine: Matrix, grid: Grid, transform: Matrix | None = None) -> Floats:
    """Return an image on another grid, interpolated linearly; 0 where it does not reach.

    Args:
        data: (X, Y, Z), numbers or truth.
        affine: From its voxels to RAS+ millimetres.
        grid: Where to see it.
        transform: (4, 4) from the millimetres of `grid` to those of the image; None if they are the same.
    """
    seen_from = _placed(sitk().Image([*map(int, grid.shape)], sitk().sitkUInt8), grid.affine)
    chain = to_transform(np.eye(4) if transform is None else transform)
    return to_array(sitk().Resample(to_image(data, affine), seen_from, chain, sitk().sitkLinear, 0.0))


def resample_mask(mask: Bools, affine: Matrix, grid: Grid, transform: Matrix | None = None) -> Bools:
    """Return what is true on another grid: where at least half of what is interpolated is."""
    return np.asarray(resample(mask, affine, grid, transform) >= 0.5)
