"""The bricks of drawn anatomy: where pixels are, smooth random fields, and curves that branch and taper.

Everything is in *unit coordinates*: x to the right and y downwards, both from 0 to 1 over the image, so that `size`
changes the resolution of a picture and not its anatomy. Edges are ramps computed from distances: a third of the time
that twofold supersampling takes, and on average within 0.003 of what it gives.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from upd_zoo.errors import UsageError

FloatArray: TypeAlias = NDArray[np.floating[Any]]

MINIMUM_SIZE: Final = 32
"""Smallest picture, in pixels, on which ribs and vessels can still be told apart."""

_LONGEST_SEGMENT: Final = 2.0
"""Length in pixels of the straight segments that a curve is drawn in; at 1 a fundus takes 1.4 times as long."""


def generator(seed: int, subject: int, *stream: int) -> np.random.Generator:
    """Return the random generator of one stream of one subject, independent of that subject's other streams.

    Raises:
        UsageError: `seed` or `subject` is negative.
    """
    if seed < 0 or subject < 0:
        raise UsageError(
            f"seed {seed} and subject {subject} choose no phantom",
            "whole numbers that count from 0",
            "drop the minus sign",
        )
    return np.random.default_rng([seed, subject, *stream])


@cache
def pixel_centres(size: int) -> tuple[FloatArray, FloatArray]:
    """Return x and y of every pixel centre, each (size, size) in (0, 1); shared between calls, hence read-only.

    Raises:
        UsageError: `size` is below `MINIMUM_SIZE`.
    """
    if size < MINIMUM_SIZE:
        raise UsageError(
            f"a phantom of {size} pixels has no room for its anatomy",
            f"{MINIMUM_SIZE} or more",
            f"pass size={MINIMUM_SIZE}",
        )
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    x.flags.writeable = y.flags.writeable = False
    return x, y


def soft_step(distance: FloatArray, softness: float) -> FloatArray:
    """Return 0 where `distance` is below -softness, 1 where it is above softness, and a smooth ramp between."""
    ramp: FloatArray = np.clip(distance * (0.5 / softness) + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def dome(radius: FloatArray) -> FloatArray:
    """Return the thickness sqrt(1 - r^2) of a unit ball seen at a distance r from its centre; 0 outside it."""
    return np.sqrt(np.clip(1 - radius * radius, 0, None))


def elliptic_radius(x: FloatArray, y: FloatArray, semi_axes: tuple[float, float], angle: float = 0.0) -> FloatArray:
    """Return the distance from the origin in units of an ellipse: 1 on its border.

    Args:
        x: Coordinate to the right of the ellipse's centre.
        y: Coordinate below it.
        semi_axes: Half lengths of the axes that lie along x and y before the turn.
        angle: Turn from x towards y, in radians.
    """
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.hypot((x * cosine + y * sine) / semi_axes[0], (y * cosine - x * sine) / semi_axes[1])


@cache
def _spline_basis(size: int, knots: int) -> FloatArray:
    """Return the (size, knots) values of uniform cubic B-splines at the pixel centres, scaled to mean power 1."""
    position = (np.arange(size) + 0.5) / size * (knots - 3)
    t = np.abs(position[:, None] + 1 - np.arange(knots))
    inner, outer = 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6
    basis = np.where(t < 1, inner, outer)
    scaled: FloatArray = (basis / np.sqrt((basis**2).sum(axis=1).mean())).astype(np.float32)
    return scaled


def smooth_field(knots: FloatArray, size: int) -> FloatArray:
    """Spread a grid of random values over the image by cubic B-splines.

    Args:
        knots: (rows, columns), at least 4 each; independent values of unit variance give a field of unit variance
            whose bumps are about 1/columns of the image wide.
        size: Height and width of the result in pixels.
    """
    rows, columns = knots.shape
    return np.asarray(_spline_basis(size, rows) @ knots @ _spline_basis(size, columns).T, dtype=np.float32)


def draw_knots(rng: np.random.Generator, count: int) -> FloatArray:
    """Draw the (count, count) normal values that `smooth_field` spreads over an image."""
    return rng.standard_normal((count, count), dtype=np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class Curves:
    """A family of curves that taper.

    Attributes:
        points: (curves, steps, 2) float32, x and y.
        half_widths: (curves, steps) float32.
    """

    points: FloatArray
    half_widths: FloatArray

    @property
    def headings(self) -> FloatArray:
        """Direction of travel at every step, (curves, steps), in radians from x towards y."""
        ahead = np.gradient(self.points, axis=1)
        return np.arctan2(ahead[..., 1], ahead[..., 0])


class Outset(NamedTuple):
    """Where curves set out, and how far they go.

    Attributes:
        start: (curves, 2), x and y.
        heading: (curves,), initial direction in radians from x towards y.
        length: (curves,).
        half_width: (curves,), at the start.
    """

    start: FloatArray
    heading: FloatArray
    length: FloatArray
    half_width: FloatArray


def draw_curves(
    rng: np.random.Generator,
    outset: Outset,
    *,
    bend: FloatArray | float = 0.0,
    tortuosity: float = 0.0,
    taper: float = 0.5,
    steps: int = 24,
) -> Curves:
    """Draw curves that set out somewhere and wander.

    Args:
        rng: Source of the wandering.
        outset: Where they set out, and how far they go.
        bend: (curves,), the turn over the whole length in radians, steady along the way.
        tortuosity: Standard deviation of the wandering about the steady turn, in radians.
        taper: Share of the half width that is left at the end.
        steps: Points of each curve.
    """
    start, heading, length, half_width = outset
    t = np.linspace(0, 1, steps)
    knots = rng.standard_normal((len(start), 7))
    wander = knots @ _spline_basis(steps, 7).T
    turn = np.asarray(heading)[:, None] + np.outer(np.broadcast_to(bend, len(start)), t) + tortuosity * wander
    stride = (np.asarray(length) / (steps - 1))[:, None]
    path = np.stack([np.cos(turn) * stride, np.sin(turn) * stride], axis=-1)
    path[:, 0] = start
    widths = np.outer(half_width, 1 + (taper - 1) * t)
    return Curves(path.cumsum(axis=1).astype(np.float32), widths.astype(np.float32))


def draw_sprouts(
    rng: np.random.Generator, parents: Curves, each: int, angle: tuple[float, float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw where side branches leave their parents: start (n, 2), heading (n,) and the parent's half width there.

    The n = curves x `each` branches leave at staggered places, alternately to one side and to the other.

    Args:
        rng: Source of the places and angles.
        parents: The curves that the branches leave.
        each: Branches of every parent.
        angle: Range of the angle between parent and branch, in radians.
    """
    curves, steps = parents.half_widths.shape
    place = (0.1 + 0.9 * (np.arange(each) + rng.uniform(0.1, 0.95, (curves, each))) / each) * (steps - 1)
    index = np.arange(curves)[:, None], place.astype(int)
    side = np.where((np.arange(each) + rng.integers(0, 2, (curves, 1))) % 2, 1.0, -1.0)
    heading = parents.headings[index] + side * rng.uniform(*angle, (curves, each))
    start, width = parents.points[index].reshape(-1, 2), parents.half_widths[index].ravel()
    return start, heading.ravel().astype(np.float32), width


