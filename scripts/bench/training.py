"""How long training waits for images: the group `training` of `scripts/bench`."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final
from unittest import mock

import torch

from figures import DOMAIN, Figure, shortest
from upd_zoo.fitting import levels
from upd_zoo.fitting.run import LOG, RunSettings
from upd_zoo.names import ModelId
from upd_zoo.pretrain.ccd import CCD
from upd_zoo.pretrain.run import encoder_of, pretrain
from upd_zoo.recipe import load_recipe
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import Store
from upd_zoo.training import train
from upd_zoo.vocabulary import get_domain

_MOST_WAITING: Final = 0.1
_PRETRAINED: Final = ("fae", "vae")
_WIDE: Final = "vae"
_REPEATS: Final = 5
_STEPS: Final = 60
_QUICKENED: Final = {"cflow-ad": 3.0, "rd": 1.5, "fae": 1.1}
_EVERYWHERE: Final = {"cflow-ad": {"share": 1.0}}
"""What makes the step of a recipe look at all positions, as the original loop did."""


def training(steps: int) -> list[Figure]:
    """Measure which part of training's time images are waited for, and which part of CCD's goes into its views.

    Images are phantoms; networks, batches and rates are the study's.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(get_domain(DOMAIN), folder, Request(subjects=2))
        store = Store(store_path(folder, DOMAIN, Part.TRAIN))
        model = ModelId(_WIDE, None, DOMAIN)
        train(model, load_recipe(model, steps=steps), store, folder / "plain")
        figures = [_waiting(f"training of {_WIDE}", folder / "plain")]
        for method in _PRETRAINED:
            figures += _pretraining(method, store, folder / method, steps)
        figures += [
            _quickened(method, least, store, folder / f"{method}-quick") for method, least in _QUICKENED.items()
        ]
    return figures


def _quickened(method: str, least: float, store: Store, folder: Path) -> Figure:
    """Measure how many more images a second a quick recipe learns from than float32, every position, nothing kept."""
    model = ModelId(method, "mobilenetv2_100", DOMAIN)
    recipe = load_recipe(model, profile="quick", steps=_STEPS)
    plain = replace(recipe, precision="float32", settings={**recipe.settings, **_EVERYWHERE.get(method, {})})
    rates = []
    for name, each, most in (("quick", recipe, levels.MOST), ("plain", plain, 0)):
        with mock.patch.object(levels, "MOST", most):
            train(model, each, store, folder / name, RunSettings(weights="random", device="cpu"))
        rates.append(_STEPS / _last_line(folder / name)["seconds"])
    return Figure(f"quick {method}: steps a second / those of the plain loop", rates[0] / rates[1], "x", least)


def _pretraining(method: str, store: Store, run: Path, steps: int) -> list[Figure]:
    base = load_recipe(ModelId(method, None, DOMAIN))
    backbone = pretrain(base, store, run, RunSettings(weights="random"), steps=steps)
    encoder = encoder_of(base)
    assert encoder.describe is not None  # noqa: S101 - for the types
    learner = CCD(list(encoder.parts.values()), encoder.describe, store.facts.channels, store.images.shape[-1])
    images = torch.from_numpy(store.images[: backbone.training.batch_size].copy())
    (by_views,) = shortest(_REPEATS, lambda: (learner.view(images), learner.view(images)))
    step = _last_line(run)["seconds"] / steps
    return [
        _waiting(f"CCD of {backbone.encoder}", run),
        Figure(f"CCD of {backbone.encoder}: drawing views / step", by_views / step, "x"),
    ]


def _waiting(name: str, run: Path) -> Figure:
    line = _last_line(run)
    return Figure(f"{name}: waiting for images / time", line["waiting"] / line["seconds"], "x", _MOST_WAITING, "lower")


def _last_line(run: Path) -> dict[str, float]:
    """Return the last line of the log, which counts from the first step."""
    line: dict[str, float] = json.loads((run / LOG).read_text(encoding="utf-8").splitlines()[-1])
    return line
