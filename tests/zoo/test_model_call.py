"""What a model takes: the same of every backend, said in one sentence where it is something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake.stores import draw_image
from fake.trained import COLOUR, GREY, trained_artefact
from upd_zoo.errors import UsageError
from upd_zoo.runtime.folder import FILES, load_folder
from upd_zoo.runtime.model import Array, Model

IMAGES = np.stack([draw_image(1, np.random.default_rng(seed)) for seed in range(2)])


@pytest.fixture(scope="module", params=FILES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_folder(trained_artefact(tmp_path_factory, GREY), request.param, "cpu", threads=1)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda images: images * 255, r"the images lie in \[0, 1\d\d\.?\d*\]"),
        (lambda images: images * 65535, r"the images lie in \[0, [\d.]+(e\+04)?\]"),
        (lambda images: images * 2 - 1, r"the images lie in \[-1, "),
        (lambda images: images - 0.002, r"the images lie in \[-0\.002, "),
        (lambda images: np.where(images > 0.5, np.nan, images), "not finite"),
        (lambda images: np.where(images > 0.5, np.inf, images), "not finite"),
        (lambda images: images.repeat(3, axis=1), r"shape \(2, 3, 128, 128\).*\(B, 1, 128, 128\)"),
        (lambda images: images[0], r"shape \(1, 128, 128\).*images\[None\]"),
        (lambda images: images[:, 0], r"shape \(2, 128, 128\)"),
        (lambda images: images[..., :64], r"shape \(2, 1, 128, 64\)"),
        (lambda images: images[:0, :, :64], r"shape \(0, 1, 64, 128\)"),
        (lambda images: images.astype(np.float64), "type float64"),
        (lambda images: (images * 255).astype(np.uint8), "type uint8.*255"),
        (torch.from_numpy, "a Tensor was given"),
        (list, "a list was given"),
    ],
)
def test_what_is_no_batch_of_images_is_refused_alike(model: Model, wrong: Callable[[Array], Any], problem: str) -> None:
    with pytest.raises(UsageError, match=f"(?i){problem}"):
        model(wrong(IMAGES))


def test_no_images_give_no_maps(model: Model) -> None:
    maps, scores = model(IMAGES[:0])
    assert (maps.shape, scores.shape) == ((0, 1, 128, 128), (0,))
    assert maps.dtype == scores.dtype == np.float32


def test_what_rounding_leaves_beyond_the_range_is_taken(model: Model) -> None:
    beyond = (IMAGES * np.float32(1.001 / IMAGES.max()) - np.float32(0.0005)).astype(np.float32)
    assert beyond.min() < 0
    assert beyond.max() > 1
    assert np.isfinite(model(beyond)[1]).all()


def test_views_and_read_only_arrays_are_taken(model: Model) -> None:
    view = np.asfortranarray(IMAGES)[::-1]
    view.flags.writeable = False
    np.testing.assert_allclose(model(view)[1], model(IMAGES)[1][::-1], atol=1e-5)


def test_a_colour_model_takes_no_grey_images(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = trained_artefact(tmp_path_factory, COLOUR)
    with pytest.raises(UsageError, match=r"\(B, 3, 128, 128\)"):
        load_folder(folder, device="cpu")(IMAGES)
