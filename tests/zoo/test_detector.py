"""What a detector makes of its map: smoothed, cut to tissue, which may be eroded, and pooled; alike in every format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from typing_extensions import override

from upd_zoo.detector import Detector
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.images.foreground import inside
from upd_zoo.layers.foreground import above_minimum, eroded
from upd_zoo.layers.smoothing import Smoothing, smoothing_matrix
from upd_zoo.method import Method, Prediction
from upd_zoo.runtime.eager import load_script
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import STUDY_SIDE, Foreground, ScoreRule

SIGMA, EROSION = 1.5, 3


class Bright(Method):
    """The toy whose map is the image and a half: not even background has none."""

    id = "bright"
    title = "Bright"

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": images.mean()}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        return images.mean(dim=1, keepdim=True) + 0.5


def detector(**changes: Any) -> Detector:
    rules = {"centred": False, "foreground": Foreground.ABOVE_MINIMUM, "score_rule": ScoreRule.MAXIMUM}
    return Detector(Bright(), **{**rules, **changes}).eval()


def heads(count: int, seed: int = 0) -> Tensor:
    """Return squares of random tissue on black, one of which the border of the image cuts off."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, 1, STUDY_SIDE, STUDY_SIDE)
    images[:, :, 20:100, 30:] = 0.2 + 0.8 * torch.rand(count, 1, 80, 98, generator=generator)
    return images


def test_smoothing_is_scipys_gaussian_filter_away_from_the_border() -> None:
    maps = heads(2)
    found = Smoothing(STUDY_SIDE, SIGMA)(maps).numpy()
    expected = ndimage.gaussian_filter(maps.double().numpy(), SIGMA, axes=(2, 3))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 6:-6, 6:-6], expected[..., 6:-6, 6:-6], rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, SIGMA, 40.0])
def test_a_constant_stays_constant_to_the_last_pixel_of_the_border(sigma: float) -> None:
    rows = smoothing_matrix(STUDY_SIDE, sigma).sum(dim=1)
    torch.testing.assert_close(rows, torch.ones(STUDY_SIDE), rtol=0, atol=1e-6)


def test_smoothing_computes_in_float32_whatever_the_networks_do() -> None:
    maps, smoothing = heads(1), Smoothing(STUDY_SIDE, SIGMA)
    with torch.autocast("cpu", torch.bfloat16):
        found = smoothing(maps)
    assert torch.equal(found, smoothing(maps))


@pytest.mark.parametrize("pixels", [0, 1, EROSION])
def test_erosion_is_scipys_and_the_same_for_arrays_as_in_the_graph(pixels: int) -> None:
    images = heads(2)
    images[0, 0, 60, 60] = 0  # a hole, around which tissue is lost too
    found = eroded(above_minimum(images), pixels)
    square = np.ones((2 * pixels + 1, 2 * pixels + 1), bool)
    expected = [ndimage.binary_erosion(image[0] > 0, square, border_value=1) for image in images.numpy()]
    np.testing.assert_array_equal(found[:, 0].numpy(), expected)
    np.testing.assert_array_equal(inside(images.numpy(), Foreground.ABOVE_MINIMUM, pixels), expected)


def test_a_map_is_smoothed_before_it_is_cut_to_tissue() -> None:
    images = heads(2)
    found = detector(smoothing=Smoothing(STUDY_SIDE, SIGMA))(images).anomaly_map
    smooth = Smoothing(STUDY_SIDE, SIGMA)(images + 0.5)
    torch.testing.assert_close(found, smooth.where(images > 0, 0.0), rtol=0, atol=0)


def test_the_rim_of_tissue_is_no_candidate_for_a_score_and_0_in_the_map() -> None:
    images = heads(1).clamp(max=0.9)
    images[0, 0, 20, 60] = 1.0  # on the rim
    rim = (images > 0) & ~eroded(above_minimum(images), EROSION)
    whole, found = detector()(images), detector(erosion=EROSION)(images)
    assert whole.score == 1.5
    assert found.score == (0.5 + images).where(~rim, 0.0).max() < 1.5
    assert (found.anomaly_map[rim] == 0).all()
    assert torch.equal(found.anomaly_map[~rim], whole.anomaly_map[~rim])


def test_where_erosion_leaves_no_tissue_nothing_is_anomalous() -> None:
    images = torch.zeros(1, 1, STUDY_SIDE, STUDY_SIDE)
    images[..., 60:64, 60:64] = 1
    prediction = detector(erosion=EROSION)(images)
    assert not prediction.anomaly_map.any()
    assert prediction.score == 0.5  # the least value of its map


@pytest.fixture(scope="module")
def treated() -> Detector:
    return detector(smoothing=Smoothing(STUDY_SIDE, SIGMA), erosion=EROSION)


def test_no_image_depends_on_its_neighbours(treated: Detector) -> None:
    images = heads(5)
    images[1] *= 1e-3
    alone = [treated(image[None]) for image in images]
    for whole, parts in zip(treated(images), zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)


def test_smoothing_and_erosion_are_part_of_every_format(treated: Detector, tmp_path: Path) -> None:
    write_torchscript(treated, tmp_path / "model.ts", 1, 128)
    write_onnx(treated, tmp_path / "model.onnx", 1, 128)
    script, predict = load_script(tmp_path / "model.ts"), onnx_predict(tmp_path / "model.onnx", "cpu", 1)
    for batch in (1, 3):
        images = heads(batch)
        expected: Prediction = treated(images)
        for found in (script(images), map(torch.from_numpy, predict(images.numpy()))):
            for each, other in zip(found, expected, strict=True):
                torch.testing.assert_close(each, other, rtol=0, atol=1e-6)
