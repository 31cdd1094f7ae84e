"""ExpVAE: its sizes, its loss, and an attention that is the gradient that autograd finds."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fake.stores import draw_image, write_tiny_store
from upd_zoo.detector import Detector
from upd_zoo.errors import UsageError
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.methods.expvae import ExpVAE
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.runtime.eager import load_script
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import Foreground, Protocol, ScoreRule

LATENT = 3
PIXELS = 3 * 128 * 128


def small(channels: int = 1, **settings: object) -> ExpVAE:
    """Return a small network whose code is not near its prior, so that both targets have gradients."""
    torch.manual_seed(0)
    method = ExpVAE(channels, 128, width=2, hidden=8, latent=LATENT, **settings)  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in (method.dense, method.to_mean, method.to_log_variance):
            layer.weight.mul_(4)
    return method.eval()


def images_of(channels: int = 1, count: int = 4) -> Tensor:
    generator = np.random.default_rng(5)
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(count)]))


def reference(method: ExpVAE, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, μ and log σ², layer by layer from the weights."""
    weights = dict(method.named_parameters())

    def dense(values: Tensor, name: str) -> Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    repeated = images if images.shape[1] == 3 else torch.cat(3 * [images], 1)
    first = F.conv2d(repeated, weights["encoder.0.weight"], weights["encoder.0.bias"], 2, 1).clamp(min=0)
    layer = F.conv2d(first, weights["encoder.2.weight"], weights["encoder.2.bias"], 2, 1)
    code = dense(layer.clamp(min=0).reshape(len(images), -1), "dense").clamp(min=0)
    return layer, dense(code, "to_mean"), dense(code, "to_log_variance")


def drawn(method: ExpVAE, z: Tensor) -> Tensor:
    """Return the decoder's three channels in [0, 1], layer by layer from the weights."""
    weights = dict(method.named_parameters())
    code = (z @ weights["decoder.0.weight"].T + weights["decoder.0.bias"]).clamp(min=0)
    code = (code @ weights["decoder.2.weight"].T + weights["decoder.2.bias"]).clamp(min=0)
    maps = code.reshape(len(z), -1, 32, 32)
    maps = F.conv_transpose2d(maps, weights["decoder.5.weight"], weights["decoder.5.bias"], 2, 1).clamp(min=0)
    return F.conv_transpose2d(maps, weights["decoder.7.weight"], weights["decoder.7.bias"], 2, 1).sigmoid()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return (B, latent), by torch's own distributions."""
    found = torch.distributions.Normal(mean, (log_variance / 2).exp())
    return torch.distributions.kl_divergence(found, torch.distributions.Normal(0.0, 1.0))


def by_autograd(method: ExpVAE, images: Tensor, target: str) -> tuple[Tensor, Tensor]:
    """Return A and ∂s/∂A."""
    layer, _, _ = reference(method, images)
    layer = layer.detach().requires_grad_()
    weights = dict(method.named_parameters())
    code = F.relu(F.linear(F.relu(layer).flatten(1), weights["dense.weight"], weights["dense.bias"]))
    mean = F.linear(code, weights["to_mean.weight"], weights["to_mean.bias"])
    log_variance = F.linear(code, weights["to_log_variance.weight"], weights["to_log_variance.bias"])
    score = mean.sum() if target == "sum_mu" else divergence(mean, log_variance).sum()
    return layer.detach(), torch.autograd.grad(score, layer)[0]


def study_map(layer: Tensor, gradient: Tensor) -> Tensor:
    """Return the maps that the study draws of a batch: gradients divided by the RMS of the batch."""
    weights = F.adaptive_avg_pool2d(gradient / (gradient.square().mean().sqrt() + 1e-5), 1)
    attention = torch.einsum("bc,bchw->bhw", weights[..., 0, 0], layer).unsqueeze(1)
    return F.interpolate(attention, (128, 128), mode="bilinear", align_corners=False).abs()


@pytest.mark.parametrize("name", ["expvae-camcan-t1", "expvae-chexpert", "expvae-ddr"])
def test_the_network_has_the_studys_size(name: str) -> None:
    recipe = load_recipe(ModelId.parse(name), Protocol.STUDY)
    with torch.device("meta"):
        method = create(recipe.method, recipe.domain.modality.channels, 128, recipe.settings)
    assert round(sum(parameter.numel() for parameter in method.parameters()) / 1e6, 3) == 268.935


def test_the_attended_layer_has_128_channels_of_32_pixels() -> None:
    method = ExpVAE(1, 128, hidden=1, latent=1)
    with torch.inference_mode():
        assert method.activation(torch.zeros(1, 1, 128, 128)).shape == (1, 128, 32, 32)
    assert method.dense.in_features == 131_072


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_cross_entropy_and_divergence(channels: int) -> None:
    images = images_of(channels)
    method = small(channels, kl_weight=0.5)
    torch.manual_seed(1)
    losses = method.training_step(images)
    _, mean, log_variance = reference(method, images)
    torch.manual_seed(1)
    found = drawn(method, mean + (log_variance / 2).exp() * torch.randn_like(mean))
    wanted = images.expand(-1, 3, -1, -1)
    entropy = -(wanted * found.log() + (1 - wanted) * (1 - found).log())
    torch.testing.assert_close(losses["reconstruction"], entropy.sum((1, 2, 3)).mean())
    torch.testing.assert_close(losses["kl"], divergence(mean, log_variance).sum(1).mean())
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + 0.5 * losses["kl"])


