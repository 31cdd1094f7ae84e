"""Residuals by their names, and settings that had another name for them."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from upd_zoo.artefact.renamed import with_todays_names
from upd_zoo.errors import UsageError
from upd_zoo.layers.residual import RESIDUALS, AbsoluteResidual, residual_called
from upd_zoo.layers.similarity import SSIMResidual

SIDE = 32


def pair(count: int = 2, channels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return smooth images and what differs from them by noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    images = F.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return images, images + 0.1 * torch.randn(images.shape, generator=generator)


@pytest.mark.parametrize(("name", "dynamic_range"), [("ssim", 1.0), ("ssim-centred", 2.0), ("ssim-8-bit", 255.0)])
def test_the_names_of_ssim_stand_for_the_range_of_its_constants(name: str, dynamic_range: float) -> None:
    images, others = pair()
    expected = SSIMResidual(dynamic_range, SIDE)(images, others)
    assert torch.equal(residual_called(name, SIDE)(images, others), expected)


def test_the_absolute_residual_is_the_mean_over_channels() -> None:
    images, others = pair()
    expected = np.abs(images.numpy() - others.numpy()).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(residual_called("absolute", SIDE)(images, others).numpy(), expected, rtol=1e-6)


def test_its_median_is_scipys_to_the_last_pixel_of_the_border() -> None:
    images, others = pair()
    absolute = residual_called("absolute", SIDE)(images, others).numpy()
    expected = ndimage.median_filter(absolute, size=(1, 1, 5, 5), mode="nearest")
    np.testing.assert_array_equal(residual_called("absolute-median", SIDE)(images, others).numpy(), expected)


def test_the_median_forgives_a_line_and_keeps_a_blob() -> None:
    images = torch.zeros(1, 1, SIDE, SIDE)
    line, blob = images.clone(), images.clone()
    line[..., 10, :], blob[..., 10:20, 10:20] = 1, 1
    residual = AbsoluteResidual(5)
    assert not residual(line, images).any()
    assert (residual(blob, images)[..., 12:18, 12:18] == 1).all()


@pytest.mark.parametrize("name", RESIDUALS)
def test_every_residual_is_a_map_of_each_image_alone_that_is_0_where_nothing_differs(name: str) -> None:
    residual, (images, others) = residual_called(name, SIDE), pair(5)
    found = residual(images, others)
    assert (found.shape, found.dtype) == ((5, 1, SIDE, SIDE), torch.float32)
    torch.testing.assert_close(residual(images[2:3], others[2:3]), found[2:3], rtol=0, atol=1e-7)
    assert residual(images, images).abs().max() < 1e-9
    assert not residual.state_dict()


def test_an_unknown_residual_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean absolute"):
        residual_called("absolut", SIDE)


@pytest.mark.parametrize(
    ("span", "name"), [(1.0, "ssim"), (2.0, "ssim-centred"), (255.0, "ssim-8-bit"), (255, "ssim-8-bit")]
)
def test_a_dynamic_range_of_before_is_the_residual_that_it_meant(span: float, name: str) -> None:
    assert with_todays_names("r-vae", {"width": 8, "dynamic_range": span}) == {"width": 8, "residual": name}


@pytest.mark.parametrize("method", ["outside", None, ["vae"]])
def test_settings_of_other_packages_are_their_own(method: object) -> None:
    assert with_todays_names(method, {"dynamic_range": 1.0}) == {"dynamic_range": 1.0}


@pytest.mark.parametrize("value", [32.0, "1.0", [1.0], None])
def test_a_range_that_no_recipe_had_is_left_as_it_was_recorded(value: object) -> None:
    assert with_todays_names("vae", {"dynamic_range": value}) == {"dynamic_range": value}
