"""What healthy images score: a yardstick that nothing can exceed is refused, one of few subjects is labelled."""

from pathlib import Path

import numpy as np
import pytest

from fake.stores import write_tiny_store
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.subjects import SubjectRule
from upd_zoo.errors import ToleranceError
from upd_zoo.export.calibration import calibrate, calibration_labels, check_thresholds
from upd_zoo.runtime.model import Array, Predict
from upd_zoo.vocabulary import Foreground


def scoring(gain: float, most: float = 1.0) -> Predict:
    """Return a model whose map is the image times a gain, cut at its largest value, and whose score is its maximum."""

    def predict(images: Array) -> tuple[Array, Array]:
        maps = np.minimum(images.mean(axis=1, keepdims=True) * np.float32(gain), np.float32(most))
        return maps, maps.max(axis=(1, 2, 3))

    return predict


def calibrated(predict: Predict, folder: Path, images: int = 24) -> Calibration:
    store = write_tiny_store(folder / f"store-{images}", 1, images, name="phantom-t2/validation")
    return calibrate(predict, store, Foreground.ABOVE_MINIMUM)


def test_scores_with_a_spread_are_a_yardstick(tmp_path: Path) -> None:
    calibration = calibrated(scoring(1), tmp_path)
    check_thresholds(calibration)
    assert calibration.image_threshold < calibration.image_scores.values[-1]


@pytest.mark.parametrize(("gain", "what"), [(2.5, "images"), (50, "images"), (0, "images")])
def test_scores_at_the_end_of_the_maps_range_are_none(gain: float, what: str, tmp_path: Path) -> None:
    with pytest.raises(ToleranceError, match=f"The threshold of {what} would flag nothing"):
        check_thresholds(calibrated(scoring(gain), tmp_path))


def test_pixels_at_the_end_of_the_maps_range_are_none(tmp_path: Path) -> None:
    def predict(images: Array) -> tuple[Array, Array]:
        return (images > 0).astype(np.float32), images.mean(axis=(1, 2, 3))

    with pytest.raises(
        ToleranceError, match="The threshold of pixels would flag nothing: at 1 it is the highest healthy value itself"
    ):
        check_thresholds(calibrated(predict, tmp_path))


def test_one_subject_alone_gives_a_threshold_that_another_may_exceed(tmp_path: Path) -> None:
    calibration = calibrated(scoring(1), tmp_path, images=2)
    assert calibration.subject_scores.count == 1
    check_thresholds(calibration)


@pytest.mark.parametrize(
    ("images", "labels"),
    [(40, []), (38, ["calibrated on 19 healthy subjects"]), (2, ["calibrated on 1 healthy subject"])],
)
def test_few_subjects_are_told(images: int, labels: list[str], tmp_path: Path) -> None:
    assert calibration_labels(calibrated(scoring(1), tmp_path, images)) == labels


def test_a_subject_is_what_its_rule_makes_of_its_images(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", 1, 24, name="phantom-t2/validation")
    highest, mean = (
        calibrate(scoring(1), store, Foreground.ABOVE_MINIMUM, SubjectRule(share=share)).subject_scores
        for share in (0.0, 1.0)
    )
    assert highest.count == mean.count
    assert highest.at(0.5) > mean.at(0.5)
