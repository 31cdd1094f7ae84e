"""Of an image, real or synthetic: where it shows somebody, and how the detail of what it shows varies."""

from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.drawing import FloatArray

Image: TypeAlias = NDArray[np.float32]

_DETAIL: Final = 0.06
"""Width, as a share of the side, of the Gaussian beyond which a change of brightness is shading and not detail."""
_DEVIATIONS: Final = (0.03, 0.08)
"""Least and greatest standard deviation along the first axis. Lesions of smooth tissue are not as faint as its detail;
and of T1-weighted brains, where it is 0.10 to 0.17 for the folds of the cortex, lesions would be white patches."""


class Palette(NamedTuple):
    """How the detail of an image's tissue varies.

    Attributes:
        main: (C, 1, 1) change of one standard deviation along the first axis, brighter in sum, within bounds.
        minor: (C, 1, 1) the same along the second axis; zeros of a grey image.
        light: (C, 1, 1) the 95th percentile of the tissue.
        floor: (C, 1, 1) the tissue's minimum, below which nothing is darkened: there the background would begin.
    """

    main: Image
    minor: Image
    light: Image
    floor: Image


def tissue_of(image: Image) -> NDArray[np.bool_]:
    """Return (H, W), true where an image (C, H, W) shows somebody, by brightness: no black border or background."""
    brightest = image.max(axis=0)
    low, high = brightest.min(), np.quantile(brightest, 0.99)
    bright = brightest > low + 0.07 * (high - low)
    return np.asarray((brightest > low) & (gauss(bright.astype(np.float32), 0.015) > 0.5))


def places_of(tissue: NDArray[np.bool_]) -> FloatArray:
    """Return (N, 2), x and y in unit coordinates of the tissue (H, W) that lies 2 % of the side or more from its edge.

    Nothing is left of a slice that hardly cuts the brain.
    """
    inside = gauss(tissue.astype(np.float32), 0.02) > 0.98
    rows, columns = np.nonzero(inside)
    return np.asarray(np.stack((columns + 0.5, rows + 0.5), axis=1) / tissue.shape[0])


def palette_of(image: Image, tissue: NDArray[np.bool_]) -> Palette:
    """Return how the detail of the tissue (H, W) of an image (C, H, W) varies."""
    detail = (image - smoothed(image, tissue, _DETAIL))[:, tissue]  # (C, N)
    variances, axes = np.linalg.eigh(np.atleast_2d(np.cov(detail)))
    steps = axes * np.sqrt(np.clip(variances, 0, None))  # (C, C), a column for each axis, the largest last
    main = axes[:, -1] * np.sqrt(variances[-1].clip(0)).clip(*_DEVIATIONS) * np.sign(axes[:, -1].sum())
    minor = steps[:, -2] if len(image) > 1 else np.zeros_like(main)
    pixels = image[:, tissue]
    facts = (main, minor, np.quantile(pixels, 0.95, axis=1), pixels.min(axis=1))
    return Palette(*(np.asarray(fact, np.float32)[:, None, None] for fact in facts))


def smoothed(image: Image, tissue: NDArray[np.bool_], width: float) -> Image:
    """Return an image smoothed within its tissue, into which no background leaks."""
    weight = tissue.astype(np.float32)
    return np.asarray(gauss(image * weight, width) / np.maximum(gauss(weight, width), 1e-3), np.float32)


def gauss(image: FloatArray, width: float) -> FloatArray:
    """Return images (…, H, H) smoothed by a Gaussian of a width that is a share of the side; constants stay."""
    matrix = _gauss_matrix(image.shape[-1], width)
    return matrix @ image @ matrix.T


@lru_cache(maxsize=8)
def _gauss_matrix(size: int, width: float) -> Image:
    """Return (size, size), each row the Gaussian of a pixel, of a width that is a share of the side; rows sum to 1."""
    places = np.arange(size)
    rows = np.exp(-0.5 * np.square((places[:, None] - places) / (width * size)))
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)