def _splat(values: FloatArray, centres: NDArray[np.intp], reach: int, size: int) -> FloatArray:
    """Keep at every pixel the largest of the patches laid over it; 0 where there is none.

    Args:
        values: (n, 2 reach + 1, 2 reach + 1).
        centres: (n, 2), column and row of each patch's middle, within `reach` of the image.
        reach: Half width of a patch in pixels.
        size: Height and width of the result in pixels.
    """
    margin, offset = 2 * reach, np.arange(-reach, reach + 1)
    stride = size + 2 * margin
    canvas = np.zeros(stride * stride, dtype=np.float32)
    corner = (centres[:, 1] + margin) * stride + centres[:, 0] + margin
    index = corner[:, None, None] + offset[:, None] * stride + offset
    np.maximum.at(canvas, index.ravel(), values.ravel())
    return canvas.reshape(stride, stride)[margin : margin + size, margin : margin + size]


def _near(points: FloatArray, reach: int, size: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which points (in pixels) lie within `reach` of the image, and the nearest pixel of each of those."""
    nearest = np.rint(points).astype(np.intp)
    kept: NDArray[np.bool_] = np.all((nearest >= -reach) & (nearest < size + reach), axis=1)
    return kept, nearest[kept]


def _offsets(points: FloatArray, centres: NDArray[np.intp], reach: int) -> tuple[FloatArray, FloatArray]:
    """Return how far right of and below its point each pixel of a patch lies: (n, 1, width) and (n, width, 1)."""
    start = centres.astype(np.float32) - points
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    return start[:, 0, None, None] + offset, start[:, 1, None, None] + offset[:, None]


def _between(values: FloatArray, parts: int) -> FloatArray:
    """Divide every step along axis 1 into `parts` and return their middles, curve after curve."""
    t = (np.arange(parts, dtype=np.float32) + 0.5) / parts
    t = t.reshape(parts, *[1] * (values.ndim - 2))
    middles = values[:, :-1, None] * (1 - t) + values[:, 1:, None] * t
    return middles.reshape(-1, *values.shape[2:])


def stroke_coverage(curves: Curves, size: int) -> FloatArray:
    """Return how much of every pixel the curves cover, (size, size) in [0, 1].

    A stroke thinner than a pixel covers at most its width, so that fine vessels fade with the resolution.
    """
    steps = np.diff(curves.points, axis=1) * size
    lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
    parts = max(1, int(np.ceil(lengths.max() / _LONGEST_SEGMENT)))
    points = _between(curves.points, parts) * size - 0.5
    radius = _between(curves.half_widths, parts) * size
    reach = int(np.ceil(radius.max() + 0.5 + _LONGEST_SEGMENT / 2))
    kept, centres = _near(points, reach, size)
    along = (steps / np.maximum(lengths, 1e-6)).reshape(-1, 2).repeat(parts, axis=0)[kept, :, None, None]
    half_length = lengths.ravel().repeat(parts)[kept, None, None] / (2 * parts)
    (dx, dy), radius = _offsets(points[kept], centres, reach), radius[kept, None, None]
    across = dx * along[:, 1] - dy * along[:, 0]
    beyond = np.clip(np.abs(dx * along[:, 0] + dy * along[:, 1]) - half_length, 0, None)
    distance = np.sqrt(across * across + beyond * beyond)
    return _splat(np.clip(radius + 0.5 - distance, 0, np.minimum(1, 2 * radius)), centres, reach, size)


@dataclass(frozen=True, eq=False, slots=True)
class Ellipses:
    """Filled ellipses.

    Attributes:
        centres: (n, 2) float32, x and y.
        semi_axes: (n, 2) float32, half lengths along and across `angles`.
        angles: (n,) float32, radians from x towards y.
    """

    centres: FloatArray
    semi_axes: FloatArray
    angles: FloatArray


def ellipse_coverage(ellipses: Ellipses, size: int, softness: float = 0.0) -> FloatArray:
    """Return how much of every pixel the ellipses cover, (size, size) in [0, 1].

    Args:
        ellipses: What to fill; an ellipse smaller than a pixel covers at most its area.
        size: Height and width of the result in pixels.
        softness: Half width of the ramp at the border, in unit coordinates, where that is more than half a pixel.
    """
    if not len(ellipses.angles):
        return np.zeros((size, size), dtype=np.float32)
    axes, ramp = ellipses.semi_axes * size, max(0.5, softness * size)
    reach = int(np.ceil(axes.max() + ramp))
    points = ellipses.centres * size - 0.5
    kept, centres = _near(points, reach, size)
    (dx, dy), axes = _offsets(points[kept], centres, reach), axes[kept, :, None, None]
    cosine, sine = (turn(ellipses.angles[kept])[:, None, None] for turn in (np.cos, np.sin))
    radius = np.hypot((dx * cosine + dy * sine) / axes[:, 0], (dy * cosine - dx * sine) / axes[:, 1])
    inside = (1 - radius) * axes.min(axis=1)
    most = np.minimum(1, np.pi * axes.prod(axis=1))
    return _splat(np.clip(inside / (2 * ramp) + 0.5, 0, most).astype(np.float32), centres, reach, size)
