"""A measured number, and how measuring is done: what the parts of `scripts/bench` share."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from upd_zoo.artefact.appearance import coarse, figures_of
from upd_zoo.artefact.calibration import Calibration, Quantiles, appearance_of
from upd_zoo.artefact.records import Config, PixelConvention, Training
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.runtime.model import Model, Predict
from upd_zoo.vocabulary import SCALES, STUDY_SIDE, Pretrain

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


def config_of(method: str, profile: str) -> Config:
    """Return the configuration of an untrained model for T2-weighted phantoms."""
    recipe = load_recipe(ModelId(method, None, DOMAIN), profile=profile)
    modality = recipe.domain.modality
    training = Training(
        profile=profile, seed=0, phases={}, batch_size=BATCH, images=0, subjects=0, store="0" * 64, device="cpu",
    )  # fmt: skip
    return Config(
        id=f"{method}-{DOMAIN}", method=method, title=method, domain=DOMAIN, pretrain=Pretrain.NONE,
        protocol=recipe.protocol, settings=recipe.settings, input=PixelConvention(channels=modality.channels),
        framing=modality.framing, centred=recipe.centred, foreground=modality.foreground,
        score_rule=modality.score_rule, weights_origin=None, scale=SCALES[recipe.protocol], training=training,
        labels=["random weights"],
    )  # fmt: skip


def model_of(config: Config, predict: Predict) -> Model:
    """Return a model with a made-up calibration."""
    spread = Quantiles(count=3, levels=[0.0, 0.5, 0.999, 1.0], values=[0.0, 1.0, 5.0, 6.0])
    images = np.zeros((1, 1, STUDY_SIDE, STUDY_SIDE), np.float32)
    calibration = Calibration(
        dataset="none", image_scores=spread, subject_scores=spread, map_values=spread, false_positive_rate=0.05,
        appearance=appearance_of(figures_of(images), coarse(images), ["none"]),
        image_threshold=5.0, subject_threshold=5.0, map_threshold=5.0,
    )  # fmt: skip
    return Model(config, calibration, "0" * 64, "onnx", "cpu", "float32", predict)


def resident(field: str) -> int:
    """Return a size from the kernel's record of this process in bytes; 0 where the system keeps no such record."""
    status = Path("/proc/self/status")
    match = re.search(rf"^{field}:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.is_file() else None
    return 1024 * int(match[1]) if match else 0
