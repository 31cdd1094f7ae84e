"""The border of a brain: from where a template expects it, out or in to where bone begins.

A profile is read along the way outwards at every voxel of the expected border, as a share of the brightest that lies
below it: near a coil the same tissue is several times as bright as at the vertex. Profiles of neighbours are averaged,
so that sulci between gyri count as little as they should, and the border moves to where their mean falls to bone. Where
it never does, as at the cut of the spinal cord, the border stays.

Source: Smith, Fast robust automated brain extraction, Human Brain Mapping 17 (2002), for limits that are local.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from upd_zoo.brains.grid import Bools, Floats, Matrix
from upd_zoo.brains.shapes import around, largest, ndimage, opening

_BELOW: Final = 8
"""Voxels below the border within which the brightest is looked for: white matter is nearer everywhere."""
_BRIGHTEST: Final = 90
"""Percentile that stands for the brightest."""
_BONE: Final = 0.44
"""Share of the brightest below which something is bone, however thick."""
_THIN: Final = 0.55
"""Likewise where what follows is brighter again, as marrow and scalp behind thin bone are."""
_ABOVE: Final = 0.05
"""Share of the brightest by which the border is brighter than the darkest of thin bone."""
_RISING: Final = 0.01
"""Share of the brightest by which a step outwards must be brighter to end what is thin."""
_UNSEEN: Final = 0.05
"""Weight of a place where no bone is seen, beside those where it is: it follows them, or stays."""
_NEIGHBOURS: Final = 3.0
"""Standard deviation, in voxels, of the weights of neighbours in a mean profile."""
_FLAT: Final = 2.0
"""Likewise of the steps by which the border moves."""
_LEVEL: Final = 4.0
"""Likewise of the brightness that it is measured by."""
_STEEP: Final = 0.8
"""Cosine of the angle between straight up and the way outwards up to which something lies at the top."""
_BRAIN: Final = 0.6
"""Share of the brightest from which something above the top is as bright as brain."""
_ROOM: Final = 12
"""Voxels around what is expected that are looked at."""

Signed = npt.NDArray[np.floating]


class Reach(NamedTuple):
    """How far from where it is expected a border is looked for, in voxels."""

    inwards: int
    outwards: int


def bordered(head: Floats, expected: Bools, reach: Reach) -> Bools:
    """Return where a brain (X, Y, Z) is, out to where bone begins.

    Args:
        head: (X, Y, Z) whole head in T1, voxels of about 2 mm.
        expected: (X, Y, Z) where the brain is expected; not empty.
        reach: How far off that may be.
    """
    box = around(expected, _ROOM)
    surface, near, mask = _Surface(expected[box]), head[box], np.zeros(head.shape, np.bool_)
    mask[box] = largest(opening(surface.distance <= surface.steps(near / surface.level(near), reach), 2))
    return mask


def evened(head: Floats, mask: Bools) -> Floats:
    """Return a brain (X, Y, Z) whose white matter is about 1 everywhere, however coils light it; 0 outside."""
    box, brain = around(mask, _ROOM), np.zeros(head.shape, np.float32)
    brain[box] = np.where(mask[box], np.maximum(head[box], 0) / _Surface(mask[box]).level(head[box]), 0)
    return brain


def rim(head: Floats, mask: Bools, up: Matrix) -> float:
    """Return how much of what lies just above a brain's top is as bright as brain, in [0, 1].

    Args:
        head: (X, Y, Z) with what is around the brain.
        mask: (X, Y, Z) where the brain is; not empty.
        up: (3,) the way up in voxels.
    """
    box = around(mask, _ROOM)
    surface = _Surface(mask[box])
    above, below = (surface.profiles(head[box], steps) for steps in (range(1, 3), range(-_BELOW, 1)))
    relative = above.mean(axis=0) / np.maximum(np.percentile(below, _BRIGHTEST, axis=0), 1e-6)
    top = surface.top(up / np.linalg.norm(up))
    return float((relative[top] > _BRAIN).mean()) if top.any() else 0.0


class _Surface:
    """The surface of a mask (X, Y, Z), and what is said of its N voxels.

    Attributes:
        distance: (X, Y, Z) voxels to the border, negative inside.
    """

    def __init__(self, inside: Bools) -> None:
        transform = ndimage().distance_transform_edt
        self.distance: Signed = np.where(inside, 0.5 - transform(inside), transform(~inside) - 0.5)
        self._edge = inside & ~np.asarray(ndimage().binary_erosion(inside))
        slopes = np.stack(np.gradient(ndimage().gaussian_filter(self.distance, 1.5)))[:, self._edge]
        self._outwards = slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-6)  # (3, N)
        numbers = np.cumsum(self._edge).reshape(inside.shape) - 1
        self._nearest = numbers[tuple(transform(~self._edge, return_distances=False, return_indices=True))]

    def profiles(self, image: Floats, steps: range) -> Signed:
        """Return an image's values (S, N) at steps of a voxel outwards."""
        smooth, start = ndimage().gaussian_filter(image, 0.5), np.argwhere(self._edge).T
        read = ndimage().map_coordinates
        return np.stack([read(smooth, start + step * self._outwards, order=1, mode="nearest") for step in steps])

    def top(self, up: Matrix) -> Bools:
        """Return which of the N voxels lie in the upper half and look up, by a direction (3,) of length 1."""
        heights = np.argwhere(self._edge) @ up
        return np.asarray((heights > (heights.min() + heights.max()) / 2) & (up @ self._outwards > _STEEP))

    def level(self, image: Floats) -> Floats:
        """Return the brightness (X, Y, Z) of white matter near every voxel of an image."""
        brightest = np.percentile(self.profiles(image, range(-_BELOW, 1)), _BRIGHTEST, axis=0)
        level: Floats = ndimage().gaussian_filter(self._mean(brightest[None], _LEVEL)[0][self._nearest], _LEVEL)
        return np.maximum(level, 1e-6)

    def steps(self, relative: Floats, reach: Reach) -> Floats:
        """Return by how many voxels (X, Y, Z) the border that is nearest moves outwards.

        Args:
            relative: (X, Y, Z) brightness as a share of that of white matter.
            reach: How far it may move.
        """
        tried = range(-reach.inwards, reach.outwards + 1)
        mean = self._mean(np.minimum(self.profiles(relative, tried), 1), _NEIGHBOURS)
        bone, column = mean < _BONE, np.arange(mean.shape[1])
        bone[:-1] |= (mean[:-1] < _THIN) & (mean[1:] > mean[:-1] + _RISING)
        seen, limit = bone.any(axis=0), np.maximum(_BONE, mean[bone.argmax(axis=0), column] + _ABOVE)
        after = np.maximum((mean < limit).argmax(axis=0), 1)  # the first step beyond the border
        high, low = mean[after - 1, column], mean[after, column]
        moved = after - reach.inwards - np.clip((limit - low) / np.maximum(high - low, 1e-3), 0, 1)
        moved[~seen] = 0
        steps = self._mean(moved[None], _FLAT, np.where(seen, 1.0, _UNSEEN))[0]
        return np.asarray(steps[self._nearest], np.float32)

    def _mean(self, values: Signed, width: float, weights: Signed | float = 1.0) -> Signed:
        """Return means of values (S, N) over neighbours in space, weighted, the near ones more."""

        def summed(each: Signed | float) -> Floats:
            room = np.zeros(self._edge.shape, np.float32)
            room[self._edge] = each
            return np.asarray(ndimage().gaussian_filter(room, width, truncate=3.0)[self._edge])

        return np.stack([summed(each * weights) for each in values]) / np.maximum(summed(weights), 1e-6)
