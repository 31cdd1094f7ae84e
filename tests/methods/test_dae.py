"""DAE, against its formulas written out with numpy, scipy and torch's own operators."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from upd_zoo.fitting.schedule import rate_factor
from upd_zoo.layers.resize import Resize
from upd_zoo.methods.dae import DAE, GroupNorm, Noise, StandardisedConv2d, UNet, apply_noise, draw_noise, spread_noise
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import Protocol

UPSAMPLE = Resize(16, 128, align_corners=True)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def brains(count: int = 2, channels: int = 1) -> Tensor:
    """Return images of random tissue in a black frame."""
    tissue = 0.2 + 0.6 * torch.rand(count, channels, 96, 96, generator=seeded(7))
    return F.pad(tissue, (16, 16, 16, 16))


def tiny(channels: int = 1, **settings: Any) -> DAE:
    torch.manual_seed(3)
    return DAE(channels, 128, width=4, depth=2, **settings).eval()


def one_minus_ssim(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], dynamic_range: float) -> Tensor:
    """Return 1 − SSIM of two (H, W) images by Wang's formula, as it stands in the paper."""

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, 1.5, mode="constant", truncate=5 / 1.5))

    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    ssim = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return torch.from_numpy(np.clip(1 - ssim, 0, 1)).float()


@pytest.mark.parametrize("name", ["dae-camcan-t1", "dae-chexpert", "dae-ddr"])
def test_the_network_has_the_studys_size(name: str) -> None:
    recipe = load_recipe(ModelId.parse(name), Protocol.STUDY)
    method = create(recipe.method, recipe.domain.modality.channels, 128, recipe.settings)
    assert round(sum(parameter.numel() for parameter in method.parameters()) / 1e6, 3) == 7.703


def test_the_deepest_level_is_512_channels_of_16_pixels() -> None:
    with torch.no_grad():
        levels = UNet(3, 1, 64, 4).encode(torch.zeros(1, 3, 128, 128))
    assert [tuple(level.shape) for level in levels] == [
        (1, 64, 128, 128),
        (1, 128, 64, 64),
        (1, 256, 32, 32),
        (1, 512, 16, 16),
    ]


def test_channels_are_normalised_in_as_many_groups_as_the_middle_divisor() -> None:
    groups = {
        norm.num_channels: norm.num_groups for norm in UNet(3, 1, 64, 4).modules() if isinstance(norm, nn.GroupNorm)
    }
    assert groups == {64: 8, 128: 16, 256: 16, 512: 32}


def test_a_convolution_standardises_its_filters_and_reflects_at_the_borders() -> None:
    convolution = StandardisedConv2d(2, 3)
    image = torch.rand(2, 6, 5, generator=seeded())
    weight = convolution.weight.detach().double().numpy()
    deviation = weight.reshape(3, -1).std(axis=1, ddof=1)[:, None, None, None]
    weight = (weight - weight.mean(axis=(1, 2, 3), keepdims=True)) / (deviation + 1e-5)
    padded = np.pad(image.double().numpy(), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("ihwrc,oirc->ohw", windows, weight)
    expected += convolution.bias.detach().numpy()[:, None, None]  # type: ignore[union-attr]
    found = convolution(image[None])[0].detach()
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_groups_are_normalised_as_torch_does(training: bool) -> None:
    norm, features = GroupNorm(12), torch.rand(2, 12, 5, 5, generator=seeded())
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, 12))
        norm.bias.copy_(torch.linspace(-1, 1, 12))
    norm.train(training)
    torch.testing.assert_close(norm(features), F.group_norm(features, 4, norm.weight, norm.bias))


def test_a_block_is_convolution_then_swish_then_norm_twice() -> None:
    block = UNet(3, 1, 4, 2).down[0]
    kinds = [type(module) for module in block.modules() if not isinstance(module, nn.Sequential)]
    assert kinds == 2 * [StandardisedConv2d, nn.SiLU, GroupNorm]


