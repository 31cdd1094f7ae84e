"""What hides behind a mean: strata, probes and subjects against numbers that are worked out by hand or by SciPy."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from fake.stores import write_tiny_store
from upd_harness.evaluation.intervals import tally_of
from upd_harness.evaluation.metrics import image_metrics
from upd_harness.evaluation.subgroups import Looks, looks_of, position_baseline, probes, strata, subject_level
from upd_zoo.artefact.subjects import HIGHEST
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Foreground

CONFIG: Any = SimpleNamespace(foreground=Foreground.ABOVE_MINIMUM, erosion=0)


def calibration(threshold: float) -> Any:
    """What a model would bring."""
    return SimpleNamespace(
        subject_rule=HIGHEST, subject_threshold=threshold, map_threshold=threshold, false_positive_rate=0.05
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("subgroups") / "store"
    return write_tiny_store(folder, images=12, masks=True, anomalous=6, name="phantom-t2/test")


@pytest.fixture(scope="module")
def looks(store: Store) -> Looks:
    return looks_of(store, CONFIG.foreground)


def test_images_are_seen_as_they_are(store: Store, looks: Looks) -> None:
    assert store.masks is not None
    row = len(store) - 1
    image, mask = store.images[row, 0], store.masks[row] == 1
    assert looks.area[row] == pytest.approx((image > 0).mean())
    assert looks.lesion[row] == mask.sum()
    assert looks.contrast[row] == pytest.approx(image[mask].mean() - image[(image > 0) & ~mask].mean(), abs=1e-5)
    assert np.isnan(looks.contrast[0])


def test_probes_are_those_of_an_independent_reference_on_healthy_images_alone(store: Store, looks: Looks) -> None:
    scores = np.round(looks.area * 40) + np.where(store.anomalous, 100, 0)
    found = probes(scores, store.anomalous, looks)
    healthy = ~store.anomalous
    assert found["foreground"] == pytest.approx(spearmanr(scores[healthy], looks.area[healthy]).statistic)
    alike = replace(looks, brightness=np.ones(len(store)))
    assert "brightness" not in probes(scores, store.anomalous, alike)


def test_a_model_that_sees_large_lesions_alone_is_found_out(store: Store, looks: Looks) -> None:
    sizes = np.where(store.anomalous, np.arange(12.0), 0)
    seen = replace(looks, lesion=sizes, contrast=-sizes)
    scores = np.where(sizes > 9, 5.0, np.arange(12) / 100 * ~store.anomalous)
    by = {
        name: [each.auroc for each in strata(scores, store.anomalous, seen) if each.by == name]
        for name in ("lesion pixels", "lesion contrast")
    }
    assert by["lesion pixels"][-1] == 1
    assert by["lesion pixels"][0] is not None
    assert by["lesion pixels"][0] < 0.5
    assert by["lesion contrast"] == by["lesion pixels"][::-1]


def test_the_place_of_a_slice_is_a_baseline_where_there_are_slices(store: Store, looks: Looks) -> None:
    assert position_baseline(store, replace(looks, slices=np.zeros(12))) is None
    middle = np.where(store.anomalous, 5.0, np.tile([0.0, 10.0], 6))
    found = position_baseline(store, replace(looks, slices=middle))
    assert found is not None
    assert found.auroc == 1


def test_subjects_are_judged_at_the_thresholds_of_the_model(store: Store, looks: Looks) -> None:
    assert store.masks is not None
    maps = np.array(store.images[:, 0])
    scores = maps.max(axis=(1, 2)).astype(float)
    found = subject_level(scores, store, looks, calibration(0.9), tally_of(maps, np.array(store.masks), store.subjects))
    assert (found.subjects, found.anomalous, found.auroc) == (6, 3, 1)
    assert found.dice == pytest.approx(1, abs=0.01)
    assert found.called == 0
    assert (found.alarms["all"].healthy, found.alarms["all"].alarmed) == (3, 0)
    alarmed = subject_level(scores, store, looks, calibration(0.0), None)
    assert alarmed.alarms["all"].alarmed == 3
    assert alarmed.dice is alarmed.called is None


def test_false_alarms_are_told_by_sex_age_view_and_site(tmp_path: Path, looks: Looks) -> None:
    store = write_tiny_store(tmp_path / "store", images=12, masks=True, anomalous=4, name="phantom-t2/test")
    for number, row in enumerate(store.index):
        row.update(
            sex="FM"[number // 2 % 2], age=str(30 + number // 2 * 10), view="", site=["HH", "IOP", "ill"][number // 4]
        )
    scores = np.repeat([3.0, 0, 3, 0, 9, 9], 2)
    alarms = subject_level(scores, store, looks, calibration(1.0), None).alarms
    counts = {group: (each.alarmed, each.healthy) for group, each in alarms.items()}
    assert counts == {
        "all": (2, 4),
        "sex F": (2, 2),
        "sex M": (0, 2),
        "site HH": (1, 2),
        "site IOP": (1, 2),
        "age under 40": (1, 1),
        "age 40 to 59": (1, 2),
        "age 60 and over": (0, 1),
    }
    assert image_metrics(scores, store.anomalous).auroc == 1
