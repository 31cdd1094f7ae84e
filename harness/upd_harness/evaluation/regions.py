"""Lesions told apart: the connected regions of masks, in two dimensions."""

from typing import Final

import numpy as np
import numpy.typing as npt

_AHEAD: Final = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of a pixel's eight neighbours, by rows and columns: those that come after it."""


def region_sizes(masks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return, for each pathological pixel of masks (B, H, W) in their order, how many pixels its region has.

    Pixels are of one region where they touch, corners included; regions of two images never do.
    """
    numbers = region_numbers(masks)
    return np.bincount(numbers)[numbers]


def region_numbers(masks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the number (n,) of the region of each of the n pathological pixels of masks (B, H, W), in their order.

    A region's number is that of its first pixel.
    """
    padded = np.pad(masks != 0, ((0, 0), (1, 1), (1, 1))).ravel()
    places = np.flatnonzero(padded)
    numbers = np.full(padded.size, -1, np.int64)
    numbers[places] = np.arange(places.size)
    width = masks.shape[2] + 2
    pairs = [(numbers[places], numbers[places + row * width + column]) for row, column in _AHEAD]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    one, other = one[other >= 0], other[other >= 0]
    roots = np.arange(places.size)
    while (apart := roots[one] != roots[other]).any():
        one, other = one[apart], other[apart]
        low, high = np.minimum(roots[one], roots[other]), np.maximum(roots[one], roots[other])
        np.minimum.at(roots, high, low)
        while (roots[roots] != roots).any():
            roots = roots[roots]
    return roots
