"""How far a metric would wander with other subjects: bootstrap intervals."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.metrics import Floats, image_metrics

_RESAMPLES: Final = 1000
_SEED: Final = 0
_BINS: Final = 1024


def bootstrap_intervals(
    scores: Floats, anomalous: npt.NDArray[np.bool_], subjects: list[str]
) -> dict[str, tuple[float, float]]:
    """Return 95 % bootstrap intervals of the image-level metrics; whole subjects are drawn, not images.

    Args:
        scores: (N,) one per image.
        anomalous: (N,) whether it shows pathology.
        subjects: N names, of whom each image is.

    Returns:
        The least and the greatest by the metric's name; metrics that no draw defines are left out.
    """
    _, of_subject = np.unique(subjects, return_inverse=True)  # (N,) number of the subject
    rows = [np.flatnonzero(of_subject == subject) for subject in range(of_subject.max() + 1)]
    generator = np.random.default_rng(_SEED)
    drawn: dict[str, list[float]] = {"ap_image": [], "auroc": []}
    for _ in range(_RESAMPLES):
        sample = np.concatenate([rows[index] for index in generator.integers(len(rows), size=len(rows))])
        found = image_metrics(scores[sample], anomalous[sample])
        if found.average_precision is not None and found.auroc is not None:
            drawn["ap_image"].append(found.average_precision)
            drawn["auroc"].append(found.auroc)
    bounds = {name: np.quantile(values, (0.025, 0.975)) for name, values in drawn.items() if values}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def pixel_interval(
    maps: npt.NDArray[np.float32], masks: npt.NDArray[np.uint8], subjects: list[str]
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of AP_p; whole subjects are drawn.

    Pixels are counted once for each subject, in bins that hold ever fewer pixels towards the highest values, where AP
    is decided; a draw adds up counts.

    Args:
        maps: (N, H, W), higher is more anomalous.
        masks: (N, H, W), 1 where pathological.
        subjects: N names, of whom each image is.

    Returns:
        The least and the greatest; None where no pixel is pathological.
    """
    if not masks.any():
        return None
    tail = np.quantile(maps, 1 - np.geomspace(1, 1 / maps.size, _BINS))
    edges = np.unique(np.concatenate((tail, np.quantile(maps[masks == 1], np.linspace(0, 1, _BINS)))))
    _, of_subject = np.unique(subjects, return_inverse=True)
    counts = np.zeros((of_subject.max() + 1, 2, len(edges) + 1))  # (S, 2, K): normal and anomalous pixels, by bin
    for image, mask, subject in zip(maps, masks, of_subject, strict=True):
        bins = np.searchsorted(edges, image.ravel(), side="right")
        pairs = np.bincount(bins * 2 + mask.ravel(), minlength=2 * counts.shape[2])
        counts[subject] += pairs.reshape(-1, 2).T
    generator = np.random.default_rng(_SEED)
    draws = generator.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=_RESAMPLES)
    drawn = [found for draw in draws if (found := _binned_precision(np.tensordot(draw, counts, 1))) is not None]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _binned_precision(counts: Floats) -> float | None:
    """Return AP of counts (2, K) of normal and anomalous pixels by bin, in ascending order; None without the latter."""
    positives, found = counts.sum(axis=0)[::-1].cumsum(), counts[1, ::-1]
    total = found.sum()
    return float((found * found.cumsum() / np.maximum(positives, 1)).sum() / total) if total else None
