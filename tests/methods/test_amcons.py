"""AMCons: its sizes, its loss, and an entropy that rises under one protocol and falls under the other."""

from typing import Any, TypeVar

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fake.stores import draw_image
from upd_zoo.methods.amcons import AMCons, ResidualBlock, entropy
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import Protocol, ScoreRule

Module = TypeVar("Module", bound=nn.Module)


def small(channels: int = 1, **settings: object) -> AMCons:
    torch.manual_seed(0)
    return AMCons(channels, 128, width=4, latent=3, **settings)  # type: ignore[arg-type]


def images_of(channels: int = 1, count: int = 4) -> Tensor:
    generator = np.random.default_rng(5)
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(count)]))


def with_statistics(module: Module) -> Module:
    """Return a module in evaluation mode whose norms do something."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return module.eval()


@pytest.mark.parametrize("name", ["amcons-camcan-t1", "amcons-chexpert", "amcons-ddr"])
def test_the_network_has_the_studys_size(name: str) -> None:
    recipe = load_recipe(ModelId.parse(name), Protocol.STUDY)
    channels = recipe.domain.modality.channels
    method = create(recipe.method, channels, 128, recipe.settings)
    assert round(sum(parameter.numel() for parameter in method.parameters()) / 1e6, 3) == 14.841


def test_the_stages_halve_their_sides_from_64_and_double_their_channels() -> None:
    method, shapes = AMCons(1, 128), []
    with torch.inference_mode():
        features = method.first_stage(torch.zeros(1, 1, 128, 128))
        shapes.append(tuple(features.shape[1:]))
        for stage in method.stages[1:]:
            features = stage(features)
            shapes.append(tuple(features.shape[1:]))
    assert shapes == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)]
    assert method.to_mean.in_features == 32_768


@pytest.mark.slow
def test_the_stages_are_those_of_a_resnet18() -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = with_statistics(models.resnet18())
    stages = with_statistics(AMCons(1, 128).stages)
    theirs = [network.layer1, network.layer2, network.layer3, network.layer4]
    for ours, their in zip(stages, theirs, strict=True):
        mine, other = ours.state_dict(), their.state_dict()
        ours.load_state_dict(dict(zip(mine, other.values(), strict=True)))
    features = expected = torch.rand(2, 64, 16, 16)
    for ours, their in zip(stages, theirs, strict=True):
        features, expected = ours(features), their(expected)
        torch.testing.assert_close(features, expected)


def test_a_doubling_block_enlarges_between_convolution_and_norm() -> None:
    torch.manual_seed(0)
    block = with_statistics(ResidualBlock(4, 2, "up", bias=True))
    weights: dict[str, Tensor] = dict(block.state_dict())

    def convolved(values: Tensor, name: str, padding: int) -> Tensor:
        return F.conv2d(values, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)

    def doubled(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, -1).repeat_interleave(2, -2)

    def normalised(values: Tensor, name: str) -> Tensor:
        scale, shift, mean, variance = (
            weights[f"{name}.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")
        )
        normal: Tensor = (values - mean) / (variance + 1e-5).sqrt()
        return normal * scale + shift

    x = torch.rand(2, 4, 6, 6)
    body = normalised(doubled(convolved(x, "body.0", 1)), "body.2").clamp(min=0)
    body = normalised(convolved(body, "body.4", 1), "body.5")
    expected = (body + normalised(doubled(convolved(x, "shortcut.0", 0)), "shortcut.2")).clamp(min=0)
    assert expected.shape == (2, 2, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected)


def test_the_decoder_doubles_four_times_and_halves_its_channels() -> None:
    values, shapes = torch.zeros(1, 32), []
    with torch.inference_mode():
        for module in AMCons(3, 128).eval().decoder:
            values = module(values)
            shapes.append(tuple(values.shape[1:]))
    assert shapes == [(16_384,), (256, 8, 8), (128, 16, 16), (64, 32, 32), (32, 64, 64), (16, 128, 128), (3, 128, 128)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("maximise", "sign"), [(True, -1), (False, 1)])
def test_the_loss_is_cross_entropy_divergence_and_entropy(channels: int, maximise: bool, sign: int) -> None:
    images = images_of(channels, 3)
    method = small(channels, maximise_entropy=maximise, inside_foreground=False).eval()
    torch.manual_seed(1)
    losses = method.training_step(images)
    features = method.first_stage(images)
    mean, log_variance = method.encode(features)
    torch.manual_seed(1)
    logits = method.decoder(mean + (log_variance / 2).exp() * torch.randn_like(mean))
    reconstruction = F.binary_cross_entropy(logits.sigmoid(), images, reduction="sum") / 3
    found = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(found, torch.distributions.Normal(0.0, 1.0)).sum() / 3
    enlarged = F.interpolate(features.mean(1, keepdim=True), (128, 128), mode="bilinear", align_corners=True)
    shares = enlarged.flatten(1).detach().double().softmax(1).numpy()
    evenness = torch.tensor(scipy.stats.entropy(shares, axis=1).mean(), dtype=torch.float32)
    torch.testing.assert_close(losses["entropy"], evenness, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["reconstruction"], reconstruction, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["kl"], kl)
    torch.testing.assert_close(losses["loss"], reconstruction + 10 * kl + sign * 0.1 * evenness, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("protocol", "rises"), [(Protocol.SOUND, True), (Protocol.STUDY, False)])
def test_a_step_on_the_entropy_alone_raises_it_and_in_the_study_lowers_it(protocol: Protocol, rises: bool) -> None:
    recipe = load_recipe(ModelId.parse("amcons-camcan-t2"), protocol, "tiny")
    torch.manual_seed(0)
    settings: dict[str, Any] = recipe.settings
    # Of a new network the entropy is nearly the largest there is: its change is lost in float32.
    method, images = AMCons(1, 128, **settings).eval().double(), images_of().double()
    losses = method.training_step(images)
    push = losses["loss"] - losses["reconstruction"] - method.kl_weight * losses["kl"]
    torch.autograd.backward(push)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=0.1)
        rise = float(method.training_step(images)["entropy"] - losses["entropy"].detach())
    assert abs(rise) > 1e-9
    assert (rise > 0) is rises


def test_entropy_is_of_the_pixels_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    activation = 3 * torch.rand(2, 1, 8, 8, generator=generator)
    inside = torch.rand(2, 1, 8, 8, generator=generator) > 0.4
    expected = [
        scipy.stats.entropy(torch.softmax(image[mask].double(), 0).numpy())
        for image, mask in zip(activation, inside, strict=True)
    ]
    found = entropy(activation, inside)
    torch.testing.assert_close(found, torch.tensor(expected).float())
    louder = torch.where(inside, activation, 100.0)
    assert torch.equal(entropy(louder, inside), found), "what lies outside does not count"


def test_entropy_is_highest_where_activation_is_even_and_finite_where_nothing_is_inside() -> None:
    everywhere, nowhere = torch.ones(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    even = torch.full((1, 1, 8, 8), 2.0)
    torch.testing.assert_close(entropy(even, everywhere), torch.tensor([64.0]).log())
    torch.testing.assert_close(entropy(even, nowhere), torch.tensor([64.0]).log())
    peaked = even.clone()
    peaked[0, 0, 3, 3] = 50
    assert entropy(peaked, everywhere).item() == pytest.approx(0, abs=1e-6)


def test_the_entropy_of_brain_images_is_that_of_their_tissue() -> None:
    images = images_of()
    inside, everywhere = (small(inside_foreground=switch).eval() for switch in (True, False))
    features = inside.first_stage(images)
    tissue = entropy(inside.attention(features), images > 0).mean()
    torch.testing.assert_close(inside.evenness(images, features), tissue)
    assert everywhere.evenness(images, features) > tissue + 0.1


def test_a_map_is_the_mean_of_the_first_stage_at_the_size_of_the_image() -> None:
    method, images = small().eval(), images_of()
    with torch.inference_mode():
        repeated = torch.cat(3 * [images], 1)
        features = method.stages[0](F.conv2d(repeated, method.stem.weight, None, 2, 3))
        expected = F.interpolate(features.mean(1, keepdim=True), (128, 128), mode="bilinear", align_corners=True)
        found = method.anomaly_map(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.min() >= 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_reconstruction_is_drawn_from_the_mean(channels: int) -> None:
    method, images = small(channels).eval(), images_of(channels)
    with torch.inference_mode():
        mean, _ = method.encode(method.first_stage(images))
        found = method.reconstruct(images)
        assert found is not None
        torch.testing.assert_close(found, torch.sigmoid(method.decoder(mean)))
    assert found.shape == images.shape


@pytest.mark.parametrize(
    ("name", "protocol", "maximise", "inside", "rule"),
    [
        ("amcons-camcan-t2", Protocol.SOUND, True, True, ScoreRule.MAXIMUM),
        ("amcons-camcan-t2", Protocol.STUDY, False, False, ScoreRule.MAXIMUM),
        ("amcons-chexpert", Protocol.SOUND, True, False, ScoreRule.MEAN),
        ("amcons-chexpert", Protocol.STUDY, False, False, ScoreRule.MEAN),
        ("amcons-ddr", Protocol.SOUND, True, False, ScoreRule.MAXIMUM),
        ("amcons-ddr", Protocol.STUDY, False, False, ScoreRule.MEAN),
    ],
)
def test_the_protocols_differ_in_entropy_and_in_the_fundus_score(
    name: str, protocol: Protocol, maximise: bool, inside: bool, rule: ScoreRule
) -> None:
    recipe = load_recipe(ModelId.parse(name), protocol)
    assert recipe.settings["maximise_entropy"] is maximise
    assert recipe.settings["inside_foreground"] is inside
    assert recipe.score_rule is rule
    assert not recipe.centred, "targets of a cross-entropy lie in [0, 1]"
