"""How far a metric would wander with other subjects: bootstrap intervals."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.metrics import Floats, image_metrics

_RESAMPLES: Final = 1000
_SEED: Final = 0


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
