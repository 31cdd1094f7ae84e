"""The metrics against scikit-learn, against brute force, and against themselves in other pieces and orders."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from fake.memory import traced
from upd_harness.evaluation.metrics import Bounds, PixelMetrics, image_metrics, random_dice
from upd_harness.evaluation.tally import ScoreTally
from upd_zoo.errors import IntegrityError, UsageError

Array = npt.NDArray[Any]
Data = tuple[Array, Array]


def tally_of(scores: Array, labels: Array, pieces: int = 1) -> ScoreTally:
    tally = ScoreTally()
    for chunk, truth in zip(np.array_split(scores, pieces), np.array_split(labels, pieces), strict=True):
        tally.update(chunk, truth)
    return tally


def same(one: ScoreTally, other: ScoreTally) -> bool:
    arrays, others = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(arrays[name], others[name]) for name in arrays)


def dice_from(scores: Array, labels: Array, threshold: float) -> float:
    called = scores >= np.float32(threshold)
    return float(2 * np.count_nonzero(called & labels) / (np.count_nonzero(called) + np.count_nonzero(labels)))


def sklearn_values(scores: Array, labels: Array) -> tuple[float, float, float]:
    """AP, AUROC and the best Dice; in float64, as scikit-learn's check for NaN sums float32 into overflow."""
    scores = scores.astype(np.float64)
    precision, recall, _ = precision_recall_curve(labels, scores)
    dice = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    return average_precision_score(labels, scores), roc_auc_score(labels, scores), float(dice)


def values_and_bounds(result: PixelMetrics) -> list[tuple[float, Bounds]]:
    assert result.best_dice is not None
    values = result.average_precision, result.auroc, result.best_dice.dice
    bounds = result.average_precision_bounds, result.auroc_bounds, result.best_dice_bounds
    return [(value, bound) for value, bound in zip(values, bounds, strict=True) if value is not None and bound]


def labelled(scores: Array, rng: np.random.Generator, prevalence: float = 0.1) -> Data:
    scores = np.asarray(scores, np.float32)
    ranks = scores.argsort().argsort() / scores.size
    return scores, rng.random(scores.size) < prevalence * (0.5 + ranks)


def whole_float_range(rng: np.random.Generator) -> Array:
    magnitudes = np.geomspace(1e-37, 3e38, 120_000)
    return np.concatenate([magnitudes, -magnitudes])


EXACT: dict[str, Callable[[np.random.Generator], Array]] = {
    "thousands of scores": lambda rng: rng.random(3000),
    "ties": lambda rng: rng.integers(0, 7, 3000) / 7,
    "all equal": lambda rng: np.full(500, 0.25),
    "negative": lambda rng: -rng.random(3000) * 1e3,
    "both signs and both zeros": lambda rng: rng.choice([-2.5, -1e-3, -0.0, 0.0, 1e-3, 7.0], 3000),
    "huge and tiny": lambda rng: rng.choice([-3.4e38, -1e-38, 1e-45, 1e-38, 2e-38, 3.4e38], 3000),
    "neighbours just below one": lambda rng: np.float32(1) - rng.integers(1, 50, 3000) * np.float32(2**-24),
    "dense interval": lambda rng: 0.999 + 0.001 * rng.random(40_000),
    "most of a background": lambda rng: np.where(rng.random(20_000) < 0.9, 0, rng.integers(1, 4000, 20_000) / 999),
}

BINNED: dict[str, Callable[[np.random.Generator], Array]] = {
    "uniform": lambda rng: rng.random(60_000),
    "both signs": lambda rng: rng.standard_normal(60_000),
    "heavy tail": lambda rng: np.exp(4 * rng.standard_normal(60_000)),
    "residuals on a background": lambda rng: np.abs(rng.standard_normal(90_000)) * (rng.random(90_000) < 0.6),
    "rounded": lambda rng: np.round(rng.random(60_000), 4),
    "whole range": whole_float_range,
    # A thousand distinct scores inside one bin: the worst that bins can do.
    "whole range and a cluster": lambda rng: np.append(whole_float_range(rng), 0.7 + 1e-5 * rng.random(50_000)),
}


@pytest.mark.parametrize("name", EXACT)
def test_image_metrics_are_those_of_scikit_learn(name: str) -> None:
    rng = np.random.default_rng(1)
    scores, labels = labelled(EXACT[name](rng), rng, prevalence=0.4)
    metrics = image_metrics(scores, labels)
    assert metrics.images == scores.size
    assert metrics.anomalous == labels.sum()
    assert metrics.prevalence == pytest.approx(labels.mean())
    assert (metrics.average_precision, metrics.auroc) == pytest.approx(sklearn_values(scores, labels)[:2], abs=1e-12)


