"""RD, against its formulas written out; `tests/oracle` compares it with another implementation."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upd_zoo.errors import UsageError
from upd_zoo.methods.rd import RD, Bottleneck, OneClassBottleneck, Student
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import DOMAINS, Protocol

LIGHT = "test_resnet"
WIDE = (256, 512, 1024)
"""Channels of the study's teacher at strides 4, 8 and 16."""


@pytest.fixture
def method() -> RD:
    torch.manual_seed(0)
    return RD(1, 128, backbone=LIGHT).eval()


def images(count: int, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 128, 128, generator=torch.Generator().manual_seed(1))


def cosine(a: Tensor, b: Tensor, dim: int) -> Tensor:
    a, b = a.double(), b.double()
    lengths = (a * a).sum(dim).sqrt() * (b * b).sum(dim).sqrt()
    return (a * b).sum(dim) / lengths


def shaken(module: nn.Module) -> nn.Module:
    """Return a module in evaluation mode whose statistics and affines are not those that it starts with."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.dim() == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module.eval()


def normalised(layers: nn.Module, maps: Tensor) -> Tensor:
    """Return what a convolution and the norm after it, the first two of these layers, make of maps."""
    convolution, norm = list(layers.children())[:2]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    return F.batch_norm(convolution(maps), norm.running_mean, norm.running_var, norm.weight, norm.bias)


def test_the_loss_compares_whole_levels(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(3))
        losses = method.training_step(images(3))
    expected = [(1 - cosine(a.flatten(1), b.flatten(1), 1)).mean().float() for a, b in zip(taught, drawn, strict=True)]
    assert set(losses) == {"loss", "level_1", "level_2", "level_3"}
    for number, loss in enumerate(expected, start=1):
        torch.testing.assert_close(losses[f"level_{number}"], loss)
    torch.testing.assert_close(losses["loss"], torch.stack(expected).sum())


def test_every_image_counts_alike_in_the_loss(method: RD) -> None:
    x = images(3) * torch.tensor([0.1, 1.0, 3.0]).view(3, 1, 1, 1)
    with torch.no_grad():
        alone = [method.training_step(x[number : number + 1])["loss"] for number in range(3)]
        torch.testing.assert_close(method.training_step(x)["loss"], torch.stack(alone).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_map_adds_up_what_differs_at_each_position(method: RD, channels: int) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(2, channels))
        found = method.anomaly_map(images(2, channels))
    expected = torch.zeros(2, 1, 128, 128, dtype=torch.float64)
    for a, b in zip(taught, drawn, strict=True):
        distance = (1 - cosine(a, b, 1)).unsqueeze(1)
        expected += F.interpolate(distance, (128, 128), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("factor", "value"), [(0.2, 0.0), (-3.0, 6.0)])
def test_the_map_is_0_where_the_student_points_like_the_teacher_and_6_where_against(
    method: RD, monkeypatch: pytest.MonkeyPatch, factor: float, value: float
) -> None:
    levels = [torch.rand(1, 5, side, side) + 0.1 for side in method.backbone.sides]
    monkeypatch.setattr(method, "levels", lambda _: (levels, [factor * level for level in levels]))
    torch.testing.assert_close(method.anomaly_map(images(1)), torch.full((1, 1, 128, 128), value), rtol=0, atol=1e-5)
    torch.testing.assert_close(method.training_step(images(1))["loss"], torch.tensor(value), rtol=0, atol=1e-5)


def test_each_level_reaches_the_map_and_only_where_it_differs(method: RD, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, side in enumerate(method.backbone.sides):
        taught = [torch.rand(1, 5, other, other) + 0.1 for other in method.backbone.sides]
        drawn = [level.clone() for level in taught]
        drawn[number][..., side - 2 :, side - 2 :] *= -1
        monkeypatch.setattr(method, "levels", lambda _, pair=(taught, drawn): pair)
        found = method.anomaly_map(images(1))[0, 0]
        assert found[-1, -1] == pytest.approx(2, abs=1e-5)
        assert found[:64, :64].abs().max() < 1e-5


def test_a_map_draws_nothing_and_leaves_no_trace(method: RD) -> None:
    state, before = torch.get_rng_state(), {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(method.anomaly_map(images(2)), method.anomaly_map(images(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_grey_images_are_repeated_to_three_channels(method: RD) -> None:
    with torch.no_grad():
        grey, colour = (method.anomaly_map(x) for x in (images(1), images(1).repeat(1, 3, 1, 1)))
    assert torch.equal(grey, colour)


def test_the_student_draws_levels_of_the_teachers_shapes(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(2))
    assert [level.shape for level in drawn] == [level.shape for level in taught]


def test_the_code_has_twice_the_channels_of_the_deepest_level_and_4_pixels(method: RD) -> None:
    with torch.no_grad():
        code = method.bottleneck(method.backbone(images(1)))
    assert code.shape == (1, 2 * method.backbone.channels[2], 4, 4)


def test_no_layer_is_there_for_nothing() -> None:
    with torch.device("meta"):
        squeeze, student = OneClassBottleneck(WIDE), Student(WIDE)
    sizes = [sum(parameter.numel() for parameter in part.parameters()) for part in (squeeze, student)]
    # The reference counts 67.278 with the unused convolution of 8.393, its norm included.
    assert [round(size / 1e6, 3) for size in sizes] == [58.885, 24.918]
    assert [len(stage) for stage in (student.to_deep, student.to_middle, student.to_shallow)] == [3, 4, 6]


@pytest.mark.parametrize(
    ("inputs", "outputs", "change", "width"),
    [(6, 6, "keep", 64), (6, 160, "down", 80), (6, 10, "up", 64)],
)
def test_a_block_is_three_convolutions_and_a_shortcut(inputs: int, outputs: int, change: str, width: int) -> None:
    block = Bottleneck(inputs, outputs, change)
    shaken(block)
    maps = torch.randn(2, inputs, 4, 4, generator=torch.Generator().manual_seed(3))
    body, sides = list(block.body), {"keep": 4, "down": 2, "up": 8}
    squeezed = F.relu(normalised(nn.Sequential(*body[:2]), maps))
    assert squeezed.shape == (2, width, 4, 4)
    moved = F.relu(normalised(nn.Sequential(*body[3:5]), squeezed))
    assert moved.shape == (2, width, sides[change], sides[change])
    widened = normalised(nn.Sequential(*body[6:]), moved)
    past = maps if change == "keep" else normalised(block.shortcut, maps)
    torch.testing.assert_close(block(maps), F.relu(widened + past))
    kernels = {"keep": [(3, 3)], "down": [(3, 3), (1, 1)], "up": [(2, 2), (2, 2)]}
    shortcut = [] if change == "keep" else [next(block.shortcut.children())]
    assert [layer.kernel_size for layer in (body[3], *shortcut)] == kernels[change]
    assert all(layer.bias is None for layer in block.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))


def test_shallow_levels_are_halved_to_the_side_of_the_deepest_and_then_squeezed_together() -> None:
    squeeze = OneClassBottleneck((2, 3, 4))
    shaken(squeeze)
    levels = [torch.randn(2, width, side, side) for width, side in ((2, 16), (3, 8), (4, 4))]
    first, second = squeeze.from_shallow
    shallow = F.relu(normalised(second, F.relu(normalised(first, levels[0]))))
    middle = F.relu(normalised(squeeze.from_middle, levels[1]))
    expected = squeeze.squeeze(torch.cat((shallow, middle, levels[2]), dim=1))
    assert expected.shape == (2, 8, 2, 2)
    torch.testing.assert_close(squeeze(levels), expected)


def test_the_student_draws_the_deepest_level_first(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(2))
        deep = method.student.to_deep(method.bottleneck(taught))
        middle = method.student.to_middle(deep)
        for level, expected in zip(drawn, (method.student.to_shallow(middle), middle, deep), strict=True):
            torch.testing.assert_close(level, expected)


def test_all_that_the_student_knows_of_an_image_is_the_code(method: RD, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        code = method.bottleneck(method.backbone(images(1)))
        expected = method.student(code)
        monkeypatch.setattr(method.bottleneck, "forward", lambda _: code)
        _, drawn = method.levels(1 - images(1))
    assert all(map(torch.equal, drawn, expected))


def test_convolutions_start_as_kaiming_draws_them_and_norms_as_identities(method: RD) -> None:
    layers = [*method.bottleneck.modules(), *method.student.modules()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            # torch takes the first axis of a weight for its outputs, which in transposed convolutions are the inputs.
            deviation = math.sqrt(2 / (layer.weight.shape[0] * math.prod(layer.kernel_size)))
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.1)
            assert abs(float(layer.weight.detach().mean())) < 0.1 * deviation
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()


def test_the_teacher_neither_learns_nor_counts(method: RD) -> None:
    method.train()
    before = {name: tensor.clone() for name, tensor in method.backbone.state_dict().items()}
    torch.autograd.backward(method.training_step(images(3))["loss"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    assert not any(parameter.requires_grad for parameter in method.backbone.parameters())


def test_every_parameter_of_bottleneck_and_student_learns(method: RD) -> None:
    torch.autograd.backward(method.train().training_step(images(3))["loss"])
    for part in (method.student, method.bottleneck):
        for parameter in part.parameters():
            assert parameter.grad is not None
            assert parameter.grad.any()


def test_in_training_the_teacher_alone_stays_in_evaluation_mode(method: RD) -> None:
    taught = method.backbone(images(3))
    method.train()
    assert not any(module.training for module in method.backbone.modules())
    assert all(module.training for part in (method.student, method.bottleneck) for module in part.modules())
    assert all(map(torch.equal, method.backbone(images(3)), taught))


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_study_ends_in_relus_and_resizes_corner_to_corner(domain: str) -> None:
    sound, study = (load_recipe(ModelId("rd", None, domain), p) for p in (Protocol.SOUND, Protocol.STUDY))
    assert {**sound.settings, "linear_ends": False, "placement": "corners", "normalise": False} == study.settings
    assert (sound.settings["linear_ends"], sound.settings["placement"]) == (True, "looked-at")
    assert sound.phases == study.phases


@pytest.mark.parametrize(("backbone", "signed"), [("mobilenetv2_100", True), (LIGHT, False)])
def test_a_student_draws_negative_numbers_where_its_teachers_levels_have_some(backbone: str, signed: bool) -> None:
    torch.manual_seed(0)
    for linear_ends in (True, False):
        method = RD(1, 128, backbone=backbone, linear_ends=linear_ends).eval()
        with torch.no_grad():
            taught, drawn = method.levels(images(1))
        assert [bool((level < 0).any()) for level in taught] == [signed] * 3
        assert [bool((level < 0).any()) for level in drawn] == [signed and linear_ends] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "wide_resnet_50_2"}, "Did you mean .*wide_resnet50_2"),
        ({"backbone": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
        ({"smoothing": 4.0}, "smoothing"),
    ],
)
def test_a_teacher_without_the_three_levels_and_settings_that_it_has_not_are_refused(
    settings: dict[str, str | float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        create("rd", 1, 128, settings)
