"""Tasks carried out on this machine, each in a process of its own, several at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from upd_harness.grid.plan import Plan, Start, Task
from upd_harness.grid.work import make, pretrain_for, pretrainings_of
from upd_zoo.errors import UpdZooError

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


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


def carry_out(tasks: Sequence[Task], plan: Plan, jobs: int) -> Iterator[Outcome]:
    """Carry out tasks, the networks that they share first, and yield what became of each as it ends.

    A failure is an outcome like others, and stops nothing: even that of a process that the system has killed. A bug is
    none, and goes to the caller.
    """
    pretraining = sharing(tasks, plan)
    yield from _each("pretrain", pretrain_for, list(pretraining.values()), plan, jobs)
    yield from _each("make", make, tasks, plan, jobs)


def sharing(tasks: Sequence[Task], plan: Plan) -> dict[str, Task]:
    """Return the folders of the pre-trainings that tasks start from, each with the first task that does."""
    ccd = [task for task in tasks if task.start is Start.CCD]
    names = apart(pretrainings_of, ccd, plan) if ccd else []
    return dict(reversed(list(zip(names, ccd, strict=True))))


def _each(
    what: str, work: Callable[[Task, Plan], dict[str, float]], tasks: Sequence[Task], plan: Plan, jobs: int
) -> Iterator[Outcome]:
    with ThreadPoolExecutor(jobs) as threads:
        ends = {threads.submit(partial(apart, work, task, plan)): task for task in tasks}
        try:
            for done, end in enumerate(as_completed(ends), start=1):
                error = end.exception()
                if error is not None and not isinstance(error, (UpdZooError, OSError, RuntimeError, MemoryError)):
                    raise error
                seconds = {} if error is not None else end.result()
                yield Outcome(ends[end], what, seconds, _text(error), done, len(tasks))
        finally:  # whoever stops early, as an interrupt does, does not wait for what has not begun
            threads.shutdown(wait=False, cancel_futures=True)


def _text(error: BaseException | None) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its process was killed, as the system does where memory runs out"
    return "" if error is None else str(error) or type(error).__name__


def apart(function: Callable[Arguments, Answer], /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
    """Return what a function returns in a new process, so that nothing that it imports or holds stays here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **named).result()
