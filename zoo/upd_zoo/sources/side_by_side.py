"""Work on many inputs at the same time, in processes of their own, in order and without waiting with all results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, TypeVar

Input = TypeVar("Input")
Answer = TypeVar("Answer")

_AHEAD: Final = 2
"""Inputs per process that may be done before their turn; their answers wait in memory."""


def side_by_side(work: Callable[[Input], Answer], inputs: Iterable[Input], jobs: int) -> Iterator[Answer]:
    """Yield what `work` makes of each input, in their order.

    Args:
        work: Of a module's top level, so that other processes find it.
        inputs: Each can be pickled.
        jobs: Processes.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Answer]] = deque()
        try:
            for each in inputs:
                waiting.append(pool.submit(work, each))
                if len(waiting) >= _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
