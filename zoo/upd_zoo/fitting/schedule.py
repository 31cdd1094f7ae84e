"""How the learning rate moves: a function of the step alone, so that a resumed run needs no state of it."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from upd_zoo.errors import UsageError, closest


def rate_factor(schedule: Mapping[str, Any], step: int) -> float:
    """Return what part of the full learning rate a step has, in [0, 1].

    Args:
        schedule: Its `name` in `SCHEDULES`, and its arguments; the rate is constant where it is empty.
        step: From 0.

    Raises:
        UsageError: No schedule has this name.
    """
    if not schedule:
        return 1.0
    arguments = dict(schedule)
    name = str(arguments.pop("name"))
    if name not in SCHEDULES:
        raise UsageError(f"no schedule is called '{name}'", closest(name, SCHEDULES))
    return SCHEDULES[name](step, **arguments)


def cosine(step: int, *, period: int, every: int = 1, floor: float = 0.0) -> float:
    """Fall to `floor` and rise again in half waves of `period` updates, one every `every` steps.

    This is torch's CosineAnnealingLR. Source: cards/study.md, sections 3.12 and 4.3: DAE's rate is
    back at its start after two half waves, that of CCD falls to a thousandth.
    """
    return floor + (1 - floor) * (1 + math.cos(math.pi * (step // every) / period)) / 2


SCHEDULES: Final[Mapping[str, Callable[..., float]]] = {"cosine": cosine}
