"""r-VAE: its gradient against autograd, its steps against the study's loop, and the graph that it becomes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from fake.stores import draw_image
from upd_zoo.detector import Detector
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.layers.similarity import SSIMResidual
from upd_zoo.methods.r_vae import RVAE, restoration_step
from upd_zoo.methods.vae import VAE
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.runtime.eager import load_script
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import Foreground, Protocol, ScoreRule

SMALL: dict[str, Any] = {"width": 4, "bottleneck": 4, "latent": 8}
every_protocol = pytest.mark.parametrize("sampling", [False, True], ids=["sound", "study"])
every_kind = pytest.mark.parametrize("channels", [1, 3])


def small(channels: int = 1, **settings: Any) -> RVAE:
    """Return a small r-VAE in evaluation mode whose norms do something."""
    torch.manual_seed(0)
    method = RVAE(channels, 128, **{**SMALL, "kl_weight": 0.1, **settings})
    for norm in method.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert isinstance(norm.running_mean, Tensor)
            assert isinstance(norm.running_var, Tensor)
            nn.init.uniform_(norm.weight, 0.5, 1.2)
            nn.init.uniform_(norm.bias, -0.2, 0.2)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return method.eval()


def images_of(channels: int = 1, count: int = 2) -> Tensor:
    generator = np.random.default_rng(5)
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(count)]))


def restore(method: RVAE, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return method.reconstruct(images)


def objective(method: RVAE, restored: Tensor, images: Tensor, noise: Tensor) -> Tensor:
    """Return E + λ T of each image, (B,), by cards/study.md, section 3.2, and by the VAE's own layers."""
    mean, log_variance = method.encode(restored)
    drawn = method.decode(mean + (log_variance / 2).exp() * noise)
    kl = (mean**2 + log_variance.exp() - log_variance - 1).mean(dim=1) / 2
    change = restored - images
    vertical, horizontal = change[:, :, 1:] - change[:, :, :-1], change[..., 1:] - change[..., :-1]
    roughness = (vertical**2).sum((1, 2, 3)) + (horizontal**2).sum((1, 2, 3))
    tv_weight = float(method.factors[2] / method.factors[0])
    reconstruction = ((restored - drawn) ** 2).mean((1, 2, 3))
    return reconstruction + method.kl_weight * kl + tv_weight * roughness / change[0].numel()


def noise_of(method: RVAE, step: int) -> Tensor:
    return method.noises[step] if method.sample_at_test else torch.zeros(method.latent)


# One step


@every_kind
@every_protocol
def test_the_gradient_is_that_of_autograd(channels: int, sampling: bool) -> None:
    method = small(channels, restoration_steps=5, rate=1.0, sample_at_test=sampling).double()
    images = images_of(channels).double()
    restored = (images + 0.1 * torch.rand_like(images)).requires_grad_()
    noise = noise_of(method, 3).double()
    (expected,) = torch.autograd.grad(objective(method, restored, images, noise).sum(), restored)
    with torch.inference_mode():
        found = restored - restoration_step(torch.tensor(3), restored, method.given(images))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("setting", [{"kl_weight": 0.0}, {"tv_weight": 0.0}, {"rate": 0.0}])
def test_every_term_has_its_share_in_a_step(setting: dict[str, Any]) -> None:
    images = images_of()
    changed, restored = small(restoration_steps=2, **setting), small(restoration_steps=2)
    assert not torch.equal(restore(changed, images), restore(restored, images))


def test_an_image_that_is_not_moved_is_its_own_restoration() -> None:
    images = images_of()
    assert torch.equal(restore(small(rate=0.0), images), images)


# All steps


def test_the_study_descends_the_mean_of_64_images_in_steps_of_1000() -> None:
    method = small(restoration_steps=2, rate=1000 / 64, sample_at_test=True)
    images = torch.rand(64, 1, 128, 128)
    restored = images
    for step in range(2):
        restored = restored.detach().requires_grad_()
        mean = objective(method, restored, images, noise_of(method, step)).mean()
        (gradient,) = torch.autograd.grad(mean, restored)
        restored = restored - 1000 * gradient.clamp(-50, 50)
    found = restore(method, images)
    moved = (restored - images).abs().max()
    assert moved > 1e-4
    assert (found - restored).abs().max() < 1e-3 * moved


def test_each_step_has_its_own_noise() -> None:
    images, method = images_of(), small(restoration_steps=3, sample_at_test=True)
    before = restore(method, images)
    assert torch.equal(restore(method, images), before)
    method.noises.copy_(method.noises.flip(0))
    assert not torch.equal(restore(method, images), before)


def test_longer_steps_follow_the_same_path() -> None:
    images = images_of()
    study = restore(small(restoration_steps=100, rate=15.625), images)
    sound = restore(small(restoration_steps=10, rate=156.25), images)
    assert (sound - study).abs().max() < 0.02 * (study - images).abs().max()


