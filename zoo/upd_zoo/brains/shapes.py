"""Shapes of truth in space: what balls of voxels take away, add, and leave connected."""

from functools import cache
from types import ModuleType

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import MissingExtraError

Bools = npt.NDArray[np.bool_]


@cache
def ndimage() -> ModuleType:
    """Return scipy.ndimage, looked for when used: the base install has no SciPy."""
    try:
        from scipy import ndimage as module
    except ImportError as error:
        raise MissingExtraError("Preparing brain scans", "prepare") from error
    return module  # type: ignore[no-any-return]


def dilation(mask: Bools, radius: float) -> Bools:
    """Return a mask (X, Y, Z) with everything within a radius in voxels."""
    near, grown = around(mask, int(radius) + 1), np.zeros_like(mask)
    grown[near] = ndimage().distance_transform_edt(~mask[near]) <= radius if mask.any() else False
    return grown


def erosion(mask: Bools, radius: float) -> Bools:
    """Return what of a mask (X, Y, Z) is further than a radius in voxels from all that is outside, borders included."""
    near, left = around(mask, 0), np.zeros_like(mask)
    left[near] = (ndimage().distance_transform_edt(np.pad(mask[near], 1)) > radius)[1:-1, 1:-1, 1:-1]
    return left


def around(mask: Bools, margin: int) -> tuple[slice, ...]:
    """Return the least box of an image (X, Y, Z) that holds a mask and, within the image, a margin in voxels."""
    if not mask.any():
        return (slice(0, 1),) * mask.ndim
    shown = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(max(0, each[0] - margin), each[-1] + margin + 1) for each in shown)


def opening(mask: Bools, radius: float) -> Bools:
    """Return a mask without what a ball of a radius in voxels does not reach from inside."""
    return dilation(erosion(mask, radius), radius) & mask


def closing(mask: Bools, radius: int) -> Bools:
    """Return a mask with what a ball of a radius in voxels does not reach from outside, and without holes."""
    room = radius + 1
    inner = (slice(room, -room),) * 3
    closed = erosion(dilation(np.pad(mask, room), radius), radius)[inner] | mask
    return np.asarray(ndimage().binary_fill_holes(closed))


def largest(mask: Bools) -> Bools:
    """Return the largest connected part of a mask (X, Y, Z); faces connect."""
    labels, count = ndimage().label(mask)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def dice(first: Bools, second: Bools) -> float:
    """Return the overlap of two masks, 2 |A ∩ B| / (|A| + |B|), in [0, 1]; 0 where both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 0.0
