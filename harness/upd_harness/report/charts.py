"""The geometry of the small charts: data in, positions in pixels out. The templates draw them as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BINS: Final = 32


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale from `low` to `high` (data) onto `start` to `stop` (pixels)."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, stop: float, margin: float = 0.0) -> "Axis":
        """Span all values and a share `margin` of their range on both sides; one value alone gets room around it."""
        low, high = min(values), max(values)
        room = margin * (high - low) if high > low else max(0.5, abs(low) / 2)
        return cls(low - room, high + room, start, stop)

    def at(self, value: float) -> float:
        """Return the position of a value in pixels."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, most: int, least_step: float = 0.0) -> tuple["Tick", ...]:
        """Return round values within the axis: at most `most`, in steps of 1, 2 or 5 times a power of ten."""
        rough = max((self.high - self.low) / most, least_step)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(Tick(self.at(index * step), f"{index * step:.6g}") for index in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class SliceCurve:
    """Score by slice of one volume.

    Attributes:
        path: The curve, as path data of SVG; it breaks at empty slices.
        peak: The most anomalous slice and its position (slice, x, y).
        threshold: Position of the threshold, if there is one.
    """

    path: str
    peak: tuple[int, float, float]
    threshold: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    left: float
    right: float
    top: float
    bottom: float


def slice_curve(scores: Sequence[float | None], threshold: float | None) -> SliceCurve | None:
    """Lay out the scores of a volume's slices, or return None where no slice has one."""
    known = [(place, score) for place, score in enumerate(scores) if score is not None]
    if not known:
        return None
    left, right, top, bottom = 52.0, 548.0, 20.0, 112.0
    levels = [score for _, score in known] + ([] if threshold is None else [threshold])
    x = Axis.over((0, len(scores) - 1), left, right)
    y = Axis.over(levels, bottom, top, margin=0.08)
    place, highest = max(known, key=lambda pair: pair[1])
    return SliceCurve(
        _path([(x.at(at), y.at(score)) if score is not None else None for at, score in enumerate(scores)]),
        (place, x.at(place), y.at(highest)),
        None if threshold is None else y.at(threshold),
        x.ticks(8, least_step=1),
        y.ticks(4),
        left, right, top, bottom,
    )  # fmt: skip


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    commands, joined = [], False
    for point in points:
        if point is not None:
            # Going nowhere after each move gives a slice between two empty ones its round dot.
            commands.append(f"{'L' if joined else 'M'}{point[0]:.1f} {point[1]:.1f}{'' if joined else 'h0'}")
        joined = point is not None
    return "".join(commands)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores of healthy and anomalous images, each as the share of its own group per bin.

    Attributes:
        healthy: Outline of the healthy images, as path data of SVG; empty where there are none.
        anomalous: Outline of the anomalous images.
    """

    healthy: str
    anomalous: str
    healthy_count: int
    anomalous_count: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    left: float
    right: float
    top: float
    bottom: float


def histogram(healthy: NDArray[Any], anomalous: NDArray[Any]) -> Histogram | None:
    """Lay out two groups of scores over the same bins; scores that are not finite are left out.

    Args:
        healthy: (N,) scores of healthy images.
        anomalous: (M,) scores of anomalous images.

    Returns:
        The chart, or None where no score is left.
    """
    groups = [np.asarray(group, dtype=np.float64).ravel() for group in (healthy, anomalous)]
    groups = [group[np.isfinite(group)] for group in groups]
    if not sum(group.size for group in groups):
        return None
    left, right, top, bottom = 52.0, 668.0, 16.0, 206.0
    together = np.concatenate(groups)
    x = Axis.over((float(together.min()), float(together.max())), left, right)
    edges = np.linspace(x.low, x.high, _BINS + 1)
    shares = [100 * np.histogram(group, edges)[0] / max(1, group.size) for group in groups]
    y = Axis(0.0, 1.05 * max(float(share.max()) for share in shares), bottom, top)
    outlines = [_steps(edges, share, x, y) if group.size else "" for group, share in zip(groups, shares, strict=True)]
    return Histogram(
        outlines[0], outlines[1], groups[0].size, groups[1].size, x.ticks(8), y.ticks(4), left, right, top, bottom
    )


def _steps(edges: NDArray[np.float64], heights: NDArray[np.float64], x: Axis, y: Axis) -> str:
    steps = [f"V{y.at(height):.1f}H{x.at(edge):.1f}" for edge, height in zip(edges[1:], heights, strict=True)]
    return f"M{x.at(edges[0]):.1f} {y.start:.1f}{''.join(steps)}V{y.start:.1f}"
