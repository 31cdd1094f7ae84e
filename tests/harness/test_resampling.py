"""Intervals from what is kept of subjects, against resamples that are scored anew from every pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from fake.memory import traced
from upd_harness.evaluation.digest import digest
from upd_harness.evaluation.intervals import bootstrap_intervals, resampled, tally_of
from upd_harness.evaluation.metrics import image_metrics
from upd_harness.evaluation.regions import region_sizes
from upd_harness.evaluation.resampling import aupro, draws, pixel_draws
from upd_harness.evaluation.stored import Kept, read_kept
from upd_harness.evaluation.subjects import SubjectTally
from upd_harness.evaluation.tally import ScoreTally
from upd_zoo.errors import IntegrityError, NotFoundError

Array = npt.NDArray[Any]


def crowded(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Values within a hundredth below one."""
    return 1 - 0.01 * rng.random(shape) ** 3


MAPS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tail": lambda rng, shape: np.exp(2 * rng.normal(size=shape)),
    "mostly background": lambda rng, shape: rng.random(shape) * (rng.random(shape) < 0.4),
    "few values": lambda rng, shape: rng.integers(0, 9, shape) / 8,
    "crowded": crowded,
}


def diseased(masks: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(masks.any(axis=(1, 2)))


def made(kind: str, subjects: int = 8, slices: int = 3, side: int = 64) -> tuple[Array, Array, list[str]]:
    """Return maps, masks and subjects; lesions are a little higher, in some subjects more than in others."""
    rng = np.random.default_rng(0)
    shape = (subjects * slices, side, side)
    masks = (ndimage.gaussian_filter(rng.normal(size=shape), (0, 3, 3)) > 0.14).astype(np.uint8)
    maps = MAPS[kind](rng, shape)
    strength = np.repeat(rng.uniform(0, maps.std(), subjects), slices)[:, None, None]
    return (maps + masks * strength).astype(np.float32), masks, [f"s{n // slices}" for n in range(len(maps))]


def overlap(maps: Array, masks: Array) -> float:
    """AUPRO written out: every distinct value is a threshold, lesions are told apart by SciPy."""
    labels, count = ndimage.label(masks, np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0))))
    thresholds = np.unique(maps)[::-1]
    rates = (maps[masks == 0][None] >= thresholds[:, None]).mean(axis=1)
    found = np.mean(
        [(maps[labels == n][None] >= thresholds[:, None]).mean(axis=1) for n in range(1, count + 1)], axis=0
    )
    grid = np.linspace(0, 0.3, 30_001)
    return float(np.trapezoid(np.interp(grid, np.append(0, rates), np.append(0, found)), grid) / 0.3)


@pytest.mark.parametrize("kind", MAPS)
def test_every_draw_is_what_its_own_pixels_score(kind: str) -> None:
    maps, masks, subjects = made(kind)
    drawn = draws(8, 4)
    found = pixel_draws(tally_of(maps, masks, subjects), drawn)
    for draw, often in enumerate(drawn):
        rows = np.concatenate([np.arange(3 * s, 3 * s + 3) for s in range(8) for _ in range(int(often[s]))])
        exact = ScoreTally()
        exact.update(maps[rows], masks[rows])
        result = exact.result()
        assert result.best_dice is not None
        assert found["ap_pixel"][draw] == pytest.approx(result.average_precision, abs=2e-3)
        assert found["dice"][draw] == pytest.approx(result.best_dice.dice, abs=2e-3)


@pytest.mark.parametrize("kind", ["normal", "mostly background", "few values"])
def test_the_overlap_of_regions_is_that_of_its_definition(kind: str) -> None:
    maps, masks, subjects = made(kind, subjects=3, slices=2, side=40)
    assert aupro(tally_of(maps, masks, subjects)) == pytest.approx(overlap(maps, masks), abs=2e-3)


def test_image_draws_are_exact_and_take_whole_subjects() -> None:
    rng = np.random.default_rng(1)
    anomalous = rng.random(60) < 0.4
    scores, subjects = rng.integers(0, 12, 60) + 3.0 * anomalous, [f"s{n}" for n in rng.integers(0, 9, 60)]
    found = resampled(scores, anomalous, subjects)
    names = sorted(set(subjects))
    for draw, often in enumerate(draws(len(names))[:20]):
        rows = np.repeat(np.arange(60), [int(often[names.index(subject)]) for subject in subjects])
        exact = image_metrics(scores[rows], anomalous[rows])
        assert found["ap_image"][draw] == pytest.approx(exact.average_precision)
        assert found["auroc"][draw] == pytest.approx(exact.auroc)


