"""What healthy images that the model has not learnt from score and look like: the yardstick of every later one."""

import numpy as np

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.records import Config
from upd_zoo.artefact.subjects import HIGHEST, ROBUST, SubjectRule
from upd_zoo.errors import ToleranceError
from upd_zoo.runtime.model import Predict
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Foreground, Protocol
from upd_zoo.yardstick import Yardstick

_BATCH = 16
_FEW = 20
"""Healthy subjects below which the labels say how few they are: of 20, one is expected above a threshold of 5 %."""
_TIED = 1e-6
"""Difference, as a share of the map's range, up to which two values are taken for one: that of float32's rounding."""


def calibrate(
    predict: Predict, store: Store, foreground: Foreground, rule: SubjectRule = HIGHEST, erosion: int = 0
) -> Calibration:
    """Return the distribution of scores, map values and looks over a store of healthy images.

    Args:
        predict: The model.
        store: Healthy images that it was not trained on.
        foreground: Which pixels can be anomalous; the others are left out of the map's quantiles.
        rule: How scores of a subject's images become its own.
        erosion: Pixels by which tissue is eroded before it is the foreground.
    """
    yardstick = Yardstick(foreground, rule, erosion)
    for start in range(0, len(store), _BATCH):
        images = np.ascontiguousarray(store.images[start : start + _BATCH])
        maps, scores = predict(images)
        yardstick.add(images, maps[:, 0], scores, store.subjects[start : start + _BATCH])
    return yardstick.calibration(store.facts.name)


def subject_rule(config: Config) -> SubjectRule:
    """Return how the scores of a volume's slices become its own; the study has scores of slices alone."""
    return ROBUST if config.scale is not None and config.protocol is Protocol.SOUND else HIGHEST


def calibration_labels(calibration: Calibration) -> list[str]:
    """Return what a reader of any percentile or threshold must be told of it: how few subjects it rests on."""
    subjects = calibration.subject_scores.count
    if calibration.folds:
        return [f"calibrated in {calibration.folds} folds of the {subjects} healthy subjects that it was trained on"]
    return [f"calibrated on {subjects} healthy subject{'s' * (subjects != 1)}"] if subjects < _FEW else []


def check_thresholds(calibration: Calibration) -> None:
    """Refuse thresholds that tell nothing, because more healthy values than may lie above them share the largest.

    So it is where maps end at their largest possible value, which nothing can exceed, or where all scores are equal.

    Raises:
        ToleranceError: One is.
    """
    least = _TIED * (calibration.map_values.values[-1] - calibration.map_values.values[0])
    for what, healthy, threshold in (
        ("images", calibration.image_scores, calibration.image_threshold),
        ("subjects", calibration.subject_scores, calibration.subject_threshold),
        ("pixels", calibration.map_values, calibration.map_threshold),
    ):
        highest = healthy.values[-1]
        if healthy.count > 1 and threshold >= highest - least:
            raise ToleranceError(
                f"the threshold of {what} would flag nothing: at {threshold:g} it is the highest healthy value itself",
                f"a highest value that at most {calibration.false_positive_rate:.0%} of the healthy {what} share",
                "train for longer, or with a residual that does not end at its largest value, such as absolute "
                "or ssim-8-bit",
            )
