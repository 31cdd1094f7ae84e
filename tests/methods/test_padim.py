"""PaDiM, against scipy and levels laid over each other by torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor
from torch.nn import functional as F

from fake.stores import write_tiny_store
from upd_zoo.errors import UsageError
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.methods.padim import PaDiM
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Protocol

LIGHT = "test_resnet"


def small(seed: int = 0, **settings: Any) -> PaDiM:
    torch.manual_seed(seed)
    defaults: dict[str, Any] = {"backbone": LIGHT, "features": 8, "factor_bits": 32, "backbone_bits": 32}
    return PaDiM(1, 128, **(defaults | settings)).eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("padim"), 1, 20)


def fitted(method: PaDiM, store: Store, folder: Path, batch: int = 8) -> PaDiM:
    recipe = load_recipe(ModelId("padim", None, "phantom-t2"), profile="tiny")
    folder.mkdir(exist_ok=True)
    method.fit(Batches(store, batch, 0, centred=False), Trainer(folder, recipe, "cpu"))
    return method


def pixels(store: Store, count: int | None = None) -> Tensor:
    return torch.from_numpy(np.array(store.images[:count]))


@pytest.mark.parametrize(("features", "kept"), [(1, 1), (8, 8), (100, 100), (999, 272)])
def test_an_embedding_is_the_chosen_channels_of_all_levels_laid_over_each_other(
    features: int, kept: int, store: Store
) -> None:
    method = small(features=features)
    with torch.no_grad():
        levels = method.backbone(pixels(store, 3))
        laid = [F.interpolate(level, (32, 32), mode="bilinear", align_corners=False) for level in levels]
        found = method.embeddings(pixels(store, 3))
    expected = torch.cat(laid, 1)[:, method.chosen].flatten(2).mT
    assert found.shape == (3, 1024, kept)
    assert len(set(method.chosen.tolist())) == kept
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_other_seeds_choose_other_channels_of_every_level() -> None:
    drawn = torch.cat([small(seed).chosen for seed in range(40)])
    assert len(set(drawn.tolist())) > 150
    assert torch.histc(drawn.float(), 4, 0, 272).min() > 50


def test_a_map_is_scipys_mahalanobis_distances_upsampled(store: Store, tmp_path: Path) -> None:
    method = fitted(small(), store, tmp_path)
    with torch.no_grad():
        known, new = method.embeddings(pixels(store)).double().numpy(), method.embeddings(pixels(store, 2) ** 2)
        found = method.anomaly_map(pixels(store, 2) ** 2)
    distances = np.empty((2, 1024))
    for position in range(1024):
        inverse = np.linalg.inv(np.cov(known[:, position], rowvar=False) + 0.01 * np.eye(8))
        for image in range(2):
            vector = new[image, position].double().numpy()
            distances[image, position] = mahalanobis(vector, known[:, position].mean(0), inverse)
    grid = torch.from_numpy(distances).reshape(2, 1, 32, 32)
    expected = F.interpolate(grid, (128, 128), mode="bilinear", align_corners=False).float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


def test_statistics_do_not_depend_on_the_size_of_batches(store: Store, tmp_path: Path) -> None:
    one, other = (fitted(small(), store, tmp_path / str(batch), batch).density for batch in (3, 8))
    assert one.mean.std() > 0
    for name, stored in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], stored, rtol=1e-5, atol=1e-5)


def test_a_share_is_of_the_first_images_and_the_others_do_not_count(store: Store, tmp_path: Path) -> None:
    first = write_tiny_store(tmp_path / "first", 1, 3)  # 18 % of 20, rounded down
    assert np.array_equal(first.images[:], store.images[:3])
    share = fitted(small(share=0.18), store, tmp_path / "share").density.state_dict()
    alone = fitted(small(), first, tmp_path / "alone").density.state_dict()
    whole = fitted(small(), store, tmp_path / "whole").density.state_dict()
    assert all(torch.equal(share[name], alone[name]) for name in share)
    assert not torch.allclose(share["mean"], whole["mean"], rtol=1e-3)


def test_a_share_of_one_image_has_no_covariance(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 images have no covariance"):
        fitted(small(share=0.01), store, tmp_path)


def test_the_chosen_channels_are_part_of_the_state(store: Store, tmp_path: Path) -> None:
    method, other = fitted(small(0), store, tmp_path), small(1)
    assert "chosen" in method.state_dict()
    assert other.bounds != method.bounds
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.chosen, method.chosen)
    assert other.bounds == method.bounds
    with torch.no_grad():
        assert torch.equal(other.anomaly_map(pixels(store, 2)), method.anomaly_map(pixels(store, 2)))


def test_a_backbone_stored_in_half_the_bits_tells_nearly_the_same(store: Store) -> None:
    exact, half = small(), small(backbone_bits=16)
    for one, other in zip(exact.backbone.parameters(), half.backbone.parameters(), strict=True):
        filters = one.dim() == 4
        assert other.dtype == (torch.float16 if filters else torch.float32)
        assert torch.equal(other, one.half() if filters else one)
    with torch.no_grad():
        for one, other in zip(exact.backbone(pixels(store, 2)), half.backbone(pixels(store, 2)), strict=True):
            assert other.dtype == torch.float32
            assert 0 < (one - other).abs().max() < 0.01 * one.abs().max()


@pytest.mark.parametrize("fewer", [{"backbone_bits": 16}, {"factor_bits": 16}])
def test_a_map_hardly_depends_on_the_bits_of_what_is_stored(
    fewer: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    exact, rounded = (fitted(small(**bits), store, tmp_path / str(len(bits))) for bits in ({}, fewer))
    with torch.no_grad():
        expected, found = exact.anomaly_map(pixels(store, 2) ** 2), rounded.anomaly_map(pixels(store, 2) ** 2)
    assert 0 < (found - expected).abs().max() < 0.01 * (expected.max() - expected.min())


@pytest.mark.parametrize("domain", DOMAINS)
def test_only_the_study_and_only_its_brains_leave_images_out(domain: str) -> None:
    sound, study = (load_recipe(ModelId("padim", None, domain), p) for p in (Protocol.SOUND, Protocol.STUDY))
    assert sound.settings["share"] == 1.0
    share = 0.18 if DOMAINS[domain].modality.id == "brain-mri" else 1.0
    assert study.settings == sound.settings | {"share": share, "placement": "edges", "normalise": False}
    assert sound.settings["placement"] == "looked-at"


def test_a_distance_lies_where_its_cell_looks(store: Store, tmp_path: Path) -> None:
    method = fitted(small(placement="looked-at"), store, tmp_path)
    with torch.no_grad():
        distances = method.density(method.embeddings(pixels(store, 2))).reshape(2, 32, 32)
        found = method.anomaly_map(pixels(store, 2))
    torch.testing.assert_close(found[:, 0, ::4, ::4], distances)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": 0}, "0 features"),
        ({"share": 0.0}, "0.0 is no share"),
        ({"share": -0.1}, "-0.1 is no share"),
        ({"share": 1.5}, "1.5 is no share"),
        ({"ridge": 0.0}, "ridge of 0.0"),
        ({"factor_bits": 8}, "8 bits"),
        ({"backbone_bits": 8}, "8 bits"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings)


def test_there_is_no_loss_to_descend(store: Store) -> None:
    with pytest.raises(UsageError, match="no loss"):
        small().training_step(pixels(store, 2))