def test_image_scores_one_float64_step_apart_are_not_tied() -> None:
    metrics = image_metrics([1.0, math.nextafter(1.0, 2.0)], [0, 1])
    assert (metrics.average_precision, metrics.auroc) == (1.0, 1.0)


def test_image_metrics_are_none_where_undefined() -> None:
    assert asdict(image_metrics([], [])) == {
        "images": 0,
        "anomalous": 0,
        "prevalence": None,
        "average_precision": None,
        "auroc": None,
    }
    normal, anomalous = image_metrics([0.1, 0.2], [0, 0]), image_metrics([0.1, 0.2], [1, 1])
    assert (normal.average_precision, normal.auroc) == (None, None)
    assert (anomalous.average_precision, anomalous.auroc) == (1.0, None)


@given(st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_image_metrics_depend_on_the_order_of_scores_alone(items: list[tuple[int, bool]], random: Any) -> None:
    plain = image_metrics([score for score, _ in items], [label for _, label in items])
    random.shuffle(items)
    curved = image_metrics([math.sinh(score / 3) for score, _ in items], [label for _, label in items])
    assert curved == plain


@pytest.mark.parametrize("name", EXACT)
def test_pixel_metrics_are_those_of_scikit_learn_where_the_scores_fit(name: str) -> None:
    rng = np.random.default_rng(2)
    scores, labels = labelled(EXACT[name](rng), rng)
    result = tally_of(scores, labels, pieces=3).result()
    assert result.resolution == 0
    for truth, (value, bounds) in zip(sklearn_values(scores, labels), values_and_bounds(result), strict=True):
        assert value == pytest.approx(truth, abs=1e-12)
        assert bounds == Bounds(value, value)
    assert result.best_dice is not None
    assert result.best_dice.dice == dice_from(scores, labels, result.best_dice.threshold)


@pytest.mark.parametrize("name", BINNED)
def test_bounds_hold_scikit_learns_values_where_scores_are_binned(name: str) -> None:
    rng = np.random.default_rng(3)
    scores, labels = labelled(BINNED[name](rng), rng)
    result = tally_of(scores, labels).result()
    assert 0 < result.resolution <= 2**-13
    for truth, (value, bounds) in zip(sklearn_values(scores, labels), values_and_bounds(result), strict=True):
        assert bounds.lower - 1e-12 <= truth <= bounds.upper + 1e-12
        assert bounds.lower <= value <= bounds.upper
        if "cluster" not in name:
            assert bounds.upper - bounds.lower < 2e-3
            assert value == pytest.approx(truth, abs=2e-5)
    assert result.best_dice is not None
    assert result.best_dice.dice == dice_from(scores, labels, result.best_dice.threshold)


def test_bounds_are_reached_by_the_two_extreme_orders_within_a_bin() -> None:
    spread = whole_float_range(np.random.default_rng(0)).astype(np.float32)
    cluster = (0x3F333000 + np.arange(1000, dtype=np.int32)).view(np.float32)  # 0.7: neighbours inside one widest bin
    labels = np.append(np.zeros(spread.size, bool), np.arange(1000) >= 500)
    on_top = np.concatenate([spread, cluster[:500], np.full(500, cluster[-1])])
    below = np.concatenate([spread, cluster[500:], cluster[:500]])
    (_, ap), (_, area), (_, dice) = values_and_bounds(tally_of(on_top, labels).result())
    assert (ap.upper, area.upper, dice.upper) == pytest.approx(sklearn_values(on_top, labels), rel=1e-6)
    (_, ap), (_, area), _ = values_and_bounds(tally_of(below, labels).result())
    assert (ap.lower, area.lower) == pytest.approx(sklearn_values(below, labels)[:2], rel=1e-6)


def test_scattered_scores_stay_exact_up_to_4096_of_them() -> None:
    rng = np.random.default_rng(4)
    values = np.unique(rng.standard_cauchy(4096).astype(np.float32))
    scores, labels = labelled(rng.choice(values, 30_000), rng)
    assert tally_of(scores, labels).result().resolution == 0
    assert tally_of(*labelled(rng.standard_cauchy(30_000), rng)).result().resolution > 0


@pytest.mark.parametrize("name", ["both signs", "whole range and a cluster"])
def test_order_pieces_and_merges_do_not_matter(name: str) -> None:
    rng = np.random.default_rng(5)
    scores, labels = labelled(BINNED[name](rng), rng)
    whole, shuffled = tally_of(scores, labels), rng.permutation(scores.size)
    assert same(whole, tally_of(scores[shuffled], labels[shuffled], pieces=5))
    thirds = np.array_split(scores.argsort(), 3)
    parts = [tally_of(scores[third], labels[third]) for third in thirds]
    forward, backward = ScoreTally(), ScoreTally()
    for part, other in zip(parts, parts[::-1], strict=True):
        forward.merge(part)
        backward.merge(other)
    assert same(whole, forward)
    assert same(whole, backward)
    assert same(parts[1], tally_of(scores[thirds[1]], labels[thirds[1]]))


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(st.tuples(FLOAT32, st.booleans()), max_size=40), st.integers(0, 40))
def test_any_split_merges_to_the_whole_and_equals_the_image_metrics(items: list[tuple[float, bool]], cut: int) -> None:
    scores = np.array([score for score, _ in items], np.float32)
    labels = np.array([label for _, label in items], bool)
    merged = tally_of(scores[cut:], labels[cut:])
    merged.merge(tally_of(scores[:cut], labels[:cut]))
    assert same(merged, tally_of(scores, labels))
    result, exact = merged.result(), image_metrics(scores, labels)
    assert (result.pixels, result.anomalous) == (exact.images, exact.anomalous)
    assert result.average_precision == pytest.approx(exact.average_precision)
    assert result.auroc == pytest.approx(exact.auroc)
    if result.best_dice is not None:
        dice = [dice_from(scores, labels, float(score)) for score in scores]
        assert result.best_dice.dice == pytest.approx(max(dice))


