"""Shapes of truth in space: what balls of voxels take away, add, and leave connected."""

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import MissingExtraError

Bools = npt.NDArray[np.bool_]


@cache
def _ndimage() -> ModuleType:
    """Return scipy.ndimage, looked for when used: the base install has no SciPy."""
    try:
        from scipy import ndimage
    except ImportError as error:
        raise MissingExtraError("Preparing brain scans", "prepare") from error
    return ndimage  # type: ignore[no-any-return]


def _outwards(mask: Bools) -> npt.NDArray[Any]:
    """Return the distance of every voxel to the nearest one of a mask, in voxels."""
    distance: npt.NDArray[Any] = _ndimage().distance_transform_edt(~mask)
    return distance


def dilation(mask: Bools, radius: float) -> Bools:
    """Return a mask (X, Y, Z) with everything within a radius in voxels."""
    return np.asarray(_outwards(mask) <= radius) if mask.any() else mask.copy()


def erosion(mask: Bools, radius: float) -> Bools:
    """Return what of a mask (X, Y, Z) is further than a radius in voxels from all that is outside, borders included."""
    around = np.pad(mask, 1)
    return np.asarray(_ndimage().distance_transform_edt(around) > radius)[1:-1, 1:-1, 1:-1]


def opening(mask: Bools, radius: float) -> Bools:
    """Return a mask without what a ball of a radius in voxels does not reach from inside."""
    return dilation(erosion(mask, radius), radius) & mask


def closing(mask: Bools, radius: int) -> Bools:
    """Return a mask with what a ball of a radius in voxels does not reach from outside, and without holes."""
    room = radius + 1
    inner = (slice(room, -room),) * 3
    around = erosion(dilation(np.pad(mask, room), radius), radius)[inner] | mask
    return np.asarray(_ndimage().binary_fill_holes(around))


def largest(mask: Bools) -> Bools:
    """Return the largest connected part of a mask (X, Y, Z); faces connect."""
    labels, count = _ndimage().label(mask)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def dice(first: Bools, second: Bools) -> float:
    """Return the overlap of two masks, 2 |A ∩ B| / (|A| + |B|), in [0, 1]; 0 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 0.0
