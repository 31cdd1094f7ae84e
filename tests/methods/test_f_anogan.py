"""f-AnoGAN: its three networks, its losses, whose statistics it normalises by, and a score with the critic's eyes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fake.stores import draw_image, write_tiny_store
from upd_zoo.detector import Detector
from upd_zoo.errors import UsageError
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.methods.f_anogan import DownBlock, FAnoGAN, UpBlock
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.runtime.eager import as_predict, load_script
from upd_zoo.runtime.model import Predict
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import Foreground, Protocol, ScoreRule

BLIND = "critic.features.5.body.6.bias", "critic.features.5.shortcut.1.bias", "critic.answer.bias"


def small(channels: int = 1, **settings: object) -> FAnoGAN:
    """Return a small network whose norms do something."""
    torch.manual_seed(0)
    method = FAnoGAN(channels, 128, width=2, latent=5, **settings)  # type: ignore[arg-type]
    for norm in method.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return method


def images_of(channels: int = 1, count: int = 3) -> Tensor:
    generator = np.random.default_rng(5)
    return torch.from_numpy(np.stack([draw_image(channels, generator) for _ in range(count)]))


def statistics(method: FAnoGAN) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in method.generator.named_buffers()}


def in_study(name: str) -> FAnoGAN:
    recipe = load_recipe(ModelId.parse(name), Protocol.STUDY)
    method = create(recipe.method, recipe.domain.modality.channels, 128, recipe.settings)
    assert isinstance(method, FAnoGAN)
    return method


# The networks


def test_the_three_networks_have_the_studys_sizes_and_shapes() -> None:
    method = in_study("f-anogan-camcan-t2").eval()
    parts = {"generator": 9.786, "critic": 12.468, "encoder": 5.781}
    counts = {name: sum(parameter.numel() for parameter in method.get_submodule(name).parameters()) for name in parts}
    assert {name: round(count / 1e6, 3) for name, count in counts.items()} == parts
    assert round(sum(counts.values()) / 1e6, 3) == 28.036
    with torch.inference_mode():
        assert method.critic.features(images_of(count=1)).shape == (1, 8192)
        z = method.encoder(images_of(3, count=1))
        assert z.shape == (1, 128)
        assert method.generator(z).shape == (1, 1, 128, 128)


def test_an_encoder_reads_three_channels_the_others_those_of_the_image() -> None:
    method = in_study("f-anogan-ddr")
    shapes = {name: parameter.shape for name, parameter in method.named_parameters()}
    assert shapes["critic.features.0.weight"] == (64, 3, 3, 3)
    assert shapes["encoder.0.0.weight"] == (64, 3, 3, 3)
    assert small(1).encoder[0][0].in_channels == 3  # type: ignore[index]
    assert small(3).reconstruct(images_of(3)).shape == (3, 3, 128, 128)


def test_a_grey_image_is_coded_as_three_equal_channels() -> None:
    method, images = small().eval(), images_of()
    with torch.no_grad():
        expected = method.generator(method.encoder(images.repeat(1, 3, 1, 1)))
        torch.testing.assert_close(method.reconstruct(images), expected)
        assert method.encoder(images.repeat(1, 3, 1, 1)).abs().max() <= 1
    assert ((expected >= 0) & (expected <= 1)).all()


def test_weights_start_as_in_the_study() -> None:
    method = FAnoGAN(1, 128, width=16)
    convolution, linear = method.critic.features[4].body[2], method.encoder[1]  # type: ignore[index]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(linear, nn.Linear)
    assert float(convolution.weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    limit = (6 / (linear.in_features + linear.out_features)) ** 0.5
    assert 0.99 * limit < float(linear.weight.detach().abs().max()) <= limit
    biases = [p for name, p in method.named_parameters() if name.endswith("bias")]
    assert not any(bias.any() for bias in biases)


def normalised(values: Tensor, norm: nn.Module) -> Tensor:
    """Return what a norm makes of values, in evaluation mode, by its formula."""
    assert isinstance(norm, nn.BatchNorm2d | nn.LayerNorm)
    if isinstance(norm, nn.LayerNorm):
        dims = (1, 2, 3)
        unit = (values - values.mean(dims, keepdim=True)) / (values.var(dims, False, keepdim=True) + 1e-5).sqrt()
        return unit * norm.weight + norm.bias
    mean, variance, scale, shift = (
        tensor[:, None, None]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        if tensor is not None
    )
    answer: Tensor = (values - mean) / (variance + 1e-5).sqrt() * scale + shift
    return answer


def convolved(values: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(values, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def tiled(values: Tensor) -> Tensor:
    """Return maps of double side as the study makes them."""
    return F.pixel_shuffle(torch.cat([values] * 4, dim=1), 2)


def test_an_up_block_is_the_studys() -> None:
    block = small().eval().generator[3]
    assert isinstance(block, UpBlock)
    x = torch.rand(2, 16, 8, 8)
    first, _, widen, second, _, last = block.body
    body = convolved(tiled(normalised(x, first).clamp(min=0)), widen)
    expected = convolved(normalised(body, second).clamp(min=0), last) + convolved(tiled(x), block.shortcut)
    assert expected.shape == (2, 8, 16, 16)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_doubling_is_not_repeating_neighbours() -> None:
    x = torch.rand(1, 4, 2, 2)
    assert not torch.allclose(tiled(x), x.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert torch.equal(tiled(x)[0, 0, :2, :2].flatten(), x[0, :, 0, 0])


@pytest.mark.parametrize("network", ["critic", "encoder"])
def test_a_down_block_is_the_studys(network: str) -> None:
    method = small().eval()
    block = {"critic": method.critic.features[2], "encoder": method.encoder[0][2]}[network]  # type: ignore[index]
    assert isinstance(block, DownBlock)
    x = torch.rand(2, 4, 64, 64)
    first, _, spatial, second, _, _, last = block.body
    body = convolved(normalised(x, first).clamp(min=0), spatial)
    body = F.avg_pool2d(convolved(normalised(body, second).clamp(min=0), last), 2)
    expected = body + convolved(F.avg_pool2d(x, 2), block.shortcut[1])
    assert expected.shape == (2, 8, 32, 32)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_an_odd_width_cannot_be_shuffled() -> None:
    with pytest.raises(UsageError, match="width of 3"):
        FAnoGAN(1, 128, width=3)


# The adversaries


def test_the_critic_descends_wassersteins_distance_and_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    method, images, mixed = small(3, penalty_weight=7.0), images_of(3), []

    def note(images: Tensor) -> Tensor:
        mixed.append(images)
        return torch.tensor(0.25)

    monkeypatch.setattr(method, "gradient_penalty", note)
    torch.manual_seed(1)
    losses = method.critic_step(images)
    torch.manual_seed(1)
    fakes = method.generator(torch.randn(3, 5)).detach()
    distance = method.critic(images).mean() - method.critic(fakes).mean()
    torch.testing.assert_close(losses["distance"], distance)
    torch.testing.assert_close(losses["loss"], 7 * 0.25 - distance)
    shares = ((mixed[0] - fakes) / (images - fakes)).flatten(1)
    assert ((shares > 0) & (shares < 1)).all()
    assert shares.std(dim=1).max() < 1e-3, "one share per image"
    assert shares.mean(dim=1).std() > 0.05, "and another for the next"


def test_the_penalty_wants_gradients_of_length_one() -> None:
    method, images = small().double(), images_of().double()
    gradients = []
    for image in images:
        alone = image[None].clone().requires_grad_()
        method.critic(alone).backward()
        gradients.append(alone.grad.flatten().numpy())
    expected = np.mean([(np.sqrt((gradient**2).sum()) - 1) ** 2 for gradient in gradients])
    assert float(method.gradient_penalty(images).detach()) == pytest.approx(expected, rel=1e-9)


def test_the_penalty_is_descended_through_its_own_gradient() -> None:
    method, images = small().double(), images_of(count=2).double()
    for block in method.critic.features:
        if isinstance(block, DownBlock):
            block.body[1] = block.body[4] = nn.Softplus()  # a difference quotient needs what has no kinks
    weight = method.critic.get_parameter("features.2.body.2.weight")
    (slope,) = torch.autograd.grad(method.gradient_penalty(images), weight)
    direction, start, ends = torch.randn_like(weight), weight.detach().clone(), []
    for step in (1e-5, -1e-5):
        weight.data = start + step * direction
        ends.append(float(method.gradient_penalty(images).detach()))
    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_the_generator_descends_what_the_critic_says_of_its_fakes() -> None:
    method, images = small(), images_of()
    torch.manual_seed(1)
    loss = method.generator_step(images)["loss"]
    torch.manual_seed(1)
    torch.testing.assert_close(loss, -method.critic(method.generator(torch.randn(3, 5))).mean())


def test_the_generators_statistics_move_once_a_step() -> None:
    method, images = small().train(), images_of()
    before = statistics(method)
    method.critic_step(images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in statistics(method).items())
    method.generator_step(images)
    assert all(not torch.equal(buffer, before[name]) for name, buffer in statistics(method).items())
    assert all(module.training for module in method.modules())


@pytest.mark.parametrize("name", BLIND)
def test_losses_and_score_are_blind_to_what_is_fixed(name: str) -> None:
    images, answers = images_of(), []
    for value in (0.0, 3.0):
        method = small().eval()
        method.get_parameter(name).data.fill_(value)
        torch.manual_seed(1)
        losses = method.critic_step(images), method.training_step(images)
        answers.append([*(loss["loss"].detach() for loss in losses), method.score(images, torch.zeros(3)).detach()])
    torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-4)


def test_nothing_else_is_fixed() -> None:
    assert {name for name, parameter in small().named_parameters() if not parameter.requires_grad} == set(BLIND)


# The encoder


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_the_encoder_learns_from_a_generator_of_the_protocol(batch_statistics: bool) -> None:
    method, images = small(feature_weight=2.0, batch_statistics=batch_statistics).train(), images_of()
    reference = small(feature_weight=2.0).train()
    reference.generator.train(batch_statistics)
    drawn = reference.generator(reference.encoder(images.repeat(1, 3, 1, 1)))
    reconstruction = ((drawn - images) ** 2).mean()
    features = ((reference.critic.features(drawn) - reference.critic.features(images)) ** 2).mean()
    before = statistics(method)
    losses = method.training_step(images)
    torch.testing.assert_close(losses["reconstruction"], reconstruction)
    torch.testing.assert_close(losses["features"], features)
    torch.testing.assert_close(losses["loss"], reconstruction + 2 * features)
    assert all(torch.equal(buffer, before[name]) for name, buffer in statistics(method).items())
    assert all(module.training for module in method.modules())


def test_the_protocols_differ_in_what_the_encoder_learns_alone() -> None:
    images, sound, study = images_of(), small(batch_statistics=False), small(batch_statistics=True)
    assert torch.equal(sound.eval().anomaly_map(images), study.eval().anomaly_map(images))
    losses = [float(method.train().training_step(images)["loss"].detach()) for method in (sound, study)]
    assert abs(losses[0] - losses[1]) > 0.01


class PhaseByPhase(Trainer):
    """Notes the state of the method before each phase and after the last."""

    states: list[dict[str, Tensor]]

    def minimise(self, method: Any, *arguments: Any, **options: Any) -> None:
        self.states = getattr(self, "states", []) or [{k: v.clone() for k, v in method.state_dict().items()}]
        super().minimise(method, *arguments, **options)
        self.states.append({key: value.clone() for key, value in method.state_dict().items()})


@pytest.mark.parametrize("protocol", Protocol)
def test_first_the_adversaries_learn_then_the_encoder(protocol: Protocol, tmp_path: Path) -> None:
    recipe = load_recipe(ModelId.parse("f-anogan-phantom-t2"), protocol, "tiny", steps=1)
    store = write_tiny_store(tmp_path / "store", 1, 4)
    method, trainer = FAnoGAN(1, 128, **recipe.settings), PhaseByPhase(tmp_path, recipe, "cpu")  # type: ignore[arg-type]
    method.fit(Batches(store, 4, 0, centred=recipe.centred), trainer)
    start, adversaries, end = trainer.states
    moved = [
        {key.split(".")[0] for key in start if not torch.equal(before[key], after[key])}
        for before, after in [(start, adversaries), (adversaries, end)]
    ]
    assert moved == [{"critic", "generator"}, {"encoder"}]


# What is said of an image


def windowed(values: Tensor) -> Tensor:
    """Return means in an 11 x 11 Gaussian window, zeros beyond the border."""
    gaussian = torch.exp(-((torch.arange(11.0).double() - 5) ** 2) / (2 * 1.5**2))
    kernel = (gaussian[:, None] * gaussian / gaussian.sum() ** 2)[None, None]
    return F.conv2d(values.flatten(0, 1)[:, None], kernel, padding=5).view_as(values)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("residual", "dynamic_range"), [("ssim", 1.0), ("ssim-8-bit", 255.0)])
def test_a_map_is_one_minus_ssim(residual: str, dynamic_range: float, channels: int) -> None:
    method, images = small(channels, residual=residual).eval(), images_of(channels)
    with torch.no_grad():
        found, x, y = method.anomaly_map(images), images.double(), method.reconstruct(images).double()
    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mean_x, mean_y = windowed(x), windowed(y)
    variances = windowed(x * x) - mean_x**2 + windowed(y * y) - mean_y**2
    covariance = windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    ssim = luminance * (2 * covariance + c2) / (variances + c2)
    torch.testing.assert_close(found, (1 - ssim).clamp(0, 1).mean(1, keepdim=True).float(), rtol=1e-4, atol=1e-6)


def test_the_score_adds_what_the_critic_sees() -> None:
    method, images, pooled = small(3, feature_weight=0.5).eval(), images_of(3), torch.tensor([0.1, 0.2, 0.3])
    with torch.no_grad():
        score, drawn = method.score(images, pooled), method.reconstruct(images)
        seen = [method.critic.features(both).double().numpy() for both in (images, drawn)]
    expected = pooled.numpy() + 0.5 * np.mean((seen[0] - seen[1]) ** 2, axis=1)
    np.testing.assert_allclose(score.numpy(), expected, rtol=1e-5)
    assert (score > pooled).all()


# Recipe and files


@pytest.mark.parametrize(("name", "steps"), [("camcan-t1", 30_000), ("chexpert", 10_000), ("ddr", 10_000)])
@pytest.mark.parametrize("protocol", Protocol)
def test_the_recipe_is_the_studys(name: str, steps: int, protocol: Protocol) -> None:
    recipe = load_recipe(ModelId.parse(f"f-anogan-{name}"), protocol)
    gan, encoder = recipe.phases["gan"], recipe.phases["encoder"]
    assert [*recipe.phases] == ["gan", "encoder"]
    assert (gan.steps, encoder.steps, recipe.batch_size) == (steps, 10_000, 64)
    assert gan.optimiser == {"name": "Adam", "lr": 2e-4, "betas": [0.0, 0.9]}
    assert encoder.optimiser == {"name": "RMSprop", "lr": 5e-5}
    assert not recipe.centred
    assert recipe.settings["batch_statistics"] is (protocol is Protocol.STUDY)


@pytest.fixture
def detector() -> Detector:
    rule = ScoreRule.MAXIMUM
    return Detector(small(), centred=False, foreground=Foreground.ABOVE_MINIMUM, score_rule=rule).eval()


def assert_alike(predict: Predict, detector: Detector) -> None:
    for images in (images_of(count=3), images_of(count=1)):
        for found, expected in zip(predict(images.numpy()), as_predict(detector)(images.numpy()), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_a_script_says_what_the_detector_says(detector: Detector, tmp_path: Path) -> None:
    write_torchscript(detector, tmp_path / "model.ts", 1, 128)
    assert_alike(as_predict(load_script(tmp_path / "model.ts")), detector)


@pytest.mark.slow
def test_a_graph_says_the_same_and_draws_each_image_once(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(detector, path, 1, 128)
    assert_alike(onnx_predict(path, "cpu", 1), detector)
    operations = [node.op_type for node in onnx.load(path).graph.node]
    assert operations.count("Gemm") == 2, "the encoder's last layer and the generator's first, for map and score alike"
