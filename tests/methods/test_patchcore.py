"""PatchCore, against scikit-learn and levels laid over each other by torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn import functional as F

from fake.stores import write_tiny_store
from upd_zoo.errors import UsageError
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.methods.patchcore import PatchCore
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store

LIGHT = "test_resnet"
SIDE = 128


def small(seed: int = 0, **settings: Any) -> PatchCore:
    torch.manual_seed(seed)
    defaults: dict[str, Any] = {"backbone": LIGHT, "width": 16, "memory": 60, "candidates": 600}
    return PatchCore(1, SIDE, **(defaults | settings)).eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("patchcore"), 1, 7)


def fitted(method: PatchCore, store: Store, folder: Path, batch: int = 4, told: list[Progress] | None = None) -> Any:
    recipe = load_recipe(ModelId("patchcore", None, "phantom-t2"), profile="tiny")
    folder.mkdir(exist_ok=True)
    listen = (lambda _: None) if told is None else told.append
    torch.manual_seed(3)
    method.fit(Batches(store, batch, 0, centred=False), Trainer(folder, recipe, "cpu", listen))
    return method


def pixels(store: Store, count: int | None = None) -> Tensor:
    return torch.from_numpy(np.array(store.images[:count]))


def test_a_description_is_the_neighbourhood_of_all_levels_laid_over_each_other(store: Store) -> None:
    method = small(strides=(4, 8, 16))
    with torch.no_grad():
        levels = [F.avg_pool2d(F.pad(level, [1] * 4), 3, 1) for level in method.backbone(pixels(store, 2))]
        found = method.descriptions(pixels(store, 2))
        laid = [lay(level) for lay, level in zip(method.lay_over, levels, strict=True)]
    expected = torch.cat(laid, 1)[..., 8:-8, 8:-8]  # at the border the mean is of what lies within
    inside = found.mT.reshape(2, -1, 32, 32)[..., 8:-8, 8:-8]
    torch.testing.assert_close(inside, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [0.0, 0.3])
def test_a_map_is_scikit_learns_distances_upsampled(window: float, store: Store, tmp_path: Path) -> None:
    method = fitted(small(window=window), store, tmp_path)
    images = pixels(store, 2) ** 2
    with torch.no_grad():
        vectors = method.embeddings(method.descriptions(images), method.places)
        found = method.anomaly_map(images)
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(method.memory.vectors.double().numpy())
        distances = search.kneighbors(vectors.flatten(0, 1).double().numpy())[0]
        expected = method.upsample(torch.from_numpy(distances).float().reshape(2, 1, 16, 16))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert bool((method.memory.vectors[:, -2:] != 0).any()) is (window > 0)


def test_a_patch_in_another_place_is_only_anomalous_within_a_window(store: Store, tmp_path: Path) -> None:
    image = pixels(store, 1)
    moved = image.roll(64, dims=3)  # the same patches, half the image away
    rises = []
    for window in (0.0, 0.1):
        method = fitted(small(window=window, memory=600), store, tmp_path / str(window))
        with torch.no_grad():
            rises.append(float(method.anomaly_map(moved).mean() / method.anomaly_map(image).mean()))
    assert rises[1] > 1.5 * rises[0]


def test_the_seed_decides_and_the_size_of_batches_does_not(store: Store, tmp_path: Path) -> None:
    one, other = (fitted(small(), store, tmp_path / str(batch), batch) for batch in (3, 4))
    torch.testing.assert_close(other.memory.vectors, one.memory.vectors, rtol=1e-2, atol=1e-2)
    for each, same in zip(one.whitening, other.whitening, strict=True):
        torch.testing.assert_close(same.matrix.abs(), each.matrix.abs(), rtol=1e-2, atol=1e-3)


def test_cells_are_drawn_evenly_and_progress_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Progress] = []
    drawn: list[int] = []
    embeddings = PatchCore.embeddings

    def counting(self: PatchCore, descriptions: Tensor, places: Tensor) -> Tensor:
        drawn.append(descriptions.shape[1])
        return embeddings(self, descriptions, places)

    monkeypatch.setattr(PatchCore, "embeddings", counting)
    fitted(small(candidates=100), store, tmp_path, told=told)
    assert drawn == [100]
    assert {each.what for each in told} == {"statistics", "memory"}
    assert told[-1] == Progress("memory", 60, 60)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "0 directions"),
        ({"window": -0.1}, "-0.1 sides apart"),
        ({"whitening": 1.5}, "power of 1.5"),
        ({"memory": 700}, "700 cells cannot be chosen from 600"),
        ({"memory": 0}, "memory of 0 vectors"),
        ({"memory": 10**6, "candidates": 10**6}, "memory of 1000000 vectors"),
        ({"strides": (8, 64)}, "strides"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings)


def test_there_is_no_loss_to_descend(store: Store) -> None:
    with pytest.raises(UsageError, match="no loss"):
        small().training_step(pixels(store, 2))
