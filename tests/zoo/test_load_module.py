"""A model as a torch module: what it answers, that it can learn on, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import upd_zoo
from fake.stores import draw_image
from fake.trained import COLOUR, GREY, trained_artefact
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Config
from upd_zoo.errors import IntegrityError, NotFoundError


@pytest.fixture(params=[GREY, pytest.param(COLOUR, marks=pytest.mark.slow)])
def artefact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, request.param)


def images_for(artefact: Path) -> torch.Tensor:
    channels, generator = read_record(artefact / CONFIG, Config).input.channels, np.random.default_rng(5)
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(3)]))


def test_a_module_answers_as_every_format_does(artefact: Path) -> None:
    module = upd_zoo.load_module(artefact)
    assert not module.training
    images = images_for(artefact)
    with torch.no_grad():
        answer = module(images)
    row = verify(artefact).parity[0]
    for backend in ("onnx", "torchscript", "torch"):
        maps, scores = upd_zoo.load(artefact, backend=backend, device="cpu", threads=1)(images.numpy())
        np.testing.assert_allclose(answer.anomaly_map.numpy(), maps, rtol=0, atol=row.tolerance * row.map_range)
        np.testing.assert_allclose(answer.score.numpy(), scores, rtol=0, atol=row.tolerance * row.score_range)


def test_a_module_learns_on(artefact: Path) -> None:
    module = upd_zoo.load_module(artefact)
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    images = images_for(artefact)
    descent = torch.optim.SGD(module.parameters(), lr=1e-3)
    module.train()
    torch.autograd.backward(module.method.training_step(module.pixels(images))["loss"])
    descent.step()
    assert all((weight.grad is not None) == weight.requires_grad for weight in module.parameters())
    changed = {name for name, weight in module.named_parameters() if not torch.equal(weight, before[name])}
    # Normalising each batch takes back whatever is added before it.
    assert {name for name, weight in before.items() if weight.ndim > 1} <= changed


def test_gradients_of_a_map_reach_the_images(artefact: Path) -> None:
    module = upd_zoo.load_module(artefact)
    images = images_for(artefact).requires_grad_()
    module(images).anomaly_map.sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0


def test_weights_are_checked_before_they_are_used(artefact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(artefact, tmp_path / "copy")
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256 of its manifest"):
        upd_zoo.load_module(copy)


def test_a_model_of_a_hub_is_fetched_with_its_weights(artefact: Path, tmp_path: Path) -> None:
    hub = upd_zoo.open_hub(tmp_path / "hub", tmp_path / "cache")
    name = verify(artefact).id
    hub.publish(artefact, upd_zoo.ModelId.parse(name), force=True)
    module = upd_zoo.load_module(name, hub=hub)
    for key, weight in upd_zoo.load_module(artefact).state_dict().items():
        assert torch.equal(weight, module.state_dict()[key]), key


def test_packaged_models_say_that_they_bring_their_graph_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPD_ZOO_HUB", raising=False)
    name = upd_zoo.open_hub().catalogue().rows[0].id
    with pytest.raises(NotFoundError, match=f"The packaged {name} has no {WEIGHTS}") as caught:
        upd_zoo.load_module(name)
    assert "upd-zoo train" in caught.value.next_step
