"""Models compared on the same images: how far apart they are, and whether other subjects could tell them the other way.

    p = 2 · min(#{d ≤ 0} + 1, #{d ≥ 0} + 1) / (R + 1)    over the differences d of R draws, the same draws for both

A draw takes subjects with replacement. Seeds of one contestant are averaged within every draw, so that the interval is
of the mean over seeds. All p of a metric, over all pairs and test sets, are corrected together by Holm. Models that
meet a test set in several sizes, or prepared in several ways, are compared by whole images alone: a pixel of one is
none of the other.

References:
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 16.
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np

from upd_harness.evaluation.contestants import Entry, names_of
from upd_harness.evaluation.digest import Floats
from upd_harness.evaluation.intervals import resampled
from upd_harness.evaluation.resampling import interval
from upd_harness.evaluation.stored import Kept, read_result
from upd_zoo.artefact.metrics import shown
from upd_zoo.artefact.records import RESULTS, Result
from upd_zoo.errors import NotFoundError, UsageError

COMPARED: Final = ("ap_image", "auroc", "ap_pixel", "dice", "aupro")
"""The metrics that draws of subjects have."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A contestant on a test set: the same method trained in the same way, by whatever seeds.

    Attributes:
        results: One for each seed.
        drawn: (R,) every metric in each draw, the mean over seeds.
    """

    results: tuple[Result, ...]
    drawn: Mapping[str, Floats]

    def value(self, metric: str) -> float | None:
        """Return the mean of a metric over seeds; None where one lacks it, or where it is not compared."""
        values = [getattr(result.metrics, metric) for result in self.results]
        return None if None in values or metric not in self.drawn else float(np.mean(values))


Field = dict[str, dict[str, Standing]]
"""Standings by test set and contestant."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one contestant is ahead of another on a test set.

    Attributes:
        value: Of the metric, first minus second.
        interval: 95 % of the draws.
        p: Two-sided.
        corrected: The same by Holm over all differences in this metric.
    """

    test_set: str
    metric: str
    first: str
    second: str
    value: float
    interval: tuple[float, float]
    p: float
    corrected: float = 1.0


def results_in(places: Iterable[Path]) -> dict[Path, Path]:
    """Return the results of evaluations in files and folders, whatever lies deep, each with the folder it lies in.

    Raises:
        NotFoundError: There is none in one of them.
    """
    found: dict[Path, Path] = {}
    for place in map(Path.resolve, places):
        paths = [place] if place.is_file() else sorted(place.rglob(f"{RESULTS}/*.json"))
        paths = [path for path in paths if "artefact" not in path.parts[len(place.parts) :]]
        if not paths:
            raise NotFoundError(f"there is no result in {place}", "the folder of an evaluation", "upd-zoo evaluate")
        found |= dict.fromkeys(paths, place.parents[1] if place.is_file() else place)
    return found


def field_of(found: Mapping[Path, Path], resamples: int) -> Field:
    """Return the standings of all results, by test set and contestant.

    Args:
        found: Every `results/<test set>.json`, and the folder that was named in which it lies.
        resamples: How many draws.

    Raises:
        UsageError: Two results are of the same model, or two of one test set of different images.
        NotFoundError: Nothing was kept beside a result.
        IntegrityError: A file is damaged.
    """
    measured = [read_result(path) for path in found]
    pixels = _compared(measured)
    entries = [Entry(result, *each) for (result, _), each in zip(measured, found.items(), strict=True)]
    grouped: dict[str, dict[str, list[tuple[Result, Kept]]]] = {}
    for name, (result, kept) in zip(names_of(entries), measured, strict=True):
        grouped.setdefault(result.test_set, {}).setdefault(name, []).append((result, kept))
    return {
        test_set: {name: _standing(seeds, resamples, pixels=pixels[test_set]) for name, seeds in rivals.items()}
        for test_set, rivals in grouped.items()
    }


def _compared(measured: Iterable[tuple[Result, Kept]]) -> dict[str, bool]:
    """Return whether pixels are compared, by test set.

    Raises:
        UsageError: Two results of a test set are of different images.
    """
    first: dict[str, tuple[Result, Kept]] = {}
    pixels: dict[str, bool] = {}
    for result, kept in measured:
        known, other = first.setdefault(result.test_set, (result, kept))
        if kept.subjects != other.subjects or not np.array_equal(kept.anomalous, other.anomalous):
            raise UsageError(
                f"results on {result.test_set} are of different images",
                "the same subjects, with the same truth",
                "evaluate all on stores of one data set",
            )
        pixels[result.test_set] = pixels.get(result.test_set, True) and result.store == known.store
    return pixels


def _standing(seeds: Sequence[tuple[Result, Kept]], resamples: int, *, pixels: bool) -> Standing:
    each = [
        resampled(kept.scores, kept.anomalous, kept.subjects, kept.pixels if pixels else None, resamples)
        for _, kept in seeds
    ]
    names = [name for name in COMPARED if all(name in drawn for drawn in each)]
    drawn = {name: np.mean([one[name] for one in each], axis=0) for name in names}
    return Standing(tuple(result for result, _ in seeds), drawn)


def differences(field: Field, metric: str) -> list[Difference]:
    """Return the differences of all pairs on all test sets in a metric that both have, corrected together."""
    found = []
    for test_set, standings in field.items():
        for first, second in combinations(standings, 2):
            one, other = standings[first], standings[second]
            values = one.value(metric), other.value(metric)
            if values[0] is None or values[1] is None or metric not in one.drawn or metric not in other.drawn:
                continue
            drawn = one.drawn[metric] - other.drawn[metric]
            if (bounds := interval(drawn)) is not None:
                found.append(Difference(test_set, metric, first, second, values[0] - values[1], bounds, _p(drawn)))
    corrected = holm([each.p for each in found])
    return [
        Difference(d.test_set, d.metric, d.first, d.second, d.value, d.interval, d.p, p)
        for d, p in zip(found, corrected, strict=True)
    ]


def _p(drawn: Floats) -> float:
    defined = drawn[~np.isnan(drawn)]
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum())) + 1
    return min(1.0, 2 * tail / (len(defined) + 1))


def holm(values: Sequence[float]) -> list[float]:
    """Return p corrected for their number by Holm: the family makes an error with no greater probability than each."""
    corrected, highest = [1.0] * len(values), 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = highest
    return corrected


def metrics_of(field: Field) -> tuple[str, ...]:
    """Return the metrics that draws have and any result defines, in the order of tables."""
    results = [result for rivals in field.values() for each in rivals.values() for result in each.results]
    order = [metric.id for metric in shown(result.metrics for result in results)]
    return tuple(
        name for name in order if name in COMPARED and any(getattr(row.metrics, name) is not None for row in results)
    )
