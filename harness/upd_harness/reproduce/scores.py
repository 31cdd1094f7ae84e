"""The results that tables and claims are made of: of every method, with and without CCD, on every test set."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from upd_harness.evaluation.contenders import RANDOM
from upd_harness.evaluation.digest import Floats
from upd_harness.evaluation.intervals import resampled
from upd_harness.evaluation.published import TABLES, published
from upd_harness.evaluation.stored import SUFFIX, read_kept
from upd_harness.grid.plan import Task
from upd_harness.reproduce.estimate import Drawn, Estimate
from upd_harness.reproduce.models import Found, find, make_missing, result_in, result_of
from upd_harness.reproduce.order import Order
from upd_zoo.artefact.metrics import METRICS
from upd_zoo.artefact.records import Metrics, Result
from upd_zoo.errors import NotFoundError, UpdZooError
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.stores.places import store_path
from upd_zoo.vocabulary import Protocol as Rules
from upd_zoo.vocabulary import TestSet

_LENDS: Final = {"study_dice": "dice"}
"""What lends its interval to a metric that has none: both are of the same maps and lesions."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the models of one method came to on one test set.

    Attributes:
        results: Of each seed that is there.
        found: The models they are of.
        reasons: Why others are not there.
    """

    results: list[Result] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def estimate(self, metric: str) -> Estimate | None:
        """Return a metric over the seeds; None where none has it."""
        return _estimate([each.metrics for each in self.results], metric, [each.intervals for each in self.results])

    def drawn(self, metric: str, test_set: str) -> Drawn | None:
        """Return a metric in draws of subjects, the mean over seeds; None where the evaluations did not keep it."""
        files = [result_in(each.evaluation, test_set) for each in self.found]
        draws = [_drawn(path, result.tallies) for path, result in zip(files, self.results, strict=True)]
        values = [each.get(metric, each.get(_LENDS.get(metric, ""))) for each in draws]
        known = [each for each in values if each is not None]
        if not known or len(known) != len(values) or len({result.store for result in self.results}) > 1:
            return None
        return Drawn(self.results[0].store, np.mean(known, axis=0))

    def chance(self, metric: str) -> Estimate | None:
        """Return what a random classifier comes to; None where no result says it."""
        found = _estimate([each.baselines[RANDOM] for each in self.results if RANDOM in each.baselines], metric)
        return None if found is None else Estimate(found.mean, found.seeds, 0.0, 0.0)

    def trivial(self, metric: str) -> float | None:
        """Return the highest value that a trivial baseline has; None where no result says it."""
        return max((value for each in self.results if (value := each.rival(metric)) is not None), default=None)


def _estimate(
    metrics: Iterable[Metrics], metric: str, intervals: Sequence[dict[str, tuple[float, float]]] = ()
) -> Estimate | None:
    values = [getattr(each, metric) for each in metrics]
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Estimate.of(known, [each.get(metric, each.get(_LENDS.get(metric, ""))) for each in intervals])


@cache
def _drawn(result: Path, tallies: str | None) -> Mapping[str, Floats]:
    """Return every metric in draws of subjects, from what an evaluation kept; nothing where it kept nothing."""
    if tallies is None:
        return {}
    try:
        kept = read_kept(result.with_suffix(SUFFIX), tallies)
    except NotFoundError:  # a result that came with its artefact alone
        return {}
    return resampled(kept.scores, kept.anomalous, kept.subjects, kept.pixels)


class Figures(Protocol):
    """Figures of methods by test set of the study: ours, or those that it printed."""

    def of(self, method: str, column: str, metric: str, *, ccd: bool) -> Estimate | None:
        """Return a figure; None where there is none."""

    def chance(self, column: str, metric: str) -> Estimate | None:
        """Return that of a random classifier; None where there is none."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What was measured here.

    Attributes:
        order: Of which models and images.
        scores: By method, whether it starts from CCD, and test set.
    """

    order: Order
    scores: dict[tuple[str, bool, str], Score]

    def score(self, method: str, test_set: TestSet, *, ccd: bool) -> Score:
        """Return what a method came to on a test set."""
        return self.scores.get((method, ccd, test_set.id), Score())

    def of(self, method: str, column: str, metric: str, *, ccd: bool) -> Estimate | None:
        """Return a figure on the first of the test sets that stand for one of the study and have it."""
        kept = measured_as(metric, self.order.protocol)
        for test_set in self.order.tests(column):
            score = self.score(method, test_set, ccd=ccd)
            if (found := score.estimate(kept)) is not None:
                return replace(found, drawn=score.drawn(kept, test_set.id))
        return None

    def chance(self, column: str, metric: str) -> Estimate | None:
        """Return that of a random classifier."""
        tests = (each.id for each in self.order.tests(column))
        found = (score.chance(metric) for test in tests for key, score in self.scores.items() if key[2] == test)
        return next((each for each in found if each is not None), None)


class Printed:
    """What the study printed."""

    def of(self, method: str, column: str, metric: str, *, ccd: bool) -> Estimate | None:
        """Return a printed figure."""
        for item, starts_from_ccd in TABLES.items():
            cells = published(item)["printed"].get(method, {}).get(column)
            if cells is not None and starts_from_ccd is ccd:
                values = dict(zip((each.id for each in METRICS), cells, strict=False))
                return Estimate.printed(values[metric]) if metric in values else None
        return None

    def chance(self, column: str, metric: str) -> Estimate | None:
        """Return that of the random classifier."""
        return self.of(RANDOM, column, metric, ccd=False)


def measured_as(metric: str, protocol: Rules) -> str:
    """Return the field of a result that stands beside a printed metric: the study's own Dice takes 100 thresholds."""
    return "study_dice" if metric == "dice" and protocol is Rules.STUDY else metric