def test_noise_is_upsampled_and_then_rolled() -> None:
    coarse = torch.randn(3, 2, 16, 16, generator=seeded())
    shift = torch.tensor([[0, 0], [5, 127], [64, 3]])
    fine = F.interpolate(coarse, (128, 128), mode="bilinear", align_corners=True)
    rolled = [torch.roll(field, tuple(by.tolist()), (-2, -1)) for field, by in zip(fine, shift, strict=True)]
    torch.testing.assert_close(spread_noise(Noise(coarse, shift), UPSAMPLE), torch.stack(rolled), rtol=0, atol=1e-5)
    together = spread_noise(Noise(coarse, shift[1:2]), UPSAMPLE)
    torch.testing.assert_close(together, torch.roll(fine, (5, 127), (-2, -1)), rtol=0, atol=1e-5)


def test_noise_is_drawn_for_each_image_and_channel() -> None:
    images = torch.zeros(64, 3, 128, 128)
    coarse, shift = draw_noise(images, 16, 0.0, 0.2, generator=seeded())
    assert coarse.shape == (64, 3, 16, 16)
    assert shift.shape == (64, 2)
    assert abs(coarse.mean()) < 0.005
    assert coarse.std() == pytest.approx(0.2, rel=0.02)
    assert len({tuple(field.tolist()) for field in coarse.reshape(64 * 3, -1)}) == 64 * 3
    assert 0 <= shift.min() < 16
    assert 112 <= shift.max() < 128
    again = draw_noise(images, 16, 0.0, 0.2, generator=seeded())
    assert all(map(torch.equal, again, (coarse, shift)))


def test_one_shift_may_serve_a_batch_as_in_the_study() -> None:
    images = torch.zeros(8, 1, 128, 128)
    own = draw_noise(images, 16, 0.0, 0.2, generator=seeded())
    shared = draw_noise(images, 16, 0.0, 0.2, shared_shift=True, generator=seeded())
    assert torch.equal(own.coarse, shared.coarse)
    assert shared.shift.shape == (1, 2)
    assert len({tuple(shift) for shift in own.shift.tolist()}) == 8


def test_the_studys_noise_on_fundus_images_is_centred_with_them() -> None:
    images = torch.zeros(4, 3, 128, 128)
    settings = {
        protocol: load_recipe(ModelId.parse("dae-ddr"), protocol).settings
        for protocol in (Protocol.STUDY, Protocol.SOUND)
    }
    study, sound = (
        draw_noise(images, 16, float(own["noise_mean"]), float(own["noise_std"]), generator=seeded()).coarse  # type: ignore[arg-type]
        for own in settings.values()
    )
    unit = torch.empty(4, 3, 16, 16).normal_(0, 0.2, generator=seeded())
    torch.testing.assert_close(study, (unit - 0.5) * 2)
    torch.testing.assert_close(sound, unit * 2)


@pytest.mark.parametrize("centred", [False, True])
def test_noise_falls_on_tissue_only_and_is_not_clipped(centred: bool) -> None:
    images = brains() * 2 - 1 if centred else brains()
    noise = draw_noise(images, 16, 0.0, 1.0, generator=seeded())
    noisy = apply_noise(images, noise, UPSAMPLE, inside_foreground=True)
    tissue = brains() > 0
    assert torch.equal(noisy[~tissue], images[~tissue])
    torch.testing.assert_close(noisy[tissue], (images + spread_noise(noise, UPSAMPLE))[tissue])
    assert noisy.min() < -1.2
    assert noisy.max() > 1.2
    everywhere = apply_noise(images, noise, UPSAMPLE, inside_foreground=False)
    torch.testing.assert_close(everywhere, images + spread_noise(noise, UPSAMPLE))


