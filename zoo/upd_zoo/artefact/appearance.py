"""What an image looks like, in a few figures: enough to tell a brain from a chest film, and a film from its negative.

Export records the figures of healthy images (`upd_zoo.artefact.calibration.Appearance`), and the harness compares every
input with them. All of them are taken of the images as a model sees them, and none needs the model.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Figure = npt.NDArray[np.float64]

SIDE: Final = 16
"""Rows and columns of the coarse picture by which layouts are compared."""
_LEVELS: Final = 256
_LEAST: Final = 2 / 255
"""Above the darkest pixel, what is taken for more than background: compression leaves a level or two around it."""
_BRIGHTEST: Final = 0.995
"""Quantile of the tissue up to which grey levels are counted: a few hot pixels must not empty the rest."""

_LOOKED_AT: Final = 1 << 20
_ROOTS: Final = np.sqrt((2, 3, 5))


class Turn(StrEnum):
    """What may have been done to an image before it came here."""

    INVERTED = "inverted"
    UPSIDE_DOWN = "upside-down"
    QUARTER_LEFT = "quarter-left"
    QUARTER_RIGHT = "quarter-right"
    COLOURS_REVERSED = "colours-reversed"
    """Blue, green, red instead of red, green, blue."""


class Figures(NamedTuple):
    """Figures of N images, each (N,); brightness is the mean over channels.

    Attributes:
        tissue: Share of the pixels that are brighter than the darkest one, within [0, 1].
        mean: Mean brightness of the tissue.
        spread: Standard deviation of its brightness.
        entropy: Of its brightness in 256 levels between its darkest and brightest, in bits within [0, 8]; the most
            common level is left out, for it may be a background that is not dark.
        texture: Mean difference of neighbouring pixels of tissue, as a share of the spread.
    """

    tissue: Figure
    mean: Figure
    spread: Figure
    entropy: Figure
    texture: Figure


def figures_of(images: Array) -> Figures:
    """Return the figures of images (N, C, H, W) float32 in [0, 1]; those of an image of one colour are 0."""
    grey = images.mean(axis=1, dtype=np.float64)
    inside = grey > grey.min(axis=(1, 2), keepdims=True) + _LEAST
    mean = _mean(grey, inside)
    spread = np.sqrt(_mean((grey - mean[:, None, None]) ** 2, inside))
    entropy = np.array([_entropy(pixels[shown]) for pixels, shown in zip(grey, inside, strict=True)])
    steps = steps_of(grey, inside)
    texture = np.divide(steps, spread, out=np.zeros_like(spread), where=spread > 0)
    return Figures(inside.mean(axis=(1, 2)), mean, spread, entropy, texture)


def levels_of(*channels: npt.NDArray[Any]) -> int:
    """Return how many values or colours an image has, at a million places at most, evenly spread.

    Args:
        channels: One or three of the same shape.
    """
    step = math.ceil(channels[0].size / _LOOKED_AT)
    # Whole multiples of roots of primes add up to the same only where each of them is the same.
    weighted = [root * each.ravel(order="K")[::step] for root, each in zip(_ROOTS, channels, strict=False)]
    return len(np.unique(np.sum(weighted, axis=0)))


def median_figures(figures: Figures) -> Figures:
    """Return the median over images, each (1,): the figures of a volume of its slices."""
    return Figures(*(np.median(values, keepdims=True) for values in figures))


def joined_figures(parts: Iterable[Figures]) -> Figures:
    """Return the figures of several batches of images as those of one."""
    return Figures(*map(np.concatenate, zip(*parts, strict=True)))


def _mean(values: Figure, inside: npt.NDArray[np.bool_]) -> Figure:
    """Return the mean (N,) of values (N, H, W) inside; 0 where nothing is."""
    total = np.where(inside, values, 0).sum(axis=(1, 2))
    return np.asarray(total / np.maximum(inside.sum(axis=(1, 2)), 1))


def steps_of(grey: Figure, inside: npt.NDArray[np.bool_]) -> Figure:
    """Return the mean difference (N,) of pixels (N, H, W) that touch each other by a side, both of them inside."""
    total, pairs = np.zeros(len(grey)), np.zeros(len(grey), int)
    for axis in (1, 2):
        both = np.diff(inside.astype(np.int8), axis=axis) == 0
        both &= np.take(inside, range(inside.shape[axis] - 1), axis)
        total += np.where(both, np.abs(np.diff(grey, axis=axis)), 0).sum(axis=(1, 2))
        pairs += both.sum(axis=(1, 2))
    return np.asarray(total / np.maximum(pairs, 1))


def _entropy(tissue: Figure) -> float:
    if tissue.size == 0:
        return 0.0
    low, high = tissue.min(), np.quantile(tissue, _BRIGHTEST)
    if high <= low:
        return 0.0
    levels = np.rint((np.minimum(tissue, high) - low) * ((_LEVELS - 1) / (high - low))).astype(int)
    counts = np.sort(np.bincount(levels))[:-1]
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def coarse(images: Array) -> Figure:
    """Return images (N, C, H, W), their sides multiples of `SIDE`, as means over (N, C, SIDE, SIDE) blocks."""
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, SIDE, height // SIDE, SIDE, width // SIDE)
    return np.asarray(blocks.mean(axis=(3, 5), dtype=np.float64))


def likeness(picture: Figure, other: Figure) -> float:
    """Return Pearson's correlation of two coarse pictures (C, SIDE, SIDE); 0 where one of them has one value."""
    first, second = picture - picture.mean(), other - other.mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def turned(picture: Figure, turn: Turn) -> Figure:
    """Return a coarse picture (C, SIDE, SIDE) with a turn done to it."""
    if turn is Turn.INVERTED:
        return np.asarray(1 - picture)
    if turn is Turn.COLOURS_REVERSED:
        return picture[::-1]
    if turn is Turn.UPSIDE_DOWN:
        return picture[:, ::-1]
    return np.rot90(picture, 1 if turn is Turn.QUARTER_LEFT else -1, axes=(1, 2))


def turns_of(channels: int) -> tuple[Turn, ...]:
    """Return what can be done to an image of so many channels and be seen."""
    return tuple(turn for turn in Turn if channels > 1 or turn is not Turn.COLOURS_REVERSED)
