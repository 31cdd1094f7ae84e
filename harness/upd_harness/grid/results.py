"""What the tasks of a grid came to: the results that are there, and their mean and spread over seeds."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from upd_harness.evaluation.stored import SUFFIX, read_kept
from upd_harness.grid.plan import EVALUATION, Plan, Task
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import RESULTS, Metrics, Result
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.stores.places import store_path
from upd_zoo.vocabulary import Side, TestSet

Found: TypeAlias = dict[str, dict[str, list[Result]]]
"""Results by test set and by row of the table, one per seed."""


def results_of(tasks: Iterable[Task], out: Path) -> Found:
    """Return the results of tasks that lie in the folder of a grid.

    Raises:
        IntegrityError: A file is no result.
    """
    found: Found = {}
    for task in tasks:
        for test_set in task.tests():
            path = result_path(task, out, test_set.id)
            if path.is_file():
                found.setdefault(test_set.id, {}).setdefault(task.row, []).append(read_record(path, Result))
    return found


def result_path(task: Task, out: Path, test_set: str) -> Path:
    """Return where the result of a task on a test set is, once it is there."""
    return out / task.name / EVALUATION / test_set / RESULTS / f"{test_set}.json"


def lacking(task: Task, plan: Plan, side: Side) -> list[TestSet]:
    """Return the test sets whose images stand and of which a task has no result, or a damaged one.

    Args:
        task: A finished one.
        plan: Of the grid.
        side: Of the images of its model in pixels.
    """
    return [
        test_set
        for test_set in task.tests()
        if store_path(plan.data, test_set.id, "test", plan.protocol, side).is_dir()
        and not _stands(result_path(task, plan.out, test_set.id))
    ]


def _stands(path: Path) -> bool:
    """Return whether a result can be read, and what it says that it keeps beside it; older versions kept nothing."""
    try:
        result = read_record(path, Result)
        if result.tallies is not None:
            read_kept(path.with_suffix(SUFFIX), result.tallies)
    except (NotFoundError, IntegrityError):
        return False
    return True


def spread(metrics: Sequence[Metrics], metric: str) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (n - 1) of a metric over seeds; None where it is not defined."""
    values = [value for value in (getattr(row, metric) for row in metrics) if value is not None]
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