def test_a_restoration_lowers_the_objective() -> None:
    method, images = small(), images_of()
    with torch.inference_mode():
        before = objective(method, images, images, torch.zeros(8))
        after = objective(method, restore(method, images), images, torch.zeros(8))
    assert (after < 0.9 * before).all()


def test_a_larger_weight_makes_the_change_smoother() -> None:
    images = images_of()
    images[:, :, 60, 60] += 1
    rough, smooth = (restore(small(tv_weight=weight), images) - images for weight in (0.0, 10.0))
    assert smooth.diff(dim=2).abs().max() < 0.5 * rough.diff(dim=2).abs().max()


def test_the_map_is_what_was_changed() -> None:
    method, images = small(restoration_steps=3, residual="ssim-8-bit"), images_of()
    with torch.inference_mode():
        found = method.anomaly_map(images)
    assert torch.equal(found, SSIMResidual(255.0, 128)(images, restore(method, images)))


def test_no_gradient_is_kept() -> None:
    assert not small(restoration_steps=2).reconstruct(images_of()).requires_grad


# What it owns


@every_protocol
def test_a_finished_vae_is_a_finished_r_vae(sampling: bool) -> None:
    vae, method = VAE(1, 128, **SMALL), RVAE(1, 128, **SMALL, sample_at_test=sampling)
    missing, unexpected = method.load_state_dict(vae.state_dict(), strict=False)
    assert (missing, unexpected) == (["noises"] if sampling else [], [])


@every_protocol
def test_the_same_seed_trains_the_same_vae(sampling: bool) -> None:
    losses = []
    for kind in (VAE, RVAE):
        torch.manual_seed(3)
        method = kind(1, 128, **SMALL, sample_at_test=sampling).train()
        losses.append(method.training_step(images_of())["loss"])
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("camcan-t2", 3.266), ("camcan-t1", 13.117), ("ddr", 13.117), ("chexpert", 3.414)],
)
def test_the_network_has_the_studys_size(name: str, millions: float) -> None:
    recipe = load_recipe(ModelId.parse(f"r-vae-{name}"), Protocol.STUDY)
    method = create(recipe.method, recipe.domain.modality.channels, 128, recipe.settings)
    assert round(sum(parameter.numel() for parameter in method.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize(
    ("name", "tv_weight"), [("camcan-t2", 1.2), ("ixi-t1", 1.2), ("chexpert", 1.5), ("nih-cxr", 1.5), ("ddr", 1.7)]
)
def test_the_recipe_is_that_of_the_vae_and_a_restoration(name: str, tv_weight: float) -> None:
    model, vae = ModelId.parse(f"r-vae-{name}"), ModelId.parse(f"vae-{name}")
    for protocol, own in (
        (Protocol.SOUND, {"restoration_steps": 50, "rate": 156.25, "tv_weight": tv_weight}),
        (Protocol.STUDY, {"restoration_steps": 500, "rate": 15.625, "tv_weight": tv_weight}),
    ):
        recipe, inherited = load_recipe(model, protocol), load_recipe(vae, protocol)
        assert recipe.settings == {**inherited.settings, **own}
        assert (recipe.phases, recipe.batch_size, recipe.centred) == (
            inherited.phases,
            inherited.batch_size,
            inherited.centred,
        )


# Files


def detector(channels: int, sampling: bool) -> Detector:
    method = small(channels, restoration_steps=10, rate=781.25, sample_at_test=sampling)
    return Detector(
        method, centred=channels == 3, foreground=Foreground.EVERYWHERE, score_rule=ScoreRule.MAXIMUM
    ).eval()


@every_kind
@every_protocol
def test_torchscript_gives_the_same_map(channels: int, sampling: bool, tmp_path: Path) -> None:
    eager, images = detector(channels, sampling), images_of(channels, 3)
    write_torchscript(eager, tmp_path / "model.ts", channels, 128)
    script = load_script(tmp_path / "model.ts")
    with torch.inference_mode():
        for batch in (1, 3):
            for found, expected in zip(script(images[:batch]), eager(images[:batch]), strict=True):
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max()))


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "sampling"), [(1, False), (3, True)])
def test_onnx_gives_the_same_map_by_one_loop(channels: int, sampling: bool, tmp_path: Path) -> None:
    eager, images = detector(channels, sampling), images_of(channels, 3)
    write_onnx(eager, tmp_path / "model.onnx", channels, 128)
    graph = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in graph.graph.node].count("Loop") == 1
    assert len(graph.graph.node) < 100
    assert ({opset.domain for opset in graph.opset_import}, list(graph.functions)) == ({""}, [])
    predict = onnx_predict(tmp_path / "model.onnx", "cpu", 1)
    for batch in (1, 3):
        with torch.inference_mode():
            expected = eager(images[:batch])
        for found, value in zip(predict(images[:batch].numpy()), expected, strict=True):
            torch.testing.assert_close(torch.from_numpy(found), value, rtol=0, atol=1e-4 * float(value.max()))
