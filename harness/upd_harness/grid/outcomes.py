"""The tasks of a grid carried out by an engine, the networks that they share first, and what became of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from filelock import Timeout

from upd_harness.engines.engine import Engine
from upd_harness.engines.local import apart
from upd_harness.grid.plan import Plan, Start, Task
from upd_harness.grid.work import FOR_EVER, make, pretrain_for, pretrainings_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: Which.
        what: What was done for it: `pretrain` or `make`.
        seconds: How long each of its stages took; nothing where it was finished before, or failed.
        error: Why it failed; empty where it did not.
        done: How many tasks are behind it and itself.
        total: How many there are.
    """

    task: Task
    what: str
    seconds: dict[str, float]
    error: str
    done: int
    total: int


def _ignored(tasks: Sequence[Task]) -> None:
    """Do nothing."""


def carry_out(
    tasks: Sequence[Task], plan: Plan, engine: Engine, on_wait: Callable[[Sequence[Task]], None] = _ignored
) -> Iterator[Outcome]:
    """Carry out tasks, the networks that they share first, and yield what became of each as it ends.

    Args:
        tasks: Which.
        plan: Of the grid.
        engine: What carries them out.
        on_wait: Told of tasks that only remain to be waited for, since other processes carry them out.
    """
    networks, failed = networks_of(tasks, plan), {}
    first = {network: task for task, network in reversed(networks.items())}
    for outcome in _each("pretrain", pretrain_for, [*first.values()], plan, engine, on_wait):
        if outcome.error:
            failed[networks[outcome.task]] = f"its pre-training failed. {outcome.error}"
        yield outcome
    lost = [task for task in tasks if networks.get(task) in failed]
    for done, task in enumerate(lost, start=1):
        yield Outcome(task, "make", {}, failed[networks[task]], done, len(tasks))
    yield from _each("make", make, [task for task in tasks if task not in lost], plan, engine, on_wait)


def networks_of(tasks: Sequence[Task], plan: Plan) -> dict[Task, str]:
    """Return the folder of the pre-training that a task starts from, of those that start from one; some share it."""
    ccd = [task for task in tasks if task.start is Start.CCD]
    return dict(zip(ccd, apart(pretrainings_of, ccd, plan) if ccd else [], strict=True))


def _each(
    what: str,
    work: Callable[[Task, Plan, float], dict[str, float]],
    tasks: Sequence[Task],
    plan: Plan,
    engine: Engine,
    on_wait: Callable[[Sequence[Task]], None],
) -> Iterator[Outcome]:
    """Yield the outcomes of tasks; those that another process carries out come last, and are waited for."""
    left, done = list(tasks), 0
    for patience in (0.0, FOR_EVER):
        busy: list[Task] = []
        for ended in engine.each(partial(_work, work, plan, patience), left):
            if isinstance(ended.error, Timeout):
                busy.append(ended.item)
                continue
            done += 1
            error = ended.error
            yield Outcome(ended.item, what, ended.answer or {}, _text(error), done, len(tasks))
        left = busy
        if not left:
            return
        on_wait(left)


def _work(
    work: Callable[[Task, Plan, float], dict[str, float]], plan: Plan, patience: float, task: Task
) -> dict[str, float]:
    return work(task, plan, patience)


def _text(error: BaseException | None) -> str:
    return "" if error is None else str(error) or type(error).__name__
