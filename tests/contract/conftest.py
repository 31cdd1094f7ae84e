"""Every method, trained for a moment; made once and shared by all promises."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from contract.kinds import COLOUR, GREY, light_recipe
from fake.stores import write_tiny_store
from upd_zoo.artefact.records import Config
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.run import LOG, RunSettings, seed_everything
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.method import Method
from upd_zoo.names import ModelId
from upd_zoo.pretrain.run import BACKBONE, encoder_of, pretrain
from upd_zoo.stores.store import Store
from upd_zoo.training import prepare_method


@dataclass(frozen=True)
class Fitted:
    """A method that has learnt from a tiny store.

    Attributes:
        method: In evaluation mode.
        start: Its state before training.
        log: The lines of its training log.
    """

    method: Method
    config: Config
    start: dict[str, torch.Tensor]
    log: list[dict[str, Any]]


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Healthy images: grey ones for the sound protocol, coloured ones for that of the study."""
    folder = tmp_path_factory.mktemp("stores")
    return {
        GREY: write_tiny_store(folder / GREY, 1, 32, name=f"{GREY}/train"),
        COLOUR: write_tiny_store(folder / COLOUR, 3, 8, name=f"{COLOUR}/train"),
    }


@pytest.fixture(scope="session")
def pretrained(stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a network, pre-trained for a method; methods that start from the same one share it."""

    @cache
    def run_of(encoder: str, normalises: bool, method: str) -> Path:
        run: Path = tmp_path_factory.mktemp("ccd")
        weights = "random" if "backbone" in light_recipe(method, GREY).settings else None
        pretrain(light_recipe(method, GREY), stores[GREY], run, RunSettings(device="cpu", weights=weights))
        return run / BACKBONE

    first: dict[tuple[str, bool], str] = {}

    def give(method: str) -> Path:
        base = light_recipe(method, GREY)
        encoder = encoder_of(base)
        key = encoder.name, encoder.normalisation is not None
        return run_of(*key, first.setdefault(key, method))

    return give


@pytest.fixture(scope="session")
def fitted(
    stores: dict[str, Store], pretrained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Fitted]:
    """Give a method, trained for a kind of images."""

    @cache
    def fit(name: str, kind: str = GREY) -> Fitted:
        run: Path = tmp_path_factory.mktemp(name)
        model, recipe = ModelId.parse(f"{name}-{kind}"), light_recipe(name, kind)
        store = stores[model.domain.id]
        weights = str(pretrained(name)) if model.ccd else "random" if "backbone" in recipe.settings else None
        # Backbones are drawn, and on one draw in a few a method's tiny training does not tell an anomaly.
        seed_everything(3)
        trainer = Trainer(run, recipe, "cpu")
        method, config = prepare_method(model, recipe, store, RunSettings(device="cpu", weights=weights))
        start = {key: tensor.clone() for key, tensor in method.state_dict().items()}
        method.fit(Batches(store, recipe.batch_size, 0, centred=recipe.centred), trainer)
        log = [json.loads(line) for line in (run / LOG).read_text().splitlines()] if (run / LOG).exists() else []
        # Training may lay parameters out for speed, which changes the last bits of what they compute.
        return Fitted(method.eval().to(memory_format=torch.contiguous_format), config, start, log)

    return fit
