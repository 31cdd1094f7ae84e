"""Every method, trained for a moment; made once and shared by all promises."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from fake.stores import write_tiny_store
from upd_zoo.artefact import Config
from upd_zoo.data.store import Store
from upd_zoo.method import Method
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.trainer import LOG, Batches, Trainer, seed_everything
from upd_zoo.training import prepare_method
from upd_zoo.vocabulary import ModelId, Protocol

LIGHT_BACKBONE = "test_resnet"
"""timm's smallest network with strides 4, 8 and 16."""
GREY, COLOUR = "phantom-t2", "phantom-fundus"
_PROTOCOLS = {GREY: Protocol.SOUND, COLOUR: Protocol.STUDY}
_COLOUR_STEPS = 2
"""The gauntlet asks whether the loss falls on grey images; on coloured ones it asks whether everything fits."""


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


def light_recipe(method: str, domain: str) -> Recipe:
    """Return the recipe of the smallest network, with the smallest backbone where the method reads one."""
    recipe = load_recipe(ModelId(method, None, domain), _PROTOCOLS[domain], "tiny")
    if domain == COLOUR:
        phases = {name: phase.model_copy(update={"steps": _COLOUR_STEPS}) for name, phase in recipe.phases.items()}
        recipe = replace(recipe, phases=phases)
    backbone = {"backbone": LIGHT_BACKBONE} if "backbone" in recipe.settings else {}
    return replace(recipe, settings={**recipe.settings, **backbone})


@pytest.fixture(scope="session")
def fitted(stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Fitted]:
    """Give a method, trained on a domain."""

    @cache
    def fit(name: str, domain: str = GREY) -> Fitted:
        run: Path = tmp_path_factory.mktemp(name)
        recipe, store = light_recipe(name, domain), stores[domain]
        seed_everything(0)
        trainer = Trainer(run, recipe, "cpu")
        weights = "random" if "backbone" in recipe.settings else None
        model = ModelId(name, None, domain)
        method, config = prepare_method(model, recipe, store, seed=0, weights=weights, device="cpu")
        start = {key: tensor.clone() for key, tensor in method.state_dict().items()}
        method.fit(Batches(store, recipe.batch_size, 0, centred=recipe.centred), trainer)
        log = [json.loads(line) for line in (run / LOG).read_text().splitlines()] if (run / LOG).exists() else []
        # Training may lay parameters out for speed, which changes the last bits of what they compute.
        return Fitted(method.eval().to(memory_format=torch.contiguous_format), config, start, log)

    return fit
