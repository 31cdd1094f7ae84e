"""What every engine does: one function of many items, each in a process of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from upd_zoo.errors import UpdZooError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

EXPECTED: Final = (UpdZooError, OSError, RuntimeError, MemoryError)
"""Errors that are what became of an item; any other is a fault of the program."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[Item, Answer]):
    """What became of an item.

    Attributes:
        item: Which.
        answer: What the function returned; None where it failed.
        error: Why it failed; None where it did not.
    """

    item: Item
    answer: Answer | None
    error: BaseException | None

    def result(self) -> Answer:
        """Return the answer.

        Raises:
            Exception: Why it failed.
        """
        if self.error is not None:
            raise self.error
        assert self.answer is not None  # noqa: S101 - for the types
        return self.answer


class Engine(Protocol):
    """Carries out a function of many items."""

    def each(self, work: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Ended[Item, Answer]]:
        """Yield what became of each item as it ends, in any order.

        A failure is an outcome like others, and stops nothing: even that of a process that the system has killed. A bug
        is none, and goes to the caller.

        Args:
            work: A function that another process can import, and whose answer is not None.
            items: What it is called with.
        """
        ...


def killed() -> UpdZooError:
    """Return the error of an item whose process has ended without an answer."""
    return UpdZooError("its process was killed, as the system does where memory runs out")