@pytest.mark.parametrize("settings", [{}, {"shared_shift": True}, {"inside_foreground": False, "noise_mean": -1.0}])
def test_the_loss_is_the_squared_error_after_removing_noise(settings: dict[str, Any]) -> None:
    method, images = tiny(1, **settings), brains()
    torch.manual_seed(11)
    loss = method.training_step(images)["loss"]
    torch.manual_seed(11)
    coarse = torch.empty(2, 1, 16, 16).normal_(settings.get("noise_mean", 0.0), 0.2)
    shift = torch.randint(128, (1 if settings.get("shared_shift") else 2, 2)).expand(2, 2)
    fine = F.interpolate(coarse, (128, 128), mode="bilinear", align_corners=True)
    noise = torch.stack(
        [torch.roll(field, tuple(by.tolist()), (-2, -1)) for field, by in zip(fine, shift, strict=True)]
    )
    if settings.get("inside_foreground", True):
        noise[images == 0] = 0
    restored = method.network((images + noise).repeat(1, 3, 1, 1))
    torch.testing.assert_close(loss, ((restored - images) ** 2).mean())


def test_background_that_is_kept_has_no_part_in_loss_and_residual() -> None:
    images, everywhere, inside = brains(), tiny(residual="absolute"), tiny(residual="absolute", keep_background=True)
    tissue = images > 0
    with torch.no_grad():
        restored, kept = everywhere.reconstruct(images), inside.reconstruct(images)
        assert torch.equal(kept[tissue], restored[tissue])
        assert torch.equal(kept[~tissue], images[~tissue])
        assert (restored[~tissue] != images[~tissue]).any()
        assert inside.anomaly_map(images)[~tissue].max() == 0
    torch.manual_seed(11)
    loss = inside.training_step(images)["loss"]
    torch.manual_seed(11)
    restored = inside.network(inside.corrupt(images).repeat(1, 3, 1, 1))
    torch.testing.assert_close(loss, ((restored - images) ** 2 * tissue).mean())


@pytest.mark.parametrize("name", ["dae-camcan-t2", "dae-chexpert", "dae-ddr"])
def test_background_is_kept_on_brains_and_never_by_the_study(name: str) -> None:
    model = ModelId.parse(name)
    assert load_recipe(model).settings["keep_background"] is (name == "dae-camcan-t2")
    assert load_recipe(model, Protocol.STUDY).settings["keep_background"] is False


def test_the_noise_of_training_can_be_seen() -> None:
    images = brains(3)
    torch.manual_seed(5)
    pictures = tiny().synthetic(images)
    assert set(pictures) == {"noisy"}
    noise = pictures["noisy"] - images
    assert (noise[images == 0] == 0).all()
    assert noise[images > 0].std() > 0.05


@pytest.mark.parametrize(("residual", "dynamic_range"), [("ssim", 1.0), ("ssim-8-bit", 255.0)])
def test_the_map_is_the_ssim_of_the_clean_image_and_what_is_made_of_it(residual: str, dynamic_range: float) -> None:
    method, images = tiny(channels=3, residual=residual), brains(1, 3)
    with torch.no_grad():
        restored, anomaly_map = method.reconstruct(images), method.anomaly_map(images)
    pairs = zip(images[0].double().numpy(), restored[0].double().numpy(), strict=True)
    expected = torch.stack([one_minus_ssim(x, y, dynamic_range) for x, y in pairs]).mean(0)
    torch.testing.assert_close(anomaly_map[0, 0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["dae-camcan-t2", "dae-chexpert", "dae-ddr"])
def test_noise_is_as_strong_for_every_modality(name: str) -> None:
    recipe = load_recipe(ModelId.parse(name))
    data_range = 2.0 if recipe.centred else 1.0
    assert recipe.settings["noise_std"] == 0.2 * data_range
    assert recipe.settings["inside_foreground"] is (name == "dae-camcan-t2")


def test_the_learning_rate_falls_to_nothing_and_rises_again() -> None:
    phase = load_recipe(ModelId.parse("dae-camcan-t2"), Protocol.STUDY).phases["main"]
    expected = [(1 + math.cos(math.pi * epoch / 100)) / 2 for epoch in range(313)]
    found = [rate_factor(phase.schedule, step) for step in range(0, phase.steps, 32)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[100] == pytest.approx(0)
    assert found[200] == pytest.approx(1)
    assert phase.optimiser["lr"] * found[-1] == pytest.approx(3.5e-6, rel=0.02)  # type: ignore[operator]