def test_the_interval_of_a_metric_covers_it_and_narrows_with_more_subjects() -> None:
    widths = []
    for subjects in (6, 48):
        maps, masks, names = made("normal", subjects, 1, 32)
        exact = ScoreTally()
        exact.update(maps, masks)
        low, high = bootstrap_intervals(
            maps.max(axis=(1, 2)).astype(float), diseased(masks), names, tally_of(maps, masks, names)
        )["ap_pixel"]
        assert low < (exact.result().average_precision or 0) < high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_subjects_that_are_all_alike_leave_no_doubt_about_the_pixels() -> None:
    maps, masks, _ = made("normal", 1, 1)
    five = np.repeat(maps, 5, axis=0), np.repeat(masks, 5, axis=0)
    found = pixel_draws(tally_of(five[0], five[1], [f"s{n}" for n in range(5)]), draws(5))
    assert np.ptp(found["ap_pixel"]) == pytest.approx(0, abs=1e-12)


def test_without_lesions_no_draw_defines_a_metric_of_pixels() -> None:
    maps, masks, subjects = made("normal")
    tally = tally_of(maps, np.zeros_like(masks), subjects)
    assert {*bootstrap_intervals(np.arange(24.0), np.arange(24) > 11, subjects, tally)} == {"ap_image", "auroc"}
    assert aupro(tally) is None


@pytest.mark.parametrize("batch", [1, 5, 24])
def test_batches_and_the_place_of_a_subjects_images_change_nothing(batch: int) -> None:
    maps, masks, subjects = made("heavy tail")
    tally = SubjectTally()
    for start in range(0, len(maps), batch):
        rows = slice(start, start + batch)
        tally.update(maps[rows], masks[rows], subjects[rows])
    tally.close()
    whole = tally_of(maps, masks, subjects)
    assert all(np.array_equal(array, tally.to_arrays()[name]) for name, array in whole.to_arrays().items())
    order = np.arange(24).reshape(8, 3).T.ravel()  # of every subject its first image, then its second
    apart = tally_of(maps[order], masks[order], [subjects[row] for row in order])
    assert aupro(apart) == pytest.approx(aupro(whole), abs=1e-3)


def test_a_digest_counts_exactly_at_what_it_keeps_and_closely_between() -> None:
    rng = np.random.default_rng(2)
    values = np.round(rng.normal(size=30_000), 3).astype(np.float32)
    (kept,) = digest(values)
    assert len(kept.values) < 600
    for thresholds, tolerance in ((kept.values, 0), (rng.normal(size=200).astype(np.float32), 1 / 64)):
        exact = (values[None] >= thresholds[:, None]).sum(axis=1)
        assert (abs(kept.from_value(thresholds) - exact) <= tolerance * exact).all()


def test_regions_are_those_of_an_independent_reference() -> None:
    rng = np.random.default_rng(3)
    masks = (rng.random((4, 30, 31)) < 0.35).astype(np.uint8)
    labels, _ = ndimage.label(masks, np.pad(np.ones((1, 3, 3)), ((1, 1), (0, 0), (0, 0))))
    np.testing.assert_array_equal(region_sizes(masks), np.bincount(labels.ravel())[labels[masks != 0]])
    assert region_sizes(np.zeros((2, 3, 3), np.uint8)).size == 0


def test_what_is_kept_comes_back_and_is_the_same_bytes_again(tmp_path: Path) -> None:
    maps, masks, subjects = made("normal")
    kept = Kept(maps.max(axis=(1, 2)).astype(float), diseased(masks), subjects, tally_of(maps, masks, subjects))
    digests = [kept.write(tmp_path / name) for name in ("one.npz", "two.npz")]
    assert digests[0] == digests[1]
    back = read_kept(tmp_path / "one.npz", digests[0])
    assert [*back.subjects] == subjects
    one, other = (resampled(each.scores, each.anomalous, each.subjects, each.pixels) for each in (kept, back))
    for name in ("ap_image", "auroc", "ap_pixel", "dice"):
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(one["aupro"], other["aupro"], rtol=1e-5)


def test_what_is_not_what_its_result_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    Kept(np.arange(4.0), np.arange(4) > 1, ["a", "b", "c", "d"], None).write(path)
    with pytest.raises(IntegrityError, match="not what its result was computed from"):
        read_kept(path, "0" * 64)
    with pytest.raises(NotFoundError, match="--overwrite"):
        read_kept(tmp_path / "none.npz", "0" * 64)


def peak_of(pixels: int, slices: int = 40) -> int:
    rng = np.random.default_rng(4)
    one_map, mask = rng.random((slices, 64, 64), np.float32), (rng.random((slices, 64, 64)) < 0.05).astype(np.uint8)
    with traced() as peak:
        tally = SubjectTally()
        for step in range(pixels // one_map.size):
            tally.update(one_map + np.float32(step), mask, [f"s{step // 4}"] * slices)
        tally.close()
        pixel_draws(tally, draws(len(tally.names), 100))
    return peak.bytes


def test_memory_grows_with_subjects_and_not_with_their_pixels() -> None:
    few, many = peak_of(700_000), peak_of(2_800_000)
    assert many < few + 10e6
