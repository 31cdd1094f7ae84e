"""Every method follows the side of its images: what it draws, learns and exports at 192 and 256 pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.kinds import COLOUR, GREY, METHODS, case, light_recipe
from fake.stores import draw_image, write_tiny_store
from upd_zoo.errors import UsageError
from upd_zoo.export import export_artefact
from upd_zoo.fitting.run import RunSettings
from upd_zoo.names import ModelId
from upd_zoo.registry import create, registered
from upd_zoo.runtime.folder import load_folder
from upd_zoo.training import train
from upd_zoo.vocabulary import Side

SIDE: Side = 192
CPU = RunSettings(device="cpu")
RATE = 1e-4
"""The rate of the smallest recipes is one for 128 pixels: AMCons' loss is infinite after a step of it at 192."""


def images_of(side: int, channels: int = 1) -> torch.Tensor:
    generator = np.random.default_rng(3)
    return torch.from_numpy(np.stack([draw_image(channels, generator, side) for _ in range(2)]))


@pytest.mark.parametrize("name", [case(name, slow=number % 2 > 0) for number, name in enumerate(sorted(registered()))])
def test_a_map_has_the_side_of_its_images(name: str) -> None:
    recipe = light_recipe(name, GREY)
    method = create(name, 1, SIDE, recipe.settings).eval()
    images = images_of(SIDE)
    with torch.no_grad():
        assert method.anomaly_map(images).shape == (2, 1, SIDE, SIDE)
        drawn = method.reconstruct(images)
    assert drawn is None or drawn.shape == images.shape
    assert {planted.shape for planted in method.synthetic(images).values()} <= {images.shape}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("side", [192])  # the packaged RD is one of 256
def test_a_method_is_trained_and_exported_at_another_side(
    name: str, side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upd_zoo.export.check_thresholds", lambda _: None)  # of a few steps' training, maps are alike
    light = light_recipe(name, COLOUR)
    slow = {
        part: each.model_copy(update={"optimiser": each.optimiser | {"lr": RATE}})
        for part, each in light.phases.items()
    }
    recipe = replace(light, phases=slow, side=side)
    weights = "random" if "backbone" in recipe.settings else None
    stores = {
        part: write_tiny_store(tmp_path / part, 3, 8, seed, name=f"{COLOUR}/{part}-{side}", subjects=part, side=side)
        for seed, part in enumerate(("train", "validation"))
    }
    model = ModelId.parse(f"{name}-{COLOUR}")
    config = train(model, recipe, stores["train"], tmp_path / "run", replace(CPU, weights=weights))
    assert (config.input.height, config.input.width) == (side, side)
    assert f"{side} pixels" in config.labels
    manifest = export_artefact(tmp_path / "run", stores["validation"], tmp_path / "artefact")
    assert {row.format for row in manifest.parity} == {"safetensors", "torchscript", "onnx"}
    loaded = load_folder(tmp_path / "artefact", device="cpu", threads=1)
    maps, scores = loaded(images_of(side, 3).numpy())
    assert (maps.shape, scores.shape) == ((2, 1, side, side), (2,))
    with pytest.raises(UsageError, match=rf"\(B, 3, {side}, {side}\)"):
        loaded(images_of(128, 3).numpy())
