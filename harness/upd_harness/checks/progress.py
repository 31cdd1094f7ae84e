"""Progress over several stores that are read one after the other."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate

from upd_zoo.stores.store import Store


def in_turn(
    stores: Sequence[Store], report: Callable[[int, int], None]
) -> Iterator[tuple[Store, Callable[[int], None]]]:
    """Yield each store with what tells how many of its images were read.

    Args:
        stores: What is read, in order.
        report: Called with the images that were read of all stores, and their number.
    """
    ends = [0, *accumulate(map(len, stores))]
    for store, begin in zip(stores, ends, strict=False):
        yield store, partial(_from, report, begin, ends[-1])


def _from(report: Callable[[int, int], None], begin: int, total: int, read: int) -> None:
    report(begin + read, total)
