"""Images per second of a model at one image and at many, of its network and from file to score, each timed in turns.

The network draws the map and its score, with all that happens to a map inside its graph. From file to score comes on
top: opening and checking the file, framing it, judging what it shows, and the map in the file's own shape.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upd_harness.scoring.table import score
from upd_zoo.runtime.model import Array, Model, Watched

NETWORK, WHOLE = "network", "file to score"
PATIENCE: Final = 120.0
"""Seconds beyond which a call with many images is not tried, by how long one image took."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast something ran.

    Attributes:
        batch_size: Images per call.
        per_second: Images per second, of the shortest call; None where it was not tried.
        calls: How often it was called.
    """

    batch_size: int
    per_second: float | None
    calls: int


def rates_of(model: Model, images: Array, folder: Path, rounds: int, seconds: float) -> Mapping[str, tuple[Rate, Rate]]:
    """Return the rates of a model at one image and at all of some, by what was timed.

    Args:
        model: What runs.
        images: (N, C, H, W) that the network is given.
        folder: Holds N files, which are read and scored.
        rounds: How often each is timed, in turns; other work on the machine only ever adds time, so the shortest
            counts.
        seconds: After which no further round begins.
    """
    network = model.network.bare if isinstance(model.network, Watched) else model.network
    first = min(each for each in folder.iterdir())
    single: dict[str, Callable[[], object]] = {
        NETWORK: lambda: network(images[:1]),
        WHOLE: lambda: model.predict(first),
    }
    many: dict[str, Callable[[], object]] = {
        NETWORK: lambda: network(images),
        WHOLE: lambda: score(folder, model, prepare=False, batch_size=len(images)),
    }
    times = shortest(single, rounds, seconds)
    longest = len(images) * times[NETWORK][0]
    more = shortest(many, rounds, seconds) if longest <= PATIENCE else {}
    return {name: (_rate(1, times.get(name)), _rate(len(images), more.get(name))) for name in single}


def _rate(batch_size: int, timed: tuple[float, int] | None) -> Rate:
    return Rate(batch_size, None, 0) if timed is None else Rate(batch_size, batch_size / timed[0], timed[1])


def shortest(actions: Mapping[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, tuple[float, int]]:
    """Return the shortest time of each action in seconds, and how often it was timed; once at least.

    Args:
        actions: Timed one after the other, in each round the other way round.
        rounds: After one that is not timed, in which memory is taken and files are found.
        seconds: After which no further round begins.
    """
    began, times = time.perf_counter(), {name: list[float]() for name in actions}
    for action in actions.values():
        action()
    for number in range(rounds):
        for name in actions if number % 2 == 0 else reversed(list(actions)):
            times[name].append(_seconds(actions[name]))
        if time.perf_counter() - began > seconds:
            break
    return {name: (min(found), len(found)) for name, found in times.items()}


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
