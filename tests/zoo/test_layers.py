"""The bricks, against torch's own operators and against the formulas written out in float64."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from upd_zoo.errors import UsageError
from upd_zoo.images.foreground import inside
from upd_zoo.layers.backbone import STRIDES, FeatureBackbone
from upd_zoo.layers.encoder import tensors_sha256
from upd_zoo.layers.foreground import above_minimum
from upd_zoo.layers.resize import Resize, interpolation_matrix
from upd_zoo.layers.similarity import Dissimilarity, SSIMResidual
from upd_zoo.vocabulary import Foreground

Float64 = npt.NDArray[np.float64]
LIGHT = "test_resnet"
"""timm's smallest network with strides 4, 8 and 16."""


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("source", "target"), [(32, 128), (16, 128), (8, 128), (128, 32), (7, 128), (5, 5), (1, 9), (9, 1)]
)
def test_resize_is_torchs_bilinear_interpolation(source: int, target: int, align_corners: bool) -> None:
    maps = random_images(2, 3, source, source)
    expected = F.interpolate(maps.double(), (target, target), mode="bilinear", align_corners=align_corners)
    found = Resize(source, target, align_corners=align_corners)(maps)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-6)


def test_resize_computes_in_float32_whatever_the_networks_do() -> None:
    maps = random_images(2, 3, 32, 32)
    resize = Resize(32, 128, align_corners=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = resize(maps)
    assert torch.equal(found, resize(maps))


@pytest.mark.parametrize("align_corners", [True, False])
def test_interpolation_keeps_constants(align_corners: bool) -> None:
    rows = interpolation_matrix(13, 57, align_corners=align_corners).sum(dim=1)
    torch.testing.assert_close(rows, torch.ones(57), rtol=0, atol=1e-6)


def test_what_can_be_looked_up_is_not_stored() -> None:
    assert not Resize(8, 128, align_corners=True).state_dict()
    assert not SSIMResidual(1.0, 128).state_dict()


def local_mean(image: Float64, window: int = 11, sigma: float = 1.5) -> Float64:
    """Return the Gaussian-weighted mean around each pixel, one shifted copy of the padded image per window pixel."""
    half = window // 2
    offsets = np.arange(-half, half + 1)
    line = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = np.outer(line, line) / line.sum() ** 2
    padded = np.pad(image, half)
    height, width = image.shape
    mean = np.zeros_like(image)
    for row in range(window):
        for column in range(window):
            mean += weights[row, column] * padded[row : row + height, column : column + width]
    return mean


def one_minus_ssim(x: Float64, y: Float64, dynamic_range: float, window: int = 11, high: float = 1) -> Float64:
    """Return 1 − SSIM of two images as Wang et al. print it in equation 13, clamped to [0, high]."""
    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mean_x, mean_y = local_mean(x, window), local_mean(y, window)
    variance_x, variance_y = local_mean(x * x, window) - mean_x**2, local_mean(y * y, window) - mean_y**2
    covariance = local_mean(x * y, window) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return np.asarray(np.clip(1 - luminance * structure, 0, high))


@pytest.mark.parametrize("dynamic_range", [1.0, 2.0, 255.0])
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_ssim_is_the_printed_formula(dynamic_range: float, low: float) -> None:
    x, y = random_images(2, 3, 128, 128) * (1 - low) + low, random_images(2, 3, 128, 128, seed=1) * (1 - low) + low
    expected = np.stack(
        [
            np.mean([one_minus_ssim(a, b, dynamic_range) for a, b in zip(first, second, strict=True)], axis=0)
            for first, second in zip(x.double().numpy(), y.double().numpy(), strict=True)
        ]
    )
    found = SSIMResidual(dynamic_range, 128)(x, y)
    assert found.dtype == torch.float32
    assert found.shape == (2, 1, 128, 128)
    assert found[:, 0].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_dissimilarity_in_float32_is_the_formula_even_of_large_features(scale: float) -> None:
    x = random_images(1, 1, 32, 32).sub(0.3).clamp(min=0) * scale
    y = random_images(1, 1, 32, 32, seed=1) * scale - x
    found = Dissimilarity(1.0, 32, 5, dtype=torch.float32)(x, y)
    expected = one_minus_ssim(x[0, 0].double().numpy(), y[0, 0].double().numpy(), 1.0, window=5, high=2)
    assert found.dtype == torch.float32
    assert expected.max() > 1, "else clamping at 1 would pass"
    assert found[0, 0].numpy() == pytest.approx(expected, abs=2e-5)


def test_dissimilarity_of_large_constants_has_a_finite_gradient() -> None:
    x = torch.full((1, 2, 32, 32), 300.0)
    y = torch.full((1, 2, 32, 32), 301.0, requires_grad=True)
    Dissimilarity(1.0, 32, 5, dtype=torch.float32)(x, y).mean().backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_a_shift_too_small_for_float32_is_still_seen() -> None:
    x = random_images(1, 1, 128, 128) * 0.01 + 0.5
    y = x + 2e-4
    expected = one_minus_ssim(x[0, 0].double().numpy(), y[0, 0].double().numpy(), 255.0)
    inner = (slice(16, -16), slice(16, -16))
    assert expected[inner].max() < np.finfo(np.float32).eps, "else the plain formula could see it too"
    assert SSIMResidual(255.0, 128)(x, y)[0, 0].numpy()[inner] == pytest.approx(expected[inner], rel=0.02)


def test_the_range_of_the_data_decides_how_different_images_are() -> None:
    black, grey = torch.zeros(1, 1, 128, 128), torch.full((1, 1, 128, 128), 0.5)
    sound, study = SSIMResidual(1.0, 128)(black, grey)[0, 0], SSIMResidual(255.0, 128)(black, grey)[0, 0]
    assert sound.min() > 0.99
    assert study[64, 64].item() == pytest.approx(0.25 / (0.25 + 2.55**2), rel=1e-5)


def test_an_image_does_not_differ_from_itself() -> None:
    images = random_images(2, 3, 128, 128)
    assert SSIMResidual(1.0, 128)(images, images).abs().max() < 1e-9


def test_ssim_reaches_as_far_as_its_window() -> None:
    x = random_images(1, 1, 128, 128)
    y = x.clone()
    y[0, 0, 60, 70] += 0.5
    touched = torch.nonzero(SSIMResidual(1.0, 128)(x, y)[0, 0] > 1e-9)
    assert touched.amin(dim=0).tolist() == [55, 65]
    assert touched.amax(dim=0).tolist() == [65, 75]


def test_ssim_of_one_image_does_not_depend_on_its_neighbours() -> None:
    x, y = random_images(5, 3, 128, 128), random_images(5, 3, 128, 128, seed=1)
    residual = SSIMResidual(1.0, 128)
    torch.testing.assert_close(residual(x[2:3], y[2:3]), residual(x, y)[2:3], rtol=0, atol=1e-7)


@pytest.fixture(scope="module")
def backbone() -> FeatureBackbone:
    """A light backbone with random weights."""
    torch.manual_seed(0)
    return FeatureBackbone(LIGHT, 128)


@pytest.mark.parametrize("name", [LIGHT, "test_efficientnet", "mobilenetv2_100", "resnet18", "convnext_atto"])
@pytest.mark.parametrize("channels", [1, 3])
def test_levels_have_the_shapes_that_are_promised(name: str, channels: int) -> None:
    backbone = FeatureBackbone(name, 128)
    levels = backbone(random_images(2, channels, 128, 128))
    assert [level.shape for level in levels] == [
        (2, width, side, side) for width, side in zip(backbone.channels, backbone.sides, strict=True)
    ]
    assert backbone.sides == tuple(128 // stride for stride in STRIDES)


def test_wide_resnet_has_the_studys_levels() -> None:
    assert FeatureBackbone("wide_resnet50_2", 128).channels == (256, 512, 1024)


def test_grey_is_repeated_to_three_channels(backbone: FeatureBackbone) -> None:
    grey = random_images(1, 1, 128, 128)
    assert all(map(torch.equal, backbone(grey), backbone(grey.repeat(1, 3, 1, 1))))


def test_a_backbone_is_frozen_and_stays_in_evaluation_mode(backbone: FeatureBackbone) -> None:
    before = tensors_sha256(backbone.state_dict())
    torch.nn.Sequential(backbone).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    backbone(random_images(4, 3, 128, 128))
    assert tensors_sha256(backbone.state_dict()) == before, "running statistics moved"


def test_a_gradient_passes_through_a_frozen_backbone(backbone: FeatureBackbone) -> None:
    images = random_images(1, 1, 128, 128).requires_grad_()
    sum(level.mean() for level in backbone(images)).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("strides", [(2, 4, 8), (8, 16, 32), (32,)])
def test_levels_of_other_strides_can_be_asked_for(strides: tuple[int, ...]) -> None:
    backbone = FeatureBackbone(LIGHT, 128, strides)
    assert [level.shape[-1] for level in backbone(random_images(1, 1, 128, 128))] == [128 // s for s in strides]


def test_what_only_deeper_levels_need_is_left_out() -> None:
    parameters = FeatureBackbone("resnet18", 128, (2, 4, 8)).parameters()
    assert sum(parameter.numel() for parameter in parameters) == 683_072


@pytest.mark.parametrize("strides", [(4, 8, 64), (3,)])
def test_a_stride_that_a_network_lacks_is_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=rf"strides \[2, 4, 8, 16, 32\].*{strides[-1]}"):
        FeatureBackbone(LIGHT, 128, strides)


def test_a_backbone_that_adapts_learns_the_statistics_of_its_images_and_nothing_else() -> None:
    backbone = FeatureBackbone(LIGHT, 128, adapts=True)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone.eval()(random_images(4, 3, 128, 128))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    trained = [level.clone() for level in backbone.train()(random_images(4, 3, 128, 128))]
    moved = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "running" in name or "tracked" in name}
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(map(torch.equal, trained, backbone.eval()(random_images(4, 3, 128, 128))))


def test_only_batch_normalisation_adapts() -> None:
    backbone = FeatureBackbone("convnext_atto", 128, adapts=True).train()
    assert not any(module.training for module in backbone.modules()), "it has no batch normalisation"


def test_reflection_is_what_torch_pads_with() -> None:
    torch.manual_seed(0)
    backbone = FeatureBackbone("resnet18", 128, (2,), padding="reflect")
    images = random_images(2, 3, 128, 128)
    stem = backbone.network
    mirrored = F.conv2d(F.pad(images, (3, 3, 3, 3), mode="reflect"), stem.conv1.weight, stride=2)
    torch.testing.assert_close(backbone(images)[0], F.relu(stem.bn1(mirrored)))


def test_padding_changes_borders_and_no_names() -> None:
    zeros, reflect = FeatureBackbone(LIGHT, 128), FeatureBackbone(LIGHT, 128, padding="reflect")
    reflect.load_state_dict(zeros.state_dict())
    images = random_images(1, 1, 128, 128)
    difference = (zeros(images)[0] - reflect(images)[0]).abs()[0].amax(0)
    assert difference[0].min() > 0
    assert difference[8:-8, 8:-8].max() < 1e-6


@pytest.mark.parametrize(
    ("name", "padding", "message"),
    [
        (LIGHT, "mirror", "Accepted: zeros, reflect"),
        ("tf_efficientnet_b0", "reflect", "Conv2dSame"),
        ("nf_resnet26", "reflect", "ScaledStdConv2d"),
    ],
)
def test_padding_that_cannot_be_is_refused(name: str, padding: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FeatureBackbone(name, 128, padding=padding)


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Did you mean .*wide_resnet50_2"):
        FeatureBackbone("wide_resnet_50_2", 128)


def test_a_name_near_to_nothing_gets_a_short_answer() -> None:
    with pytest.raises(UsageError) as caught:
        FeatureBackbone("!!!", 128)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "inception_v3", "swin_tiny_patch4_window7_224"])
def test_a_network_without_the_three_levels_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        FeatureBackbone(name, 128)


@pytest.mark.parametrize("channels", [1, 3])
def test_tissue_is_the_same_inside_a_graph_and_for_arrays(channels: int) -> None:
    images = np.random.default_rng(0).uniform(0.1, 1, (3, channels, 16, 16)).astype(np.float32)
    images[..., :5] = 0
    images[1, 0, 2, 2] = 0.5  # one channel of a pixel of the background
    shown = inside(images, Foreground.ABOVE_MINIMUM)
    np.testing.assert_array_equal(shown, above_minimum(torch.from_numpy(images))[:, 0].numpy())
    assert shown[1, 2, 2]
    assert not shown[0, :, :5].any()
