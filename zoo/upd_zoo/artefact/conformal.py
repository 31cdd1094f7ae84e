"""Thresholds that keep a promise: how many healthy cases will lie above, from how few were looked at.

Let n healthy scores and that of a new healthy case be exchangeable, and the threshold be the k-th smallest of the n,
k = ⌈(n + 1)(1 − r)⌉. Then the new one lies above with a probability of at most (n + 1 − k) / (n + 1) ≤ r, over draws of
all n + 1. Given the n that were drawn, the share of new cases above is at most Beta-distributed with n + 1 − k and k,
whose 95 % quantile bounds it.

References: Vovk, Gammerman & Shafer 2005, section 2.2 (the promise); Vovk 2012, proposition 2a (given those drawn);
Smirnov 1948 (two distributions compared).
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.calibration import Quantiles
from upd_zoo.errors import UsageError

Numbers = npt.NDArray[np.floating]

CONFIDENCE: Final = 0.95
_SMIRNOV: Final = 1.63
"""Factor of the distance between two distributions that equal ones exceed in 1 of 100 draws."""


class Promise(NamedTuple):
    """A threshold, and what it promises of healthy cases like those that it was set with.

    Attributes:
        threshold: A case is anomalous above it.
        cases: Those that it was set with.
        expected: Largest share of new healthy cases that is expected above it.
        at_most: Largest share above it, with a confidence of 95 %.
    """

    threshold: float
    cases: int
    expected: float
    at_most: float


def least_count(rate: float) -> int:
    """Return how many healthy cases it takes to promise a false-positive rate."""
    return math.ceil(1 / rate - 1e-9) - 1


def promise(scores: Numbers, rate: float) -> Promise:
    """Return the threshold that a share `rate` of healthy cases exceeds at most.

    Args:
        scores: (n,) of healthy cases, one for each subject.
        rate: In (0, 1).

    Raises:
        UsageError: `rate` is no such share, or so few cases cannot promise it.
    """
    if not 0 < rate < 1:
        raise UsageError(f"a false-positive rate of {rate:g} is none", "a share above 0 and below 1, such as 0.05")
    count = scores.size
    rank = math.ceil((count + 1) * (1 - rate) - 1e-9)
    if rank > count:
        raise UsageError(
            f"{count} healthy subjects cannot bound the share of false positives by {rate:g}",
            f"at least {least_count(rate)} subjects",
            f"give more healthy images, or allow more false positives with --false-positive-rate {_allowed(count)}",
        )
    above = count + 1 - rank
    threshold = float(np.sort(scores)[rank - 1])
    return Promise(threshold, count, above / (count + 1), _beta_quantile(above, rank, CONFIDENCE))


def _allowed(count: int) -> str:
    """Return the smallest rate that so many cases can promise, rounded up to two digits."""
    return f"{math.ceil(100 / (count + 1)) / 100:g}"


def _beta_quantile(above: int, rank: int, level: float) -> float:
    """Return where the distribution function of Beta(above, rank), of whole numbers, reaches `level`.

    At x it is the chance that of above + rank − 1 draws, each a hit with chance x, at least `above` are hits.
    """
    draws = above + rank - 1
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        fewer = sum(math.comb(draws, hits) * middle**hits * (1 - middle) ** (draws - hits) for hits in range(above))
        low, high = (middle, high) if 1 - fewer < level else (low, middle)
    return high


def drift(scores: Numbers, known: Quantiles) -> float | None:
    """Return where, from 0 to 100 among healthy scores that a model knows, the median of other healthy ones lies.

    Args:
        scores: (n,) of healthy cases.
        known: Healthy scores that the model was calibrated with.

    Returns:
        None where the two distributions differ no more than equal ones do in 99 of 100 draws.
    """
    places = np.sort([known.percentile(float(score)) for score in scores]) / 100
    steps = np.arange(scores.size + 1) / scores.size
    distance = max((steps[1:] - places).max(), (places - steps[:-1]).max())
    limit = _SMIRNOV * math.sqrt(1 / scores.size + 1 / known.count)
    return float(100 * np.median(places)) if distance > limit else None
