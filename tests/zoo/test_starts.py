"""What a training starts from: drawn weights, or those of a file, and what of that is said."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from fake.stores import write_tiny_store
from upd_zoo.artefact.records import WEIGHTS
from upd_zoo.errors import UsageError
from upd_zoo.fitting.run import RunSettings
from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.training import train

MODEL = ModelId.parse("vae-phantom-t2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("starts") / "store")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where a new run goes."""
    return tmp_path / "run"


def test_weights_that_nothing_takes_are_refused(store: Store, run: Path, tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(UsageError):
        train(
            MODEL,
            load_recipe(MODEL, profile="tiny", steps=1),
            store,
            run,
            RunSettings(device="cpu", weights=str(tmp_path / "weights.safetensors")),
        )


def test_a_pretrained_model_needs_its_weights(store: Store, run: Path) -> None:
    model = ModelId.parse("vae-phantom-t2-ccd")
    with pytest.raises(UsageError, match="upd-zoo pretrain vae-phantom-t2-ccd, then train again"):
        train(model, load_recipe(model, profile="quick"), store, run, RunSettings(device="cpu"))


def test_a_random_backbone_is_said_in_the_labels(store: Store, run: Path) -> None:
    model = ModelId.parse("rd.test_resnet-phantom-t2")
    recipe = load_recipe(model, profile="quick", steps=1, batch_size=2)
    config = train(model, recipe, store, run, RunSettings(device="cpu", weights="random"))
    assert "random backbone" in config.labels
    assert config.weights_origin is not None
    assert (config.weights_origin.backbone, config.weights_origin.source) == ("test_resnet", "random")
    assert config.pretrain == "none"


def test_a_backbone_from_a_file_is_trained_on(store: Store, run: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    backbone = FeatureBackbone("test_resnet", 128)
    safetensors.torch.save_file(backbone.network.state_dict(), tmp_path / "teacher.safetensors")
    model = ModelId.parse("rd.test_resnet-phantom-t2")
    recipe = load_recipe(model, profile="quick", steps=2, batch_size=2)
    config = train(model, recipe, store, run, RunSettings(device="cpu", weights=str(tmp_path / "teacher.safetensors")))
    assert config.weights_origin is not None
    assert (config.weights_origin.source, config.weights_origin.name) == ("file", "teacher.safetensors")
    assert (config.pretrain, config.labels) == ("imagenet", ["tiny test store", "quick (2 steps) profile"])
    trained = safetensors.torch.load_file(run / WEIGHTS)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(trained[f"backbone.{name}"], tensor), "training moved the frozen backbone"
