"""Progress over several stores that are read one after the other."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

from upd_zoo.progress import Progress, Report
from upd_zoo.stores.store import Store


def in_turn(stores: Sequence[Store], report: Report) -> Iterator[tuple[Store, Callable[[int], None]]]:
    """Yield each store with what tells how many of its images were read.

    Args:
        stores: What is read, in order.
        report: Told how many images were read of all stores.
    """
    ends = [0, *accumulate(map(len, stores))]
    for store, begin in zip(stores, ends, strict=False):
        yield store, partial(_from, report, store.facts.name, begin, ends[-1])


def _from(report: Report, name: str, begin: int, total: int, read: int) -> None:
    report(Progress(name, begin + read, total))
