"""How far a figure is known, and whether it agrees with a printed one: the one rule of all tables.

    |ours - printed| <= r + sqrt(t² s² (1/n + 1/3) + (1.96 e)²)

with s the standard deviation over our n seeds, t the 0.975 quantile of Student's distribution with n - 1 degrees of
freedom, e the standard error by the test sample (bootstrap over subjects), and r half a unit of the last printed
digit. The study prints means of three seeds without their spread, so that of ours stands for both: 1/n and 1/3. Its
subjects are nearly ours, but for exclusions and for a tenth that it kept back and does not name; e is what drawing
other subjects moves a figure by. A single seed does not tell s, so nothing is judged by it. Nor is it by a tolerance
that holds all that was printed of a test set, chance among it: of two seeds on 12 images of noise it was ±0.55, and an
AUROC of 0.26 "within" 0.66.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from upd_harness.evaluation.digest import Floats

RULE: Final = (
    "A figure is within its tolerance where it differs from the printed one by at most "
    "r + sqrt(t² s² (1/n + 1/3) + (1.96 e)²): s is the standard deviation over our n seeds, which stands for that of "
    "the study's three, too, since it prints none; t is Student's quantile for n - 1 degrees of freedom; e is the "
    "standard error by the test sample, from a bootstrap over subjects; r is half a unit of the last printed digit. "
    "One seed does not tell its spread, and judges nothing; nor does a tolerance that holds every figure that the "
    "study printed of a test set, chance among them. Under the study's protocol, Dice is the best of its 100 "
    "evenly spaced thresholds, and its e that of the best Dice."
)
_PRINTED_SEEDS: Final = 3
_NORMAL: Final = 1.96
_STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""The 0.975 quantile with 1, 2, ... degrees of freedom; the last one, which is too wide, for more."""


class Verdict(StrEnum):
    """What a figure of ours is beside a printed one."""

    WITHIN = "within"
    OUTSIDE = "outside"
    NOT_RUN = "not run"
    NOT_JUDGED = "not judged"
    """It was measured, and cannot or must not be held against the printed one."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure in draws of subjects, the same draws for all models on the same images.

    Attributes:
        images: Hash of the store that they are of.
        values: (R,) the mean over seeds in each draw; NaN in draws that do not define it.
    """

    images: str
    values: Floats

    def apart(self, other: "Drawn") -> float | None:
        """Return the standard deviation of the difference to another; None where it is of other images."""
        if self.images != other.images or self.values.shape != other.values.shape:
            return None
        apart = self.values - other.values
        defined = apart[~np.isnan(apart)]
        return float(defined.std()) if defined.size else None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and how far it is known.

    Attributes:
        mean: Over seeds.
        seeds: How many.
        deviation: Standard deviation over them (n - 1); None of one.
        sampling: Standard error by the test sample; None where it is not known.
        rounding: Half a unit of the last digit that is printed; 0 where nothing was rounded.
        drawn: It in draws of subjects; None where they were not kept.
    """

    mean: float
    seeds: int
    deviation: float | None = None
    sampling: float | None = None
    rounding: float = 0.0
    drawn: Drawn | None = field(default=None, compare=False)

    @classmethod
    def of(cls, values: Sequence[float], intervals: Sequence[tuple[float, float] | None] = ()) -> "Estimate":
        """Return that of a figure of several seeds, one at least.

        Args:
            values: One for each seed.
            intervals: The 95 % interval by the test sample of each; None where one has none.
        """
        errors = [(high - low) / (2 * _NORMAL) for low, high in (each for each in intervals if each is not None)]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        known = len(errors) == len(values)
        return cls(statistics.fmean(values), len(values), deviation, statistics.fmean(errors) if known else None)

    @classmethod
    def printed(cls, value: float) -> "Estimate":
        """Return a printed figure, which is known but for its rounding."""
        return cls(value, _PRINTED_SEEDS, 0.0, 0.0, rounding_of(value))

    def times(self, factor: float) -> "Estimate":
        """Return a multiple of it."""
        deviation, sampling = (None if each is None else factor * each for each in (self.deviation, self.sampling))
        drawn = None if self.drawn is None else Drawn(self.drawn.images, factor * self.drawn.values)
        return Estimate(factor * self.mean, self.seeds, deviation, sampling, factor * self.rounding, drawn)

    @property
    def variance(self) -> float:
        """Square of the half width of its 95 % interval, but for rounding; what is not known counts nothing."""
        return self.by_seeds + (_NORMAL * (self.sampling or 0.0)) ** 2

    @property
    def by_seeds(self) -> float:
        """The part of its variance that other seeds would move; of one seed, it is not known and counts nothing."""
        return _by_seeds(self) ** 2 / self.seeds

    @property
    def half(self) -> float:
        """Half width of its 95 % interval."""
        return self.rounding + math.sqrt(self.variance)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, within [0, 1], where all figures of the study's tables lie."""
        return max(self.mean - self.half, 0.0), min(self.mean + self.half, 1.0)


def rounding_of(printed: float) -> float:
    """Return half a unit of the last digit of a printed figure: of two digits, or three where two would not do."""
    return 0.005 if math.isclose(100 * printed, round(100 * printed), abs_tol=1e-6) else 0.0005


def half_of_difference(first: Estimate, second: Estimate) -> float:
    """Return the half width of the 95 % interval of a difference.

    Roundings add up, chances by their squares. Where both are of the same images, what other subjects would move is
    taken of the difference, draw by draw; else the two are taken for independent.
    """
    apart = None if first.drawn is None or second.drawn is None else first.drawn.apart(second.drawn)
    variance = first.variance + second.variance
    if apart is not None:
        variance = first.by_seeds + second.by_seeds + (_NORMAL * apart) ** 2
    return first.rounding + second.rounding + math.sqrt(variance)


def tolerance(ours: Estimate, printed: float) -> float | None:
    """Return by how much ours may differ from a printed figure; None where it is not known.

    Args:
        ours: Of one seed or more.
        printed: The mean of the study's three seeds, as it was rounded.
    """
    if ours.deviation is None or ours.sampling is None:
        return None
    seeds = _by_seeds(ours) ** 2 * (1 / ours.seeds + 1 / _PRINTED_SEEDS)
    return rounding_of(printed) + math.sqrt(seeds + (_NORMAL * ours.sampling) ** 2)


def judge(ours: Estimate, printed: float, column: Iterable[float]) -> tuple[Verdict, str]:
    """Return whether ours agrees with a printed figure, and why it is not judged where it is not.

    Args:
        ours: Of one seed or more.
        printed: What the study printed of the same method.
        column: What it printed of all methods on that test set, and of chance.
    """
    allowed = tolerance(ours, printed)
    if allowed is None:
        why = "one seed does not tell its spread" if ours.deviation is None else "the result has no interval of it"
        return Verdict.NOT_JUDGED, why
    if abs(ours.mean - printed) > allowed:
        return Verdict.OUTSIDE, ""
    if all(abs(other - printed) <= allowed for other in column):
        return Verdict.NOT_JUDGED, "its tolerance holds all that was printed of this test set"
    return Verdict.WITHIN, ""


def _by_seeds(estimate: Estimate) -> float:
    """Return the spread over seeds times Student's quantile."""
    if not estimate.deviation:
        return 0.0
    return estimate.deviation * _STUDENT[min(estimate.seeds - 1, len(_STUDENT)) - 1]
