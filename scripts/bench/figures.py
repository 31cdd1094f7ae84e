"""A measured number, and how measuring is done: what the parts of `scripts/bench` share."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from upd_harness.speed import untrained
from upd_zoo.artefact.records import Config
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.runtime.model import Model, Predict
from upd_zoo.vocabulary import STUDY_SIDE

DOMAIN: Final = "phantom-t2"
BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        name: What was measured.
        value: The number, in `unit`.
        limit: What is promised; None where nothing is.
        better: Which direction is better, and so on which side of the limit the value has to be.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    better: Literal["higher", "lower"] = "higher"

    @property
    def passed(self) -> bool | None:
        """Whether the promise is kept; None where nothing is promised."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.better == "higher" else self.value <= self.limit


def say(text: str) -> None:
    """Say what is being measured."""
    sys.stderr.write(f"  {text}\n")


def seconds_of(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def shortest(repeats: int, *actions: Callable[[], object]) -> list[float]:
    """Return the shortest time of each action in seconds; they take turns, in an order that turns too."""
    times: list[list[float]] = [[] for _ in actions]
    for number in range(repeats):
        order = list(enumerate(actions))
        for place, action in order if number % 2 == 0 else reversed(order):
            times[place].append(seconds_of(action))
    return [min(found) for found in times]


def config_of(method: str, profile: str, domain: str = DOMAIN) -> Config:
    """Return the configuration of an untrained model, for T2-weighted phantoms if not for others."""
    model = ModelId(method, None, domain)
    return untrained.config_of(model, load_recipe(model, profile=profile))


def model_of(config: Config, predict: Predict) -> Model:
    """Return a model with a made-up calibration."""
    known = untrained.calibration_of(np.zeros((1, 1, STUDY_SIDE, STUDY_SIDE), np.float32))
    return Model(config, known, "0" * 64, "onnx", "cpu", "float32", predict)


def resident(field: str) -> int:
    """Return a size from the kernel's record of this process in bytes; 0 where the system keeps no such record."""
    status = Path("/proc/self/status")
    match = re.search(rf"^{field}:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.is_file() else None
    return 1024 * int(match[1]) if match else 0
