"""Provenance: what trained a model and on whom stands in its artefact, and nothing that is not known."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fake.trained import GREY, trained_artefact
from upd_zoo.artefact import provenance
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.provenance import PROVENANCE, Provenance, Work, note_work, subjects_hash, versions
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store

RECIPE = load_recipe(ModelId.parse(GREY)).document
NAMES = ("b", "a", "b")


@pytest.fixture
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, GREY)


def working(monkeypatch: pytest.MonkeyPatch, hardware: str) -> Work:
    """Let this be another machine."""
    work = Work(source_commit=None, code="0" * 64, versions={"python": "3.11"}, hardware=hardware)
    monkeypatch.setattr(provenance, "_work", lambda _device: work)
    return work


def noted(run: Path, *, begun: bool = False) -> Provenance:
    note_work(run, RECIPE, NAMES, "cpu", begun=begun)
    return read_record(run / PROVENANCE, Provenance)


def test_an_artefact_tells_what_trained_it_on_whom_and_what_it_was_calibrated_on(artefact: Path) -> None:
    found = read_record(artefact / PROVENANCE, Provenance)
    train, validation = Store(artefact.parent / "train"), Store(artefact.parent / "validation")
    assert found.subjects == subjects_hash(train.subjects) != subjects_hash(validation.subjects)
    assert found.calibration is not None
    assert found.calibration.store == validation.sha256 != read_record(artefact / CONFIG, Config).training.store
    assert found.calibration.subjects == subjects_hash(validation.subjects)
    (work,) = found.work
    assert work.versions == versions()
    assert work.hardware
    assert PROVENANCE in verify(artefact).files


def test_subjects_are_known_by_who_they_are_and_not_by_how_many_images_they_have() -> None:
    assert subjects_hash(["b", "a", "b"]) == subjects_hash(["a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()
    assert subjects_hash(["a"]) != subjects_hash(["a", "b"])


def test_a_recipe_is_known_by_all_that_it_says(tmp_path: Path) -> None:
    recipe = load_recipe(ModelId.parse(GREY))
    others = (recipe, replace(recipe, smoothing=recipe.smoothing + 1), replace(recipe, settings={}))
    hashes = set()
    for number, other in enumerate(others):
        note_work(tmp_path / str(number), other.document, NAMES, "cpu", begun=False)
        hashes.add(read_record(tmp_path / str(number) / PROVENANCE, Provenance).recipe)
    assert len(hashes) == len(others)


def test_a_run_that_goes_on_elsewhere_names_both_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = working(monkeypatch, "2 x Slow")
    noted(tmp_path)
    assert noted(tmp_path, begun=True).work == [first]
    second = working(monkeypatch, "Fast; 16 x Slow")
    assert noted(tmp_path, begun=True).work == [first, second]


def test_a_run_of_an_older_version_claims_nothing(tmp_path: Path) -> None:
    note_work(tmp_path, RECIPE, NAMES, "cpu", begun=True)
    assert not (tmp_path / PROVENANCE).exists()
    provenance.hand_over(tmp_path, tmp_path / "artefact", None)
    provenance.hand_on(tmp_path, tmp_path / "artefact", NAMES, "cpu")
    assert not (tmp_path / "artefact").exists()


def test_a_copy_with_other_thresholds_tells_whose_they_are_and_keeps_what_trained_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = working(monkeypatch, "2 x Slow")
    trained = noted(tmp_path)
    for place, names in (("first", NAMES), ("second", ("c",))):
        second = working(monkeypatch, "Fast; 16 x Slow")
        provenance.hand_on(tmp_path, tmp_path / place, names, "cuda:1")
        found = read_record(tmp_path / place / PROVENANCE, Provenance)
        assert found.work == [first]
        assert found.model_copy(update={"recalibration": None}) == trained
        assert found.recalibration is not None
        assert found.recalibration.work == second
        assert found.recalibration.subjects == subjects_hash(names)
        assert (found.recalibration.number, found.recalibration.images) == (len({*names}), len(names))


def test_a_record_of_an_older_version_tells_of_no_other_thresholds(tmp_path: Path) -> None:
    noted(tmp_path)
    document = json.loads((tmp_path / PROVENANCE).read_text())
    del document["recalibration"]
    (tmp_path / PROVENANCE).write_text(json.dumps(document))
    assert read_record(tmp_path / PROVENANCE, Provenance).recalibration is None
