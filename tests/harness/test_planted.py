from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.artefact import config_of
from fake.stores import write_tiny_store
from upd_harness.evaluation.planted import EVERY, KINDS, Planting, kinds_of, measure, planted
from upd_zoo.errors import IntegrityError, UsageError
from upd_zoo.phantoms.planting import Kind
from upd_zoo.runtime.model import Array
from upd_zoo.stores.store import Store

PLANTING = Planting(seed=1, images=16)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("healthy"), 1, 8, name="phantom-t2/validation")


@pytest.fixture(scope="module")
def ground(healthy: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return planted(healthy, tmp_path_factory.mktemp("planted"), PLANTING)


def test_every_healthy_image_is_kept_and_planted_with_the_kinds_of_its_modality(healthy: Store, ground: Store) -> None:
    kinds = kinds_of(ground)
    assert np.array_equal(ground.images[kinds == ""], healthy.images)
    # The tissue of these images is too smooth for a blur, and some have the same everywhere.
    assert {"", "bright-blob", "dark-blob", "bright-spots", "dark-spots", "tumour"} <= {*kinds.tolist()}
    assert {*kinds.tolist()} <= {"", *KINDS["brain-mri"]}
    assert np.array_equal(kinds != "", ground.anomalous)
    assert ground.masks is not None
    assert np.array_equal(ground.masks.any(axis=(1, 2)), ground.anomalous)
    assert {*ground.subjects} == {*healthy.subjects}
    assert ground.facts.scale == healthy.facts.scale
    assert "planted anomalies" in ground.facts.labels


def test_what_was_planted_is_not_planted_again_and_another_seed_plants_something_else(
    healthy: Store, ground: Store
) -> None:
    folder = ground.folder.parent
    before = (ground.folder / "images.npy").stat().st_mtime_ns
    assert planted(healthy, folder, PLANTING).sha256 == ground.sha256
    assert (ground.folder / "images.npy").stat().st_mtime_ns == before
    assert planted(healthy, folder, replace(PLANTING, seed=2)).sha256 != ground.sha256
    spots = planted(healthy, folder, replace(PLANTING, kinds=(Kind.DARK_SPOTS,)))
    assert {*kinds_of(spots).tolist()} == {"", "dark-spots"}


def test_nothing_is_planted_in_images_that_train_or_test(tmp_path: Path) -> None:
    for part in ("train", "test"):
        store = write_tiny_store(tmp_path / part, 1, 4, name=f"phantom-t2/{part}")
        with pytest.raises(UsageError, match=f"not planted in phantom-t2/{part}"):
            planted(store, tmp_path / "planted", PLANTING)
    diseased = write_tiny_store(tmp_path / "sick", 1, 4, masks=True, anomalous=1, name="phantom-t2/validation")
    with pytest.raises(IntegrityError, match="diseased"):
        planted(diseased, tmp_path / "planted", PLANTING)


def test_maps_that_know_the_truth_are_perfect_for_every_kind_and_brightness_is_not(
    healthy: Store, tmp_path: Path
) -> None:
    ground = planted(healthy, tmp_path, replace(PLANTING, kinds=(Kind.DARK_BLOB, Kind.BRIGHT_SPOTS)))
    assert ground.masks is not None
    truth = {image.tobytes(): mask for image, mask in zip(ground.images, ground.masks, strict=True)}

    def predict(images: Array) -> tuple[Array, Array]:
        maps = np.stack([truth[image.tobytes()] for image in images])[:, None].astype(np.float32)
        return maps, maps.max(axis=(1, 2, 3))

    found = measure(predict, config_of("phantom-t2"), ground, batch_size=5)
    assert {*found["model"]} == {EVERY, "dark-blob", "bright-spots"}
    for metrics in found["model"].values():
        assert (metrics.ap_image, metrics.auroc, metrics.ap_pixel, metrics.dice) == (1, 1, 1, 1)
    assert 0 < (found["intensity"][EVERY].ap_pixel or 0) < 0.9


def test_anomalies_are_planted_at_every_side(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "large", 1, 2, name="phantom-t2/validation-192", side=192)
    ground = planted(store, tmp_path / "planted", Planting(images=2, kinds=(Kind.DARK_BLOB,)))
    assert ground.facts.side == 192
    assert ground.images.shape[1:] == (1, 192, 192)
    assert ground.anomalous.sum() == 2
