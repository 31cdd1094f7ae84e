"""Images per second of a model on this machine: of its bare network, and of the model as it is loaded.

Other work on the machine only ever adds time, so each is run several times, in turns, and the shortest time counts. The
images are noise: how long a network takes does not depend on what it sees.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from upd_harness.report.run_record import versions
from upd_harness.speed.hardware import hardware
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.model import Array, Model, Watched

SCHEMA: Final = "upd-zoo/speed/1"
_WARM: Final = 2
"""Calls before the clock runs: TorchScript compiles itself in its first ones."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model is.

    Attributes:
        batch_size: Images per call.
        repeats: How often each was timed.
        network: Images per second of the bare network, the fastest time.
        model: Images per second of the loaded model, which checks its images and watches its network.
    """

    batch_size: int
    repeats: int
    network: float
    model: float

    @property
    def ratio(self) -> float:
        """What is left of the speed of the bare network in the loaded model."""
        return self.model / self.network


def measure(model: Model, batch_size: int = 16, repeats: int = 5, on_progress: Report = silent) -> Speed:
    """Measure a model.

    Args:
        model: Loaded on the device that is meant.
        batch_size: Images per call.
        repeats: How often the network and the model are each timed.
        on_progress: Told how many times were taken.
    """
    convention = model.config.input
    shape = (batch_size, convention.channels, convention.height, convention.width)
    images = np.random.default_rng(0).random(shape, np.float32)
    network = model.network.bare if isinstance(model.network, Watched) else model.network
    for _ in range(_WARM):
        model(images)
    turns: list[tuple[str, Callable[[Array], object]]] = [("network", network), ("model", model)]
    times: dict[str, list[float]] = {name: [] for name, _ in turns}
    for number in range(repeats):
        for name, call in turns if number % 2 == 0 else reversed(turns):
            times[name].append(_seconds(call, images))
        on_progress(Progress("", number + 1, repeats))
    return Speed(batch_size, repeats, batch_size / min(times["network"]), batch_size / min(times["model"]))


def as_document(model: Model, speed: Speed, threads: int | None) -> dict[str, Any]:
    """Return a measurement with everything that it depends on."""
    return {
        "schema": SCHEMA,
        "model": {"id": model.config.id, "sha256": model.manifest_sha256, "labels": model.config.labels},
        "backend": model.backend,
        "device": model.device,
        "precision": model.precision,
        "threads": threads,
        "batch_size": speed.batch_size,
        "repeats": speed.repeats,
        "images_per_second": {"network": speed.network, "model": speed.model},
        "ratio": speed.ratio,
        "machine": hardware(),
        "versions": versions(),
    }


def _seconds(call: Callable[[Array], object], images: Array) -> float:
    began = time.perf_counter()
    call(images)
    return time.perf_counter() - began