def test_merging_an_empty_tally_changes_nothing_and_merging_a_tally_with_itself_doubles_it() -> None:
    tally = tally_of(np.array([0.5, -1.0]), np.array([1, 0]))
    tally.merge(ScoreTally())
    assert same(tally, tally_of(np.array([0.5, -1.0]), np.array([1, 0])))
    tally.merge(tally)
    assert same(tally, tally_of(np.array([0.5, -1.0] * 2), np.array([1, 0] * 2)))


def test_pixel_metrics_are_none_where_undefined_and_never_nan() -> None:
    empty = ScoreTally().result()
    nothing = PixelMetrics(0, 0, None, None, None, None, None, None, None, None, 0.0)
    normal = tally_of(np.array([0.0, 0.1, 0.2]), np.zeros(3)).result()
    anomalous = tally_of(np.array([0.0, 0.1, 0.2]), np.ones(3)).result()
    assert empty == nothing
    assert normal == PixelMetrics(3, 0, 0.0, None, None, None, None, None, None, None, 0.0)
    assert (anomalous.average_precision, anomalous.auroc, anomalous.auroc_bounds) == (1.0, None, None)
    assert anomalous.best_dice is not None
    assert (anomalous.best_dice.threshold, anomalous.best_dice.dice) == (0.0, 1.0)
    assert anomalous.best_dice.false_positive_rate is None
    for result in (empty, normal, anomalous):
        json.dumps(asdict(result), allow_nan=False)


def study_search(scores: Array, labels: Array) -> tuple[float, float]:
    grid = np.linspace(scores.max(), scores.min(), 100).astype(np.float32)
    dice = [2 * (called & labels).sum() / (called.sum() + labels.sum()) for called in (scores > t for t in grid)]
    best = int(np.argmax(dice))
    return float(dice[best]), float(grid[best])


@pytest.mark.parametrize("name", ["ties", "all equal", "negative", "most of a background", "both signs and both zeros"])
def test_study_dice_is_the_best_of_its_hundred_thresholds(name: str) -> None:
    rng = np.random.default_rng(6)
    scores, labels = labelled(EXACT[name](rng), rng)
    point = tally_of(scores, labels).result().study_dice
    dice, above = study_search(scores, labels)
    assert point is not None
    assert point.dice == pytest.approx(dice, abs=1e-15)
    assert np.array_equal(scores >= np.float32(point.threshold), scores > np.float32(above))


