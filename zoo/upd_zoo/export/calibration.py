"""What healthy images that the model has not learnt from score and look like: the yardstick of every later one."""

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.appearance import coarse, figures_of, joined_figures
from upd_zoo.artefact.calibration import Calibration, Quantiles, appearance_of
from upd_zoo.artefact.records import Config
from upd_zoo.artefact.subjects import HIGHEST, ROBUST, SubjectRule
from upd_zoo.errors import ToleranceError
from upd_zoo.images.foreground import inside
from upd_zoo.runtime.model import Predict
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Foreground, Protocol

FALSE_POSITIVE_RATE = 0.05
_LEVELS = [*np.linspace(0, 0.95, 20).round(2).tolist(), 0.96, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0]
_BATCH = 16
_MAP_IMAGES = 256
"""Images whose map values are kept for quantiles: 256 x 128² values, 16 MB."""


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
    keep_every = -(-len(store) // _MAP_IMAGES)
    scores, tissue = np.empty(len(store), np.float64), np.empty(len(store), np.float64)
    values: list[npt.NDArray[np.float32]] = []
    figures, pictures = [], []
    for start in range(0, len(store), _BATCH):
        images = np.ascontiguousarray(store.images[start : start + _BATCH])
        maps, scores[start : start + len(images)] = predict(images)
        figures.append(figures_of(images))
        pictures.append(coarse(images))
        tissue[start : start + len(images)] = inside(images, foreground).mean(axis=(1, 2))
        shown = inside(images, foreground, erosion)
        for row in range(-start % keep_every, len(images), keep_every):
            values.append(maps[row, 0][shown[row]])
    level = 1 - FALSE_POSITIVE_RATE
    groups = [np.flatnonzero(np.array(store.subjects) == name) for name in dict.fromkeys(store.subjects)]
    subject_scores = np.array([rule.score(scores[group], tissue[group]) for group in groups])
    map_values = np.concatenate(values)
    return Calibration(
        dataset=store.facts.name,
        image_scores=Quantiles.of(scores, _LEVELS),
        subject_rule=rule,
        subject_scores=Quantiles.of(subject_scores, _LEVELS),
        map_values=Quantiles.of(map_values, _LEVELS),
        appearance=appearance_of(joined_figures(figures), np.concatenate(pictures), store.subjects),
        false_positive_rate=FALSE_POSITIVE_RATE,
        image_threshold=float(np.quantile(scores, level)),
        subject_threshold=float(np.quantile(subject_scores, level)),
        map_threshold=float(np.quantile(map_values, level)),
    )


def subject_rule(config: Config) -> SubjectRule:
    """Return how the scores of a volume's slices become its own; the study has scores of slices alone."""
    return ROBUST if config.scale is not None and config.protocol is Protocol.SOUND else HIGHEST


def calibration_labels(calibration: Calibration) -> list[str]:
    """Return what a reader of any percentile or threshold must be told of it: how few subjects it rests on."""
    subjects = calibration.subject_scores.count
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
                "train for longer, or with a residual that does not end at its largest value, such as a larger "
                "dynamic_range",
            )
