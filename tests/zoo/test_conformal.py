"""Thresholds promise a share of false positives, and keep it on draws that they have not seen."""

import numpy as np
import pytest
from scipy.stats import beta

from upd_zoo.artefact.calibration import Quantiles
from upd_zoo.artefact.conformal import drift, least_count, promise
from upd_zoo.errors import UsageError

LEVELS = np.linspace(0, 1, 101).tolist()


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (50, 0.05), (100, 0.1), (9, 0.1), (400, 0.02)])
def test_the_share_of_new_healthy_cases_above_is_kept(count: int, rate: float) -> None:
    draws = np.random.default_rng(count).normal(size=(2000, count + 1))
    kept = [promise(draw[:-1], rate) for draw in draws]
    above = np.mean([draw[-1] > each.threshold for draw, each in zip(draws, kept, strict=True)])
    assert kept[0].expected <= rate
    assert above <= kept[0].expected + 3 * np.sqrt(rate / 2000)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (57, 0.05), (300, 0.1)])
def test_the_bound_is_the_quantile_of_the_beta_distribution(count: int, rate: float) -> None:
    found = promise(np.arange(count, dtype=float), rate)
    above = round(found.expected * (count + 1))
    assert found.at_most == pytest.approx(beta.ppf(0.95, above, count + 1 - above), abs=1e-6)
    assert found.at_most > found.expected


def test_too_few_cases_promise_nothing_and_say_what_would() -> None:
    assert (least_count(0.05), least_count(0.1), least_count(1 / 3)) == (19, 9, 2)
    with pytest.raises(UsageError, match=r"at least 19 subjects.*--false-positive-rate 0\.1\.$"):
        promise(np.arange(9.0), 0.05)
    promise(np.arange(9.0), 0.1)
    for rate in (0, 1, 5):
        with pytest.raises(UsageError, match="above 0 and below 1"):
            promise(np.arange(50.0), rate)


def test_scores_of_another_scanner_drift_and_those_of_the_same_do_not() -> None:
    generator = np.random.default_rng(0)
    known = Quantiles.of(generator.normal(size=200), LEVELS)
    drifts = [drift(generator.normal(size=40), known) is not None for _ in range(300)]
    assert np.mean(drifts) < 0.03
    higher = drift(generator.normal(1.5, size=40), known)
    assert higher is not None
    assert higher > 80
    lower = drift(generator.normal(-1.5, size=40), known)
    assert lower is not None
    assert lower < 20