@pytest.mark.parametrize("name", ["uniform", "both signs", "heavy tail"])
def test_study_dice_of_binned_scores_is_exact_at_the_threshold_it_names(name: str) -> None:
    rng = np.random.default_rng(7)
    scores, labels = labelled(BINNED[name](rng), rng)
    result = tally_of(scores, labels).result()
    assert result.study_dice is not None
    assert result.best_dice is not None
    assert result.study_dice.dice == dice_from(scores, labels, result.study_dice.threshold)
    assert result.study_dice.dice == pytest.approx(study_search(scores, labels)[0], abs=2e-4)
    assert result.study_dice.dice <= result.best_dice.dice  # type: ignore[operator]  # both have anomalies


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("name", ["ties", "thousands of scores", "negative"])
def test_threshold_at_a_false_positive_rate_is_the_lowest_that_keeps_it(name: str, rate: float) -> None:
    rng = np.random.default_rng(8)
    scores, labels = labelled(EXACT[name](rng), rng)
    tally = tally_of(scores, labels)
    threshold = tally.threshold_at_fpr(rate)
    kept = [score for score in np.unique(scores) if (scores[~labels] >= score).mean() <= rate]
    assert threshold is not None
    assert threshold == pytest.approx(min(kept)) if kept else threshold > scores.max()
    point = tally.operating_point(threshold)
    assert point.threshold == threshold
    assert point.dice == dice_from(scores, labels, threshold)
    assert point.sensitivity == pytest.approx((scores[labels] >= np.float32(threshold)).mean())
    assert point.false_positive_rate == pytest.approx((scores[~labels] >= np.float32(threshold)).mean())


def test_a_threshold_from_healthy_images_serves_another_tally() -> None:
    rng = np.random.default_rng(9)
    healthy, scores = rng.random(50_000, np.float32), 2 * rng.random(50_000, np.float32)
    threshold = tally_of(healthy, np.zeros(50_000)).threshold_at_fpr(0.05)
    assert threshold is not None
    assert threshold == pytest.approx(0.95, abs=0.01)
    point = tally_of(scores, scores > 1).operating_point(threshold)
    assert threshold <= point.threshold <= threshold * (1 + 2**-13)
    assert point.dice == dice_from(scores, scores > 1, point.threshold)
    assert point.sensitivity == 1.0


def test_a_threshold_below_all_scores_calls_all_and_one_above_calls_none() -> None:
    tally = tally_of(np.array([-2.0, 1.0, 3.0]), np.array([0, 0, 1]))
    everything, nothing = tally.operating_point(-1e9), tally.operating_point(1e9)
    assert (everything.threshold, everything.dice, everything.false_positive_rate) == (-2.0, 0.5, 1.0)
    assert (nothing.dice, nothing.sensitivity, nothing.false_positive_rate) == (0.0, 0.0, 0.0)


def test_the_lowest_score_is_a_threshold_though_its_bin_reaches_further_down() -> None:
    scores = np.random.default_rng(13).standard_normal(40_000, np.float32)
    tally = tally_of(scores, scores > 0)
    assert tally.result().resolution > 0
    point = tally.operating_point(float(scores.min()))
    assert point.threshold == scores.min()
    assert (point.sensitivity, point.false_positive_rate) == (1.0, 1.0)
    assert tally.operating_point(-1e9) == point


def test_a_false_positive_rate_needs_normal_items_and_a_share() -> None:
    tally = tally_of(np.array([0.1, 0.2]), np.ones(2))
    assert tally.threshold_at_fpr(0.05) is None
    with pytest.raises(UsageError, match="between 0 and 1"):
        tally.threshold_at_fpr(5)


