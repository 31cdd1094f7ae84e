"""What a model must answer: given away where it may be, read with distrust; who answers otherwise is told."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.artefact import config_of
from fake.trained import GREY, trained_artefact
from upd_harness.checks.proof import prove
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.proof import PROOF, Proof, images_of
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config
from upd_zoo.errors import IntegrityError
from upd_zoo.runtime.folder import load_folder
from upd_zoo.runtime.model import Array, Model
from upd_zoo.stores.store import Store


@pytest.fixture
def artefact(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained_artefact(tmp_path_factory, GREY), tmp_path / "artefact"))


@pytest.fixture
def model(artefact: Path) -> Model:
    return load_folder(artefact, device="cpu")


@pytest.fixture
def proof(artefact: Path) -> Proof:
    return Proof.read(artefact, read_record(artefact / CONFIG, Config))


def test_an_artefact_brings_three_images_whose_answers_its_formats_give(artefact: Path, proof: Proof) -> None:
    assert {*PROOF} <= {*verify(artefact).files}
    assert len(proof.images) == 3
    for backend in ("onnx", "torchscript", "torch"):
        proven = prove(load_folder(artefact, backend, "cpu"), proof, verify(artefact).parity)
        assert proven.passed
        assert proven.turned == 0


def test_answers_that_are_off_are_told_with_the_cases_that_may_change_sides(model: Model, proof: Proof) -> None:
    def off(images: Array) -> tuple[Array, Array]:
        maps, scores = model.network(images)
        return maps, scores + np.float32(1e6)

    proven = prove(replace(model, network=off), proof, [])
    assert not proven.passed
    assert proven.turned == (proof.scores <= model.calibration.image_threshold).sum()
    assert proven.at_most == proven.cases == model.calibration.image_scores.count


def test_images_of_restricted_data_are_not_given_away(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    calibration = read_record(artefact / CALIBRATION, Calibration)
    store = Store(trained_artefact(tmp_path_factory, GREY).parent / "validation")
    given = images_of(config_of("phantom-t2"), calibration, store)
    drawn = images_of(config_of("camcan-t2"), calibration, store)
    assert given.shape == drawn.shape == (3, 1, 128, 128)
    images = np.array(store.images)
    assert all((images == each).all(axis=(1, 2, 3)).any() for each in given)
    assert not any((images == each).all(axis=(1, 2, 3)).any() for each in drawn)
    assert 0 == drawn.min() < drawn.max() <= 1
    np.testing.assert_array_equal(drawn, images_of(config_of("camcan-t2"), calibration, store))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: np.save(path, np.zeros((3, 1, 64, 64), np.float32)),
        lambda path: np.save(path, np.full((3, 1, 128, 128), np.nan, np.float32)),
        lambda path: np.save(path, np.zeros((3, 1, 128, 128), np.float64)),
        lambda path: np.save(path, np.array([{}]), allow_pickle=True),
    ],
    ids=["no array", "cut", "another side", "not a number", "another type", "pickled"],
)
def test_answers_that_cannot_be_read_are_an_error(artefact: Path, damage: Callable[[Path], None]) -> None:
    damage(artefact / PROOF[1])
    with pytest.raises(IntegrityError):
        Proof.read(artefact, read_record(artefact / CONFIG, Config))
