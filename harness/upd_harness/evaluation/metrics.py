"""Average precision, AUROC and the best possible Dice, as formulas over sorted scores.

Over the distinct scores in descending order, with p_k anomalous and n_k normal items at the k-th of them, TP_k and FP_k
their running sums, P and N their totals:

    AP     = Σ_k (p_k / P) · TP_k / (TP_k + FP_k)          step-wise, without interpolation
    AUROC  = Σ_k p_k · (N - FP_k + n_k / 2) / (P · N)      P(s⁺ > s⁻) + ½ P(s⁺ = s⁻)
    ⌈Dice⌉ = max_k 2 TP_k / (TP_k + FP_k + P)              over every threshold that tells scores apart

Images are few: `image_metrics` sorts their scores, in float64. Pixels are many: `tally.ScoreTally` counts them, and
hands their steps to these formulas piece by piece.

Higher is more anomalous; an item is called so where score >= threshold. What is undefined is None, never NaN.

References:
    Study, section on metrics: AP_i, AUROC, AP_p and ⌈Dice⌉, all computed over the data set.
    AP: Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.
    AUROC: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import UsageError

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Bounds(NamedTuple):
    """An interval that is certain to hold the value that the float32 scores have without bins."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class ImageMetrics:
    """Detection of anomalous images.

    Attributes:
        images: Number of images.
        anomalous: Number of anomalous ones among them.
        prevalence: Their share; None without images.
        average_precision: AP_i in [0, 1]; None without anomalous images.
        auroc: Area under the ROC curve in [0, 1]; None unless both classes are present.
    """

    images: int
    anomalous: int
    prevalence: float | None
    average_precision: float | None
    auroc: float | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What one threshold achieves.

    Attributes:
        threshold: Items with score >= threshold are called anomalous.
        dice: 2 TP / (2 TP + FP + FN) in [0, 1]; None without anomalous items.
        sensitivity: TP / P in [0, 1]; None without anomalous items.
        false_positive_rate: FP / N in [0, 1]; None without normal items.
    """

    threshold: float
    dice: float | None
    sensitivity: float | None
    false_positive_rate: float | None


@dataclass(frozen=True, slots=True)
class PixelMetrics:
    """Localisation of anomalous pixels, all images of a test set taken together.

    Attributes:
        pixels: Number of pixels.
        anomalous: Number of anomalous ones among them.
        prevalence: Their share; None without pixels.
        average_precision: AP_p in [0, 1]; None without anomalous pixels.
        auroc: Area under the ROC curve in [0, 1]; None unless both classes are present.
        best_dice: ⌈Dice⌉ and its threshold, by a sweep over every tallied score; None without anomalous pixels.
        average_precision_bounds, auroc_bounds, best_dice_bounds: Where the same lies for scores that are not binned.
        study_dice: The study's ⌈Dice⌉: the best of 100 thresholds t spaced evenly from the highest to the lowest score,
            a pixel being anomalous if score > t. Its `threshold` is the next tallied one above t, so that >= holds.
        resolution: Relative width of the widest bin of scores; 0.0 if each score had its own, and then all is exact.
    """

    pixels: int
    anomalous: int
    prevalence: float | None
    average_precision: float | None
    average_precision_bounds: Bounds | None
    auroc: float | None
    auroc_bounds: Bounds | None
    best_dice: OperatingPoint | None
    best_dice_bounds: Bounds | None
    study_dice: OperatingPoint | None
    resolution: float


def random_dice(prevalence: float) -> float:
    """Return 2p / (1 + p), the best Dice without information, reached by calling everything anomalous.

    It is ⌈Dice⌉ in the row "Random" of the study's tables, next to AP = p and AUROC = ½.

    Raises:
        UsageError: `prevalence`, the share p of anomalous items, lies outside [0, 1].
    """
    if not 0 <= prevalence <= 1:
        raise UsageError(f"a prevalence of {prevalence} is no share", "a number between 0 and 1")
    return 2 * prevalence / (1 + prevalence)


class Steps(NamedTuple):
    """Consecutive distinct scores in descending order, with the running sums up to and including each.

    Attributes:
        bins: (K,) the scores, or the bins of scores, by number.
        normal: (K,) n_k.
        anomalous: (K,) p_k.
        false_positives: (K,) FP_k, counted from the highest score of all.
        true_positives: (K,) TP_k, likewise.
        tied: (K,) whether all items of the step have the same score.
    """

    bins: Integers
    normal: Integers
    anomalous: Integers
    false_positives: Integers
    true_positives: Integers
    tied: npt.NDArray[np.bool_]


def precision_sums(steps: Steps) -> Floats:
    """Return (3,): P · AP of these steps, and the least and the most that scores within the bins allow.

    Precision at an anomalous item lies highest if all anomalous items of its step tie above the normal ones:
    TP / (TP + FP - n). It lies lowest if the normal ones come first and no two anomalous ones tie: the i-th then has
    f(i) = (T + i) / (T + i + FP) with T = TP - p. As f is concave, Σ f(i) ≥ ∫ f from ½ to p + ½.
    """
    rows = steps.anomalous > 0
    normal, anomalous, fp, tp, tied = (column[rows] for column in steps[1:])  # (K',) the steps with anomalous items
    value = anomalous * (tp / (tp + fp))
    upper = anomalous * (tp / (tp + fp - normal))
    lower = anomalous - fp * np.log1p(anomalous / (tp - anomalous + 0.5 + fp))
    return np.array([value.sum(), np.where(tied, value, lower).sum(), np.where(tied, value, upper).sum()])


def concordance_sums(steps: Steps, normals: int) -> Floats:
    """Return (3,): P · N · AUROC of these steps, and the least and the most that scores within the bins allow."""
    value = (steps.anomalous * (normals - steps.false_positives + steps.normal / 2)).sum()
    half = np.where(steps.tied, 0.0, steps.anomalous * (steps.normal / 2)).sum()
    return np.array([value, value - half, value + half])


def highest_dice(steps: Steps, anomalies: int) -> tuple[float, int, float]:
    """Return the best Dice of these steps, the bin it starts from, and the most that scores within the bins allow."""
    tp, fp = steps.true_positives, steps.false_positives
    dice = 2 * tp / (tp + fp + anomalies)  # (K,)
    bound = 2 * tp / (tp + fp - np.where(steps.tied, 0, steps.normal) + anomalies)
    best = int(dice.argmax())
    return float(dice[best]), int(steps.bins[best]), float(bound.max())


def share(part: int, whole: int) -> float | None:
    """Return a part's share of the whole; None where the whole is nothing."""
    return part / whole if whole else None


