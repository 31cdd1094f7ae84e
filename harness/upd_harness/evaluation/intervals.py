"""95 % bootstrap intervals of the metrics of a test set: whole subjects are drawn, not images."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.digest import Floats
from upd_harness.evaluation.resampling import RESAMPLES, Metric, draws, image_draws, intervals, numbered, pixel_draws
from upd_harness.evaluation.subjects import SubjectTally


def resampled(
    scores: Floats,
    anomalous: npt.NDArray[np.bool_],
    subjects: Sequence[str],
    pixels: SubjectTally | None = None,
    resamples: int = RESAMPLES,
) -> Metric:
    """Return every metric in each of the draws, which are the same for all models on these images.

    Args:
        scores: (N,) one per image.
        anomalous: (N,) whether it shows pathology.
        subjects: N names, of whom each image is.
        pixels: Those of all these subjects, where their truth is known.
        resamples: How many draws; of a higher number the first ones are the same.
    """
    names, numbers = numbered(subjects)
    drawn = draws(len(names), resamples)
    found = image_draws(scores, anomalous, numbers, drawn)
    if pixels is not None and pixels.names:
        found |= pixel_draws(pixels, drawn[:, [names.index(name) for name in pixels.names]])
    return found


def bootstrap_intervals(
    scores: Floats, anomalous: npt.NDArray[np.bool_], subjects: Sequence[str], pixels: SubjectTally | None = None
) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest by the metric's name, of the middle 95 % of the draws of `resampled`.

    Metrics that no draw defines are left out; of a single subject, all are.
    """
    if len({*subjects}) < 2:
        return {}
    return intervals(resampled(scores, anomalous, subjects, pixels))


def tally_of(maps: npt.NDArray[np.float32], masks: npt.NDArray[np.uint8], subjects: Sequence[str]) -> SubjectTally:
    """Return the tally of maps (N, H, W) and masks (N, H, W) of subjects that are all in memory."""
    tally = SubjectTally()
    tally.update(maps, masks, subjects)
    tally.close()
    return tally
