"""How much memory Python takes for something."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Peak:
    """The most bytes that Python held at once within a block, known when it has ended."""

    bytes: int = 0


@contextmanager
def traced() -> Iterator[Peak]:
    """Measure the block."""
    peak = Peak()
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