def test_the_studys_means_weigh_the_divergence_as_many_times_as_there_are_pixels_to_a_dimension() -> None:
    images, losses = images_of(), {}
    for reduction in ("sum", "mean"):
        torch.manual_seed(1)
        method = small(reduction=reduction)
        torch.manual_seed(2)
        losses[reduction] = method.training_step(images)
    torch.testing.assert_close(losses["sum"]["reconstruction"] / PIXELS, losses["mean"]["reconstruction"])
    torch.testing.assert_close(losses["sum"]["kl"] / LATENT, losses["mean"]["kl"])


@pytest.mark.parametrize("target", ["sum_mu", "kl"])
def test_the_gradient_is_that_of_autograd(target: str) -> None:
    method, images = small(target=target), images_of()
    _, gradient = by_autograd(method, images, target)
    assert gradient.abs().max() > 0
    assert (gradient == 0).any(), "a rectifier that is never closed proves nothing"
    with torch.inference_mode():
        found = method.gradient(method.activation(images))
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def test_the_targets_explain_different_things() -> None:
    images = images_of()
    with torch.inference_mode():
        means, divergences = (small(target=target).anomaly_map(images) for target in ("sum_mu", "kl"))
    assert not torch.allclose(means, divergences, rtol=0.1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("target", ["sum_mu", "kl"])
def test_a_map_is_the_studys_of_the_image_alone(target: str, channels: int) -> None:
    method, images = small(channels, target=target), images_of(channels)
    alone = [study_map(*by_autograd(method, image[None], target)) for image in images]
    expected = torch.cat(alone)
    with torch.inference_mode():
        found = method.anomaly_map(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_one_rms_of_the_training_images_gives_the_studys_map_of_them_as_one_batch(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", 1, 6)
    recipe = load_recipe(ModelId.parse("expvae-phantom-t2"), Protocol.STUDY, "tiny", steps=1)
    method = small(rms="training", target="kl")
    (tmp_path / "run").mkdir()
    method.fit(Batches(store, 4, 0, centred=False), Trainer(tmp_path / "run", recipe, "cpu"))
    method.to(memory_format=torch.contiguous_format)
    images = torch.from_numpy(np.array(store.images))
    layer, gradient = by_autograd(method, images, "kl")
    expected = study_map(layer, gradient)
    with torch.inference_mode():
        found = method.anomaly_map(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))
    method.rms = "image"
    with torch.inference_mode():
        own = method.anomaly_map(images)
    factors = (own / found).flatten(1).nanmedian(1).values
    assert factors.std() > 0.01, "each image has its own scale"


def test_the_reconstruction_is_drawn_from_the_mean_in_the_images_channels() -> None:
    for channels in (1, 3):
        method, images = small(channels), images_of(channels)
        expected = drawn(method, reference(method, images)[1])
        expected = expected.mean(1, keepdim=True) if channels == 1 else expected
        found = method.reconstruct(images)
        assert found.shape == images.shape
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("choice", [{"reduction": "total"}, {"target": "mu"}, {"rms": "batch"}])
def test_an_unknown_choice_is_refused(choice: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(choice.values()))):
        ExpVAE(1, 128, **choice)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["expvae-camcan-t2", "expvae-chexpert", "expvae-ddr"])
def test_the_protocols_differ_in_means_and_scale(name: str) -> None:
    recipes = {protocol: load_recipe(ModelId.parse(name), protocol) for protocol in Protocol}
    switches = {
        protocol: {key: recipe.settings[key] for key in ("reduction", "target", "rms")}
        for protocol, recipe in recipes.items()
    }
    assert switches[Protocol.STUDY] == {"reduction": "mean", "target": "sum_mu", "rms": "training"}
    assert switches[Protocol.SOUND] == {"reduction": "sum", "target": "sum_mu", "rms": "image"}
    assert not any(recipe.centred for recipe in recipes.values()), "targets of a cross-entropy lie in [0, 1]"


@pytest.mark.slow
def test_the_divergences_attention_is_in_every_format_and_the_dense_layer_in_it_once(tmp_path: Path) -> None:
    method, images = small(target="kl"), images_of(1, 3)
    detector = Detector(method, centred=False, foreground=Foreground.EVERYWHERE, score_rule=ScoreRule.MAXIMUM).eval()
    write_torchscript(detector, tmp_path / "model.ts", 1, 128)
    write_onnx(detector, tmp_path / "model.onnx", 1, 128)
    script, session = load_script(tmp_path / "model.ts"), onnx_predict(tmp_path / "model.onnx", "cpu", 1)
    for count in (1, 3):
        with torch.inference_mode():
            expected = detector(images[:count]).anomaly_map
            traced = script(images[:count])[0]
        tolerance = 1e-4 * float(expected.max())
        torch.testing.assert_close(traced, expected, rtol=0, atol=tolerance)
        run = torch.from_numpy(session(images[:count].numpy())[0])
        torch.testing.assert_close(run, expected, rtol=0, atol=tolerance)
    sizes = [int(np.prod(tensor.dims)) for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert sizes.count(method.dense.weight.numel()) == 1, "half a gigabyte twice in the study's size"


def test_the_attended_layer_is_that_of_the_encoder_with_the_signs_of_float64() -> None:
    torch.manual_seed(0)
    method = ExpVAE(1, 128, width=8, hidden=8, latent=4).eval()
    images = torch.rand(3, 1, 128, 128)
    with torch.no_grad():
        found, plain = method.attended(images), method.activation(images)
        exact = method.double().activation(images.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(found, exact.float(), rtol=0, atol=0)