@pytest.mark.parametrize("threshold", [math.nan, math.inf, 1e300])
def test_an_operating_point_needs_a_finite_threshold(threshold: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        tally_of(np.array([0.1]), np.ones(1)).operating_point(threshold)


def test_an_operating_point_needs_scores() -> None:
    with pytest.raises(UsageError, match="empty tally"):
        ScoreTally().operating_point(0.5)


WRONG: dict[str, tuple[Any, Any, str]] = {
    "NaN": ([0.1, math.nan], [0, 1], "NaN"),
    "infinite": ([0.1, -math.inf], [0, 1], "infinite"),
    "another shape": ([0.1, 0.2], [[0, 1]], "same shape"),
    "mask of 255": ([0.1, 0.2], [0, 255], "neither 0 nor 1"),
    "mask with NaN": ([0.1, 0.2], [0.0, math.nan], "neither 0 nor 1"),
    "words": (["a", "b"], [0, 1], "real numbers"),
    "complex": ([0.1 + 1j, 0.2], [0, 1], "real numbers"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_counted_is_refused_and_leaves_the_tally_as_it_was(name: str) -> None:
    scores, labels, message = WRONG[name]
    tally = tally_of(np.array([0.5, 0.6]), np.array([0, 1]))
    before = tally.to_arrays()
    with pytest.raises(UsageError, match=message):
        tally.update(scores, labels)
    with pytest.raises(UsageError, match=message):
        image_metrics(scores, labels)
    assert all(np.array_equal(before[key], tally.to_arrays()[key]) for key in before)


def test_a_bad_pixel_at_the_end_of_a_long_map_leaves_the_tally_as_it_was() -> None:
    scores = np.append(np.zeros(200_000), 1e39)  # too large for float32
    tally = ScoreTally()
    with pytest.raises(UsageError, match="float32"):
        tally.update(scores, np.zeros(scores.size, bool))
    assert tally.result().pixels == 0


@pytest.mark.parametrize("kind", [np.float64, np.float16, ">f4", np.uint8, np.int32])
@pytest.mark.parametrize("mask_kind", [bool, np.uint8, np.float32, ">i2"])
def test_types_and_layouts_count_alike(kind: Any, mask_kind: Any) -> None:
    rng = np.random.default_rng(10)
    scores, labels = rng.integers(0, 200, (3, 40, 50)), rng.random((3, 40, 50)) < 0.2
    plain, other, strided = tally_of(scores.ravel().astype(np.float32), labels.ravel()), ScoreTally(), ScoreTally()
    other.update(scores.astype(kind), np.asfortranarray(labels).astype(mask_kind))
    strided.update(np.repeat(scores.astype(kind), 2, axis=1)[::-1, ::2], labels.astype(mask_kind)[::-1])
    assert same(plain, other)
    assert same(plain, strided)


def test_arrays_bring_back_the_tally_and_counting_goes_on() -> None:
    rng = np.random.default_rng(11)
    scores, labels = labelled(rng.standard_normal(60_000), rng)
    half = tally_of(scores[:30_000], labels[:30_000])
    arrays = half.to_arrays()
    assert all(array.dtype == np.int64 for array in arrays.values())
    back = ScoreTally.from_arrays(arrays)
    assert same(half, back)
    back.update(scores[30_000:], labels[30_000:])
    assert same(back, tally_of(scores, labels))
    assert same(ScoreTally.from_arrays(ScoreTally().to_arrays()), ScoreTally())


def spoil(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    counts = arrays["counts"]
    spoilt: dict[str, dict[str, Array]] = {
        "missing": {},
        "floats": {"counts": counts.astype(float)},
        "two rows": {"counts": counts[:2]},
        "negative count": {"counts": counts * np.array([[1], [-1], [1]])},
        "empty bin": {"counts": counts * np.array([[1], [0], [0]])},
        "ascending": {"counts": counts[:, ::-1]},
        "shift": {"shift": np.array(11), "counts": np.vstack([counts[:1] >> 11, counts[1:]])},
        "extremes": {"extremes": arrays["extremes"] + (1 << 20)},
        "beyond float32": {"counts": counts + np.array([[1 << 40], [0], [0]])},
        "too many pages": {
            "counts": np.vstack([np.arange(5000)[::-1] << 10, np.ones((2, 5000), np.int64)]),
            "extremes": np.array([0, 4999 << 10]),
        },
    }
    return {"shift": arrays["shift"]} if name == "missing" else {**arrays, **spoilt[name]}


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "floats",
        "two rows",
        "negative count",
        "empty bin",
        "ascending",
        "shift",
        "extremes",
        "beyond float32",
        "too many pages",
    ],
)
def test_arrays_that_no_tally_wrote_are_refused(name: str) -> None:
    arrays = tally_of(np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1])).to_arrays()
    with pytest.raises(IntegrityError, match="tally"):
        ScoreTally.from_arrays(spoil(arrays, name))


def peak_of(updates: int) -> int:
    rng = np.random.default_rng(12)
    scores, labels = rng.standard_normal((256, 256), np.float32), rng.random((256, 256)) < 0.1
    with traced() as peak:
        tally = ScoreTally()
        for step in range(updates):
            tally.update(scores * np.float32(1 + step / 7), labels)
        tally.result()
    return peak.bytes


def test_memory_does_not_grow_with_the_number_of_pixels() -> None:
    few, many = peak_of(3), peak_of(60)
    assert many < 200e6
    assert many < few + 2e6


@pytest.mark.parametrize(("prevalence", "dice"), [(0.0, 0.0), (0.06, 0.113), (0.02, 0.039), (1.0, 1.0)])
def test_random_dice_is_that_of_calling_everything_anomalous(prevalence: float, dice: float) -> None:
    assert random_dice(prevalence) == pytest.approx(dice, abs=5e-4)
    labels = np.arange(1000) < 1000 * prevalence
    if labels.any():
        point = tally_of(np.zeros(1000), labels).result().best_dice
        assert point is not None
        assert point.dice == pytest.approx(random_dice(prevalence))


def test_a_prevalence_is_a_share() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        random_dice(6)
