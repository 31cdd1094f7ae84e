"""How much one quantity moves with each of two others: a linear regression on both, with intervals over subjects.

    y ≈ a + b₁ (x₁ - mean x₁) / sd x₁ + b₂ (x₂ - mean x₂) / sd x₂        by least squares

b₁ and b₂ are in units of y for one standard deviation more of x₁ or x₂, so they can be laid beside each other, and are
the two sides of an arrow. The study draws such arrows in its Figure 2 and does not say how it came by them; a
regression on both at once is our reading, for lesions that are large are often bright too.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_RESAMPLES: Final = 1000
_SEED: Final = 0
_UNKNOWNS: Final = 3


@dataclass(frozen=True, slots=True)
class Slope:
    """How much y rises with one standard deviation more of x, the other x staying as it is.

    Attributes:
        value: The slope.
        interval: 95 % bootstrap interval over subjects; None where there are too few of them.
    """

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Influence:
    """The slopes of a regression.

    Attributes:
        first: Of x₁.
        second: Of x₂.
        explained: Share of the variance of y that both explain together, R² in [0, 1]; None where y does not vary.
        points: How many points it is through.
        subjects: Of how many subjects they are.
    """

    first: Slope
    second: Slope
    explained: float | None
    points: int
    subjects: int

    def as_document(self, first: str, second: str) -> dict[str, Any]:
        """Return it for programs, the slopes under names of their own."""
        named = {first: self.first, second: self.second}
        slopes = {name: {"slope": each.value, "interval": each.interval} for name, each in named.items()}
        return {**slopes, "explained": self.explained, "points": self.points, "subjects": self.subjects}


def influence(y: Floats, first: Floats, second: Floats, subjects: list[str]) -> Influence | None:
    """Return how much y moves with two others.

    Args:
        y: (N,) what is explained.
        first: (N,) x₁.
        second: (N,) x₂.
        subjects: N names, of whom each point is; whole subjects are drawn for the intervals.

    Returns:
        None where the points do not determine both slopes: fewer than four, or one x a function of the other.
    """
    if len(y) <= _UNKNOWNS or not first.std() or not second.std():
        return None
    design = np.stack([np.ones(len(y)), *((x - x.mean()) / x.std() for x in (first, second))], axis=1)  # (N, 3)
    solution, _, rank, _ = np.linalg.lstsq(design, y)
    if rank < _UNKNOWNS:
        return None
    names, of_subject = np.unique(subjects, return_inverse=True)
    intervals = _intervals(design, y, of_subject, len(names))
    slopes = [Slope(float(value), interval) for value, interval in zip(solution[1:], intervals, strict=True)]
    total = float(((y - y.mean()) ** 2).sum())
    left = float(((y - design @ solution) ** 2).sum())
    return Influence(slopes[0], slopes[1], 1 - left / total if total else None, len(y), len(names))


def _intervals(
    design: Floats, y: Floats, of_subject: npt.NDArray[np.intp], subjects: int
) -> list[tuple[float, float] | None]:
    """Return the intervals of both slopes from sums of products for each subject, which a draw adds up."""
    products = np.zeros((subjects, _UNKNOWNS, _UNKNOWNS + 1))  # (S, 3, 4): XᵀX and Xᵀy of each subject
    np.add.at(products, of_subject, design[:, :, None] * np.column_stack([design, y])[:, None, :])
    generator = np.random.default_rng(_SEED)
    draws = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=_RESAMPLES)  # (R, S)
    sums = np.tensordot(draws, products, 1)  # (R, 3, 4)
    determined = np.linalg.matrix_rank(sums[:, :, :_UNKNOWNS], hermitian=True) == _UNKNOWNS
    if determined.mean() < 0.95 or subjects < _UNKNOWNS:  # an interval of what is left would be too narrow
        return [None, None]
    sums = sums[determined]
    slopes = np.linalg.solve(sums[:, :, :_UNKNOWNS], sums[:, :, _UNKNOWNS:])[:, 1:, 0]  # (R', 2)
    low, high = np.quantile(slopes, (0.025, 0.975), axis=0)
    return [(float(low[each]), float(high[each])) for each in range(2)]
