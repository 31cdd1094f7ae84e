"""The engine of this machine: several processes at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import ParamSpec

from upd_harness.engines.engine import EXPECTED, Answer, Ended, Item, killed

Arguments = ParamSpec("Arguments")


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Carries out work in new processes of this machine.

    Attributes:
        jobs: How many at a time.
    """

    jobs: int = 1

    def each(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Ended[Item, Answer]]:
        """Yield what became of each item as it ends; see `Engine`."""
        with ThreadPoolExecutor(self.jobs) as threads:
            ends = {threads.submit(partial(apart, work, item)): item for item in items}
            try:
                for end in as_completed(ends):
                    yield _ended(ends[end], end)
            finally:  # whoever stops early, as an interrupt does, does not wait for what has not begun
                threads.shutdown(wait=False, cancel_futures=True)


def _ended(item: Item, end: "Future[Answer]") -> Ended[Item, Answer]:
    error = end.exception()
    if error is None:
        return Ended(item, end.result(), None)
    if not isinstance(error, EXPECTED):
        raise error
    return Ended(item, None, killed() if isinstance(error, BrokenProcessPool) else error)


def apart(function: Callable[Arguments, Answer], /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
    """Return what a function returns in a new process, so that nothing that it imports or holds stays here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        return pool.submit(function, *arguments, **named).result()


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed: else it would go on, and write, unseen."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.join,), daemon=True).start()


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)
