"""The baseline that knows anatomy: it finds what is odd for its place alone, and says where it cannot be had."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from upd_harness.evaluation.contenders import Gathered, gather
from upd_harness.evaluation.exposure import NAME as EXPOSURE
from upd_harness.evaluation.gaussian import NAME, VoxelGaussian
from upd_harness.evaluation.healthy import Healthy
from upd_harness.evaluation.run import measure
from upd_harness.evaluation.tested import Rules, Tested
from upd_zoo.artefact.record import Setting
from upd_zoo.artefact.records import Space
from upd_zoo.runtime.model import Array
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.vocabulary import Foreground, ScoreRule, get_test_set

PHANTOM = get_test_set("phantom-t2")
SPACE = Space(template="mni.nii.gz", template_sha256="0" * 64, extractor="upd-zoo", preparation=4)


def nothing(images: Array) -> tuple[Array, Array]:
    return np.zeros((len(images), 1, *images.shape[2:]), np.float32), np.zeros(len(images), np.float32)


TESTED = Tested(
    name="nothing.onnx",
    title="nothing",
    revision="local",
    sha256="0" * 64,
    seed=0,
    backend="onnx",
    precision="float32",
    device="cpu",
    labels=(),
    domain="",
    rules=Rules(Foreground.ABOVE_MINIMUM, 0, ScoreRule.MAXIMUM),
    predict=nothing,
)


def people(first: int, count: int, *, diseased: bool = False) -> Iterator[Sample]:
    """Yield two slices of each person: half of each is bright, another half of the second; spots are between both."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        for place in (0, 1):
            image = np.zeros((1, 128, 128), np.float32)
            image[0, 16:112, 16:112] = 0.3
            image[0, 16:112, (16 + 48 * place) : (64 + 48 * place)] = 0.8
            image[0, 16:112, 16:112] += rng.normal(0, 0.02, (96, 96)).astype(np.float32)
            mask = np.zeros((128, 128), np.uint8)
            if diseased:
                row, column = rng.integers(24, 96), rng.integers(24, 40) + 48 * (1 - place)
                mask[row : row + 10, column : column + 10] = 1
                image[0][mask == 1] += 0.25
            yield Sample(image, diseased, f"person-{number}", place + 40, mask=mask)


def stored(folder: Path, part: str, samples: Iterator[Sample], provenance: dict[str, Setting] | None = None) -> Store:
    known = {"scale": "robust"} | (provenance or {})
    masked = part == "test"
    write_store(folder / part, f"phantom-t2/{part}", samples, channels=1, has_masks=masked, provenance=known)
    return Store(folder / part)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("brains") / "phantom-t2"
    stored(folder, "test", (each for sick in (False, True) for each in people(100 + 10 * sick, 3, diseased=sick)))
    return stored(folder, "train", people(0, 6))


@pytest.fixture(scope="module")
def tested(healthy: Store) -> Store:
    return Store(healthy.folder.parent / "test")


@pytest.fixture(scope="module")
def whole(healthy: Store, tested: Store) -> Gathered:
    return gather(TESTED, tested, healthy.folder, batch_size=5)


def test_it_finds_spots_that_are_bright_for_their_place_alone(whole: Gathered, tested: Store) -> None:
    found = {name: each.metrics(tested.anomalous, has_masks=True) for name, each in whole.contenders.items()}
    assert found[NAME].auroc == 1
    assert (found[NAME].ap_pixel or 0) > 0.8
    for name in ("intensity", "darkness", "random"):
        assert (found[name].ap_pixel or 1) < 0.2


def test_shards_count_it_as_one_process_does(whole: Gathered, healthy: Store, tested: Store) -> None:
    parts = [gather(TESTED, tested, healthy.folder, batch_size=5, rows=rows) for rows in ((0, 4), (4, 12))]
    parts[0].merge(parts[1])
    one, other = (each.contenders[NAME] for each in (whole, parts[0]))
    assert one.scores == other.scores
    assert one.metrics(tested.anomalous, has_masks=True) == other.metrics(tested.anomalous, has_masks=True)


def test_a_slice_that_no_healthy_brain_has_is_held_against_the_nearest(healthy: Store) -> None:
    gaussian = VoxelGaussian.of(healthy, [41, 50])
    image = np.array(healthy.images[1:2])
    np.testing.assert_array_equal(gaussian.maps(image, [41]), gaussian.maps(image, [50]))


def test_healthy_brains_of_the_same_space_and_scale_are_found_beside_a_test_set(
    healthy: Store, tested: Store, tmp_path: Path
) -> None:
    found = Healthy.beside(PHANTOM, tested).store
    assert found is not None
    assert found.folder == healthy.folder
    alone = stored(tmp_path / "phantom-t2", "test", people(0, 1))
    assert "phantom-t2/train is not prepared beside" in Healthy.beside(PHANTOM, alone).absence
    stored(tmp_path / "phantom-t2", "train", people(1, 1), SPACE.model_dump())
    assert "were not prepared in the same way" in Healthy.beside(PHANTOM, alone).absence


def test_images_in_no_common_space_have_no_such_baseline_and_nothing_is_said_of_it(tested: Store) -> None:
    for test_set in (get_test_set("idrid"), replace(PHANTOM, domain="ixi-t2")):
        found = Healthy.beside(test_set, tested)
        assert (found.brains, [*found.left_out]) == (None, [EXPOSURE])


def test_a_result_has_what_healthy_images_allow_and_says_what_they_do_not(tested: Store, tmp_path: Path) -> None:
    result = measure(TESTED, PHANTOM, tested, tmp_path / "beside").result
    assert {NAME, EXPOSURE} < {*result.baselines}
    assert result.left_out == {}
    assert result.healthy == Healthy.beside(PHANTOM, tested).store.sha256  # type: ignore[union-attr]
    assert (result.baselines[EXPOSURE].auroc or 0) > 0.5
    assert result.baselines[EXPOSURE].ap_pixel is None
    shutil.copytree(tested.folder, tmp_path / "phantom-t2" / "test")
    alone = measure(TESTED, PHANTOM, Store(tmp_path / "phantom-t2" / "test"), tmp_path / "alone").result
    assert {*alone.left_out} == {NAME, EXPOSURE}
    assert alone.healthy is None
    assert not alone.left_out.keys() & alone.baselines.keys()


def test_a_damaged_store_of_healthy_images_is_told_as_that(tested: Store, tmp_path: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(tested.folder.parent / part, tmp_path / "phantom-t2" / part)
    images, test = tmp_path / "phantom-t2" / "train" / "images.npy", Store(tmp_path / "phantom-t2" / "test")
    np.load(images, mmap_mode="r+")[0, 0, 0, 0] = np.nan
    assert "the store phantom-t2/train is damaged: some of its pixels are NaN" in Healthy.beside(PHANTOM, test).absence
    os.truncate(images, 1000)
    assert "the store phantom-t2/train is damaged: " in Healthy.beside(PHANTOM, test).absence