def image_metrics(scores: npt.ArrayLike, labels: npt.ArrayLike) -> ImageMetrics:
    """Return AP_i and AUROC of image scores, exactly; equal scores are ties, whatever their order.

    Args:
        scores: One number per image, any shape, finite; higher is more anomalous. Compared as float64.
        labels: As many, bool or 0 and 1; 1 is anomalous.

    Raises:
        UsageError: The shapes differ, a score is not finite, or a label is neither 0 nor 1.
    """
    values, truth = paired(scores, labels)
    values = values.astype(np.float64).ravel()  # (N,)
    check_values(values, truth)
    distinct, step = np.unique(-values, return_inverse=True)  # (K,) descending, and (N,) which of them
    table = np.bincount(step * 2 + (truth.ravel() == 1), minlength=2 * distinct.size)  # (2 K,) normal, anomalous, …
    normal, anomalous = table.reshape(-1, 2).T  # (K,) each
    tied = np.ones(distinct.size, bool)
    steps = Steps(np.arange(distinct.size), normal, anomalous, normal.cumsum(), anomalous.cumsum(), tied)
    n, p = int(normal.sum()), int(anomalous.sum())
    precision = float(precision_sums(steps)[0]) / p if p else None
    area = float(concordance_sums(steps, n)[0]) / (p * n) if p and n else None
    return ImageMetrics(n + p, p, share(p, n + p), precision, area)


def bounded(sums: Iterable[float], whole: int) -> tuple[float, Bounds] | tuple[None, None]:
    """Return a value and its interval from their sums; None where there is nothing to divide by."""
    if whole == 0:
        return None, None
    value, lower, upper = (float(part) / whole for part in sums)
    return value, Bounds(min(lower, value), max(upper, value))  # sums of equal terms may differ in the last place


def paired(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Array, Array]:
    """Return both as arrays, refused unless of one shape and of real numbers."""
    pair = np.asarray(scores), np.asarray(labels)
    if pair[0].shape != pair[1].shape:
        raise UsageError(f"scores {pair[0].shape} with labels {pair[1].shape}", "both of the same shape")
    if any(array.dtype.kind not in "biuf" for array in pair):
        raise UsageError(f"scores of {pair[0].dtype} with labels of {pair[1].dtype}", "real numbers in both")
    return pair


def check_values(scores: Array, labels: Array) -> None:
    """Refuse scores that have no order and labels that have no class."""
    if not np.isfinite(scores).all():
        raise UsageError("a score is NaN, or infinite as float32", "finite scores", "leave out the image it belongs to")
    if labels.dtype.kind != "b" and not ((labels == 0) | (labels == 1)).all():
        raise UsageError("a mask or label is neither 0 nor 1", "1 for anomalous, 0 for normal", "pass mask > 0")
