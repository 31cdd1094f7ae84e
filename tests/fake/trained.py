"""Real artefacts of a moment's training, made once per test run for every room and every process of the tests."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from fake.stores import write_tiny_store
from upd_zoo.artefact.record import Setting
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe

GREY, COLOUR = "vae-phantom-t2", "vae-phantom-fundus"
_SETTINGS: dict[str, Setting] = {"width": 4, "bottleneck": 4, "latent": 8, "residual": "ssim-8-bit"}
"""The smallest network, and a residual in which healthy images differ though it draws next to nothing yet."""


def trained_artefact(folders: pytest.TempPathFactory, name: str) -> Path:
    """Return the artefact of a model below a folder of the test run, making it where it is not there yet.

    Beside it, in `run`, `train` and `validation`, lies what it was made of.
    """
    base = folders.getbasetemp()
    # pytest-xdist gives each of its processes a folder of its own within that of the test run.
    work = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained" / name
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_suffix(".lock")):
        if not (work / "artefact").is_dir():
            _make(work, ModelId.parse(name))
    return work / "artefact"


def _make(work: Path, model: ModelId) -> None:
    # Torch is imported here, so that tests that ask for no model need none.
    from upd_zoo.export import export_artefact
    from upd_zoo.fitting.run import RunSettings
    from upd_zoo.training import train

    recipe = load_recipe(model, profile="quick", steps=25, batch_size=4)
    recipe = replace(recipe, settings={**recipe.settings, **_SETTINGS}, smoothing=0.0, erosion=0)
    channels, domain = model.domain.modality.channels, model.domain.id
    store = write_tiny_store(work / "train", channels, 8, seed=1, name=f"{domain}/train")
    train(model, recipe, store, work / "run", RunSettings(device="cpu"))
    validation = write_tiny_store(work / "validation", channels, 24, seed=2, name=f"{domain}/validation")
    export_artefact(work / "run", validation, work / "artefact")
