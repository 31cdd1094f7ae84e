"""The baseline that knows exposure and focus: it needs no diseased image, and says where it cannot be had."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from fake.stores import write_tiny_store
from upd_harness.evaluation.exposure import Exposure, figures_of, names_of
from upd_harness.evaluation.metrics import image_metrics
from upd_zoo.runtime.model import Array
from upd_zoo.stores.store import Sample, Store, write_store

SIDE: Final = 128
EYE: Final = np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)) < 56


def eye(rng: np.random.Generator, *, blue: float = 0.3, sharp: float = 0.05) -> Array:
    """Return a disc (3, SIDE, SIDE) on black, exposed a little brighter or darker in all channels alike."""
    light = rng.normal(1, 0.1)
    image = np.array([0.7, 0.5, blue])[:, None, None] * light + rng.normal(0, sharp, (SIDE, SIDE))
    return np.asarray((image.clip(0.02, 1) * EYE), np.float32)


def samples(seed: int, count: int, **odd: float) -> Iterator[Sample]:
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield Sample(eye(rng, **odd), bool(odd), f"{seed}-{number}", 0)


def stored(folder: Path, *parts: Iterator[Sample]) -> Store:
    write_store(folder, "idrid/test", (each for part in parts for each in part), channels=3, has_masks=False)
    return Store(folder)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("eyes") / "train", samples(0, 40))


@pytest.mark.parametrize("odd", [{"blue": 0.2}, {"blue": 0.4}, {"sharp": 0.03}, {"sharp": 0.08}])
def test_another_colour_or_focus_is_found_in_either_direction(
    healthy: Store, tmp_path: Path, odd: dict[str, float]
) -> None:
    store = stored(tmp_path / "test", samples(1, 20), samples(2, 20, **odd))
    scores = Exposure.of(healthy).scores(store)
    assert (image_metrics(scores, store.anomalous).auroc or 0) > 0.9


def test_its_figures_are_area_mean_and_spread_of_channels_and_steps() -> None:
    image = np.zeros((1, 2, 4, 4), np.float32)
    image[0, 0, 1:3, 1:3] = [[0.2, 0.4], [0.2, 0.4]]
    image[0, 1, 1:3, 1:3] = 0.6
    found = figures_of(image)
    assert names_of(3)[:2] == ["foreground", "mean red"]
    np.testing.assert_allclose(found, [[4 / 16, 0.3, 0.6, 0.1, 0, (0.1 + 0.1) / 4]], atol=1e-6)


def test_images_without_foreground_and_without_spread_have_finite_scores(tmp_path: Path) -> None:
    black = (Sample(np.zeros((3, SIDE, SIDE), np.float32), False, str(number), 0) for number in range(3))
    store = stored(tmp_path / "black", black)
    scores = Exposure.of(store).scores(store)
    np.testing.assert_array_equal(scores, 0)


def test_it_scales_with_no_unit_of_a_figure(healthy: Store, tmp_path: Path) -> None:
    other = stored(tmp_path / "test", samples(3, 10))
    known = Exposure.of(healthy)
    scores = known.scores(other)
    assert scores.shape == (10,)
    # Squared distances of a Gaussian's own draws have as many degrees of freedom as it has figures.
    assert 0.4 * len(known.mean) < (scores**2).mean() < 2.5 * len(known.mean)


def test_a_tiny_store_is_enough(tmp_path: Path) -> None:
    write_tiny_store(tmp_path / "train", 1, 2, name="phantom-cxr/train")
    store = Store(tmp_path / "train")
    assert np.isfinite(Exposure.of(store).scores(store)).all()
