"""Pixels belong to weights: who says what they are, where that is kept, and what a network is given."""

from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import pytest
import safetensors.torch
import timm
import torch

from upd_zoo.errors import IntegrityError
from upd_zoo.layers.backbone import FeatureBackbone, WholeNetwork
from upd_zoo.layers.encoder import initialise
from upd_zoo.layers.normalisation import pixels_told
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create, registered
from upd_zoo.vocabulary import DOMAINS, Protocol

LIGHT = "test_resnet"
RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(count: int = 2, channels: int = 1) -> torch.Tensor:
    return torch.rand((count, channels, 128, 128), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("metadata", "mean", "std"),
    [
        ({"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}, *RGB),
        ({"input": "RGB in [-1,1]"}, (0.5,) * 3, (0.5,) * 3),
        ({"input": "RGB in [0, 255]"}, (0.0,) * 3, (1 / 255,) * 3),
    ],
)
def test_a_file_says_what_its_weights_expect(
    metadata: dict[str, str], mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = FeatureBackbone(LIGHT, 128, normalise=True)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model(LIGHT, pretrained=False).state_dict(), path, metadata)
    origin = initialise([network.encoder], str(path))
    assert origin.mean == pytest.approx(mean)
    assert origin.std == pytest.approx(std)
    assert origin.pixels == "weights.safetensors"
    plain = FeatureBackbone(LIGHT, 128)
    assert initialise([plain.encoder], str(path)).mean is None
    given = (images().expand(-1, 3, -1, -1) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        for one, other in zip(network(images()), plain(given), strict=True):
            torch.testing.assert_close(one, other)
        assert not torch.allclose(network(images())[0], plain(images())[0])


def test_a_file_that_says_nothing_gets_the_usual_pixels_of_its_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(timm.create_model("efficientnet_lite0", pretrained=False).state_dict(), path)
    origin = initialise([WholeNetwork("efficientnet_lite0", normalise=True).encoder], str(path))
    usual = timm.models.get_pretrained_cfg("efficientnet_lite0")
    assert usual is not None
    assert (origin.mean, origin.std) == (usual.mean, usual.std)
    assert origin.pixels == "timm's usual weights of efficientnet_lite0"


@pytest.mark.parametrize(
    "metadata", [{"mean": "[0.5]", "std": "[0.5]"}, {"mean": "a", "std": "b"}, {"input": "RGB in [1, 1]"}]
)
def test_what_cannot_be_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="metadata of it says of pixels what cannot be"):
        pixels_told(metadata, "it")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("resnet18", "resnet18.tv_in1k"),
        ("wide_resnet50_2", "wide_resnet50_2.tv_in1k"),
        ("mobilenetv2_100", "mobilenetv2_100"),
    ],
)
def test_the_studys_backbones_start_from_torchvisions_first_weights(
    name: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fetched:
        pretrained_cfg: ClassVar = {"hf_hub_id": f"timm/{asked}", "mean": RGB[0], "std": RGB[1]}

        def state_dict(self) -> dict[str, torch.Tensor]:
            return {}

    def fetch(model: str, **options: Any) -> Fetched:
        assert (model, options) == (asked, {"pretrained": True})
        return Fetched()

    encoder = FeatureBackbone("test_resnet", 128).encoder
    object.__setattr__(encoder, "name", name)
    monkeypatch.setattr(timm, "create_model", fetch)
    _, tag, pixels = encoder.pretrained()
    assert (tag, pixels.mean, pixels.std, pixels.told_by) == (f"timm/{asked}", *RGB, f"timm/{asked}")
    assert timm.models.is_model_pretrained(asked)


def test_drawn_weights_expect_nothing_of_pixels() -> None:
    network = WholeNetwork(LIGHT, normalise=True)
    origin = initialise([network.encoder], "random")
    assert (origin.mean, origin.std, origin.pixels) == ((0.0,) * 3, (1.0,) * 3, "")
    assert network.normalisation is not None
    assert torch.equal(network.normalisation(images(1, 3)), images(1, 3))


NORMALISE = [name for name, method in registered().items() if signature(method).parameters.get("normalise") is not None]
LATER = [name for name in NORMALISE if signature(registered()[name]).parameters["normalise"].default is False]
"""Methods that learnt to normalise: the study's, and artefacts of before, do not."""


@pytest.mark.parametrize("method", NORMALISE)
def test_a_method_whose_backbone_normalises_gets_pixels_in_0_1(method: str) -> None:
    for domain in DOMAINS:
        sound = load_recipe(ModelId(method, None, domain))
        assert (sound.settings["normalise"], sound.centred) == (True, False)


@pytest.mark.parametrize("method", LATER)
def test_the_studys_methods_centre_photographs_and_do_not_normalise(method: str) -> None:
    for domain in DOMAINS:
        study = load_recipe(ModelId(method, None, domain), Protocol.STUDY)
        assert study.settings["normalise"] is False
        assert study.centred or DOMAINS[domain].modality.id != "fundus"


@pytest.mark.parametrize("method", LATER)
def test_what_was_made_before_has_no_buffers_of_it(method: str) -> None:
    before = create(method, 1, 128, {"backbone": LIGHT}).state_dict().keys()
    now = create(method, 1, 128, {"backbone": LIGHT, "normalise": True}).state_dict().keys()
    assert now - before == {"backbone.normalisation.mean", "backbone.normalisation.std"}
