"""Models put into a package, as a maintainer does, at a place of the test's own."""

import shutil
from pathlib import Path

import pytest

from fake.artefact import with_manifest
from fake.results import made_result
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, MANIFEST, RESULTS, Config, Manifest, Metrics
from upd_zoo.hub import packaged
from upd_zoo.names import ModelId


def put(folder: Path, *artefacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be the package's own, and put models there; each is the one taken for its kind of image."""
    monkeypatch.setattr(packaged, "FOLDER", folder)
    models = [ModelId.parse(read_record(artefact / CONFIG, Config).id) for artefact in artefacts]
    for artefact, model in zip(artefacts, models, strict=True):
        packaged.package(artefact, model)
    packaged.write_defaults({model.domain.modality.id: model for model in models})


def add_result(artefact: Path, test_set: str) -> Path:
    """Give an artefact what it scores on a test set."""
    name = read_record(artefact / MANIFEST, Manifest).id
    metrics = Metrics(ap_image=0.75, auroc=0.8, ap_pixel=None, dice=None)
    result = made_result(name, test_set, metrics=metrics, intervals={"auroc": (0.7, 0.9)})
    shutil.rmtree(artefact / RESULTS, ignore_errors=True)
    (artefact / RESULTS).mkdir()
    write_record(artefact / RESULTS / f"{test_set}.json", result)
    return with_manifest(artefact, name)