def methods_of(item: str, order: Order) -> list[str]:
    """Return the methods of a table, those that were asked for first and alone where any were."""
    printed = [method for method in published(item)["printed"] if method != RANDOM]
    return [*order.methods] if order.methods else printed


def gather(items: Sequence[str], order: Order, made: Sequence[str], on_progress: Report = silent) -> Ours:
    """Return what the models of tables came to, of those that are there.

    Args:
        items: Tables whose models are looked for.
        order: What they are made of.
        made: Those of the tables whose missing models are made, if the order asks for that.
        on_progress: Told how much is done.
    """
    wanted = {item: list(_wanted(item, order)) for item in items}
    tasks = [each.task for item in made for each in wanted[item] if _can_train(each.test_set, order)]
    failed = make_missing(tasks, order, on_progress)
    cells = list(dict.fromkeys(cell for each in wanted.values() for cell in each))
    scores: dict[tuple[str, bool, str], Score] = {}
    for done, cell in enumerate(cells, start=1):
        score = scores.setdefault((cell.method, cell.ccd, cell.test_set.id), Score())
        _add(score, cell, order, failed)
        on_progress(Progress("reading", done, len(cells), cell.task.name))
    return Ours(order, scores)


@dataclass(frozen=True, slots=True)
class _Cell:
    method: str
    ccd: bool
    test_set: TestSet
    task: Task


def _wanted(item: str, order: Order) -> Iterator[_Cell]:
    """Yield the models of a table and what they are scored on, those of one domain after each other."""
    ccd = TABLES[item]
    printed = published(item)
    tests = dict.fromkeys(each for column in printed["bold"] for each in order.tests(column))
    for test_set in tests:
        for method in methods_of(item, order):
            for seed in order.seeds if _can_start(method, ccd) else ():
                yield _Cell(method, ccd, test_set, order.task(method, test_set.domain, seed, ccd=ccd))


def _can_start(method: str, ccd: bool) -> bool:
    """Return whether a method has a network that CCD pre-trains: all but one of the study's have."""
    return not ccd or method in published("table-iv")["printed"]


def _can_train(test_set: TestSet, order: Order) -> bool:
    path = store_path(order.data, test_set.domain, "train", order.protocol)
    return order.has_store(test_set) and any(path.parent.glob(f"{path.name}*/"))


def _add(score: Score, cell: _Cell, order: Order, failed: dict[str, str]) -> None:
    """Add the result of one model to a score, or why there is none."""
    if cell.task.name in failed:
        score.reasons.append(failed[cell.task.name])
        return
    try:
        found = find(cell.task, order)
        result = result_of(found, cell.test_set, order, silent)
    except UpdZooError as error:
        score.reasons.append(str(error))
        return
    score.found.append(found)
    score.results.append(result)
