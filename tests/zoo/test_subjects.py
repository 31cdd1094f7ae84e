"""How slices decide about their volume: those of a few pixels do not, and one alone does not."""

import numpy as np
import pytest

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.subjects import HIGHEST, ROBUST, SubjectRule

SCORES = np.array([9.0, 1.0, 2.0, 3.0, 4.0, 8.0])
TISSUE = np.array([0.01, 0.10, 0.40, 0.40, 0.30, 0.02])


def test_the_highest_of_all_is_what_a_model_without_a_rule_means() -> None:
    assert Calibration.model_fields["subject_rule"].default == HIGHEST
    assert HIGHEST.score(SCORES, TISSUE) == 9
    assert HIGHEST.shown(SCORES, TISSUE) == 0


def test_slices_of_a_few_pixels_neither_decide_nor_are_shown() -> None:
    assert ROBUST.score(SCORES, TISSUE) == 4
    assert ROBUST.shown(SCORES, TISSUE) == 4


@pytest.mark.parametrize(("share", "score"), [(0.0, 9.0), (0.3, 8.5), (0.5, 7.0), (1.0, 4.5)])
def test_the_highest_are_averaged(share: float, score: float) -> None:
    assert SubjectRule(share=share).score(SCORES, TISSUE) == pytest.approx(score)


def test_one_slice_that_stands_out_moves_a_robust_score_less() -> None:
    flat, tissue = np.ones(120), np.full(120, 0.4)
    spiked = flat.copy()
    spiked[60] = 10
    assert HIGHEST.score(spiked, tissue) == 10
    assert ROBUST.score(spiked, tissue) == pytest.approx(1 + 9 / 6)


def test_an_only_image_decides_whatever_it_shows() -> None:
    assert ROBUST.score(np.array([5.0]), np.array([0.0])) == 5
