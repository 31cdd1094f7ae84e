"""How far a piece of work is: one record for everything that takes long, and a listener that ignores it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is.

    Attributes:
        what: The part that is at work, such as a phase, a store, a file or a stage; empty where there is but one.
        done: How much of it is done: steps, images, inputs or bytes.
        total: How much there is of it.
        note: What it came to just now, for people: the losses of a step, the input that is done.
    """

    what: str
    done: int
    total: int
    note: str = ""


Report: TypeAlias = Callable[[Progress], None]
"""Told, again and again, how far work is."""


def silent(progress: Progress) -> None:
    """Stand in for a caller that does not ask for progress."""
