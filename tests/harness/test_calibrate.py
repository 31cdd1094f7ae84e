"""Thresholds for one's own scanner: set from healthy images, kept in an artefact that scores, honest about few."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from fake.inputs import head, rows_of, write_picture, write_volume
from fake.program import Command
from fake.trained import COLOUR
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.provenance import PROVENANCE, Provenance, subjects_hash
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, ONNX, Config
from upd_zoo.runtime.folder import load_folder
from upd_zoo.sources.grouping import grouped

PICTURES = 24


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    for number in range(PICTURES):
        write_picture(folder / f"{number}.png", number)
    return folder


def test_the_threshold_becomes_that_of_the_images_and_scores_follow_it(
    upd_zoo: Command, colour_artefact: Path, healthy: Path, tmp_path: Path
) -> None:
    answer = upd_zoo("calibrate", colour_artefact, "--healthy", healthy, "-o", tmp_path / "mine", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["cases"], told["images"], told["failed"]) == (PICTURES, PICTURES, {})
    assert told["expected"] <= 0.05 < told["at_most"]
    assert f"upd-zoo score FOLDER -m {tmp_path / 'mine'}" in answer.err

    calibration = read_record(tmp_path / "mine" / CALIBRATION, Calibration)
    assert calibration.image_threshold == pytest.approx(told["threshold"])
    assert calibration.image_scores.count == PICTURES
    config = read_record(tmp_path / "mine" / CONFIG, Config)
    assert config.labels[-1] == f"calibrated on {PICTURES} healthy subjects of one's own"
    assert sum(label.startswith("calibrated on") for label in config.labels) == 1

    theirs, mine = (read_record(each / PROVENANCE, Provenance) for each in (colour_artefact, tmp_path / "mine"))
    assert mine.recalibration is not None
    assert mine.model_copy(update={"recalibration": None}) == theirs, "what trained it stays what it was"
    whose = grouped([path.name for path in healthy.iterdir()]).subjects.values()
    assert mine.recalibration.subjects == subjects_hash(whose)
    assert (mine.recalibration.number, mine.recalibration.images) == (PICTURES, PICTURES)
    assert f"at {mine.recalibration.calibrated}" in upd_zoo("info", tmp_path / "mine").out

    scored = upd_zoo("score", healthy, "-m", tmp_path / "mine", "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    rows = rows_of(tmp_path / "scores")
    scores = np.sort([row["score"] for row in rows])
    assert told["threshold"] == pytest.approx(scores[-1], abs=1e-5), "of 24, the 24th is at ⌈25 · 0.95⌉"
    assert told["expected"] == pytest.approx(1 / 25)
    assert {row["threshold"] for row in rows} == {told["threshold"]}


def test_the_graph_is_the_same_and_its_bytes_are_vouched_for(
    upd_zoo: Command, colour_artefact: Path, healthy: Path, tmp_path: Path
) -> None:
    assert upd_zoo("calibrate", colour_artefact, "--healthy", healthy, "-o", tmp_path / "mine").code == 0
    mine, theirs = (onnx.load(folder / ONNX) for folder in (tmp_path / "mine", colour_artefact))
    assert mine.graph == theirs.graph
    told = {each.key: each.value for each in mine.metadata_props}
    threshold = read_record(tmp_path / "mine" / CALIBRATION, Calibration).image_threshold
    assert float(told["upd_zoo.image_threshold"]) == threshold
    assert load_folder(tmp_path / "mine", device="cpu").config.id == COLOUR
    assert upd_zoo("verify", tmp_path / "mine").code == 0
    again = upd_zoo("calibrate", colour_artefact, "--healthy", healthy, "-o", tmp_path / "mine")
    assert again.code == 2
    assert "mine" in again.err


def test_images_of_another_scanner_are_warned_of(
    upd_zoo: Command, colour_artefact: Path, healthy: Path, tmp_path: Path
) -> None:
    """Images that another exposure made score otherwise, though no more of them need be above the threshold."""
    first = upd_zoo("calibrate", colour_artefact, "--healthy", healthy, "-o", tmp_path / "mine")
    assert first.code == 0
    same = upd_zoo("calibrate", tmp_path / "mine", "--healthy", healthy, "-o", tmp_path / "same")
    assert "are not like those that the model knew" not in same.out
    pale = tmp_path / "pale"
    pale.mkdir()
    for path in healthy.glob("*.png"):
        Image.open(path).point(lambda value: value // 2).save(pale / path.name)
    other = upd_zoo("calibrate", tmp_path / "mine", "--healthy", pale, "-o", tmp_path / "other")
    assert "are not like those that the model knew" in other.out


def test_too_few_say_how_many_it_takes_and_one_bad_file_stops_nothing(
    upd_zoo: Command, colour_artefact: Path, healthy: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for number in range(10):
        shutil.copy(healthy / f"{number}.png", some)
    (some / "broken.png").write_bytes((healthy / "0.png").read_bytes()[:200])
    few = upd_zoo("calibrate", colour_artefact, "--healthy", some, "-o", tmp_path / "few")
    assert few.code == 2
    assert "at least 19 subjects" in few.err
    assert not (tmp_path / "few").exists()
    loose = ("--false-positive-rate", "0.1")
    answer = upd_zoo("calibrate", colour_artefact, "--healthy", some, "-o", tmp_path / "few", *loose)
    assert answer.code == 3
    assert "broken.png" in answer.out
    assert read_record(tmp_path / "few" / CALIBRATION, Calibration).false_positive_rate == 0.1


def test_volumes_are_cases_and_are_not_mixed_with_pictures(
    upd_zoo: Command, artefact: Path, healthy: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "scans"
    for number in range(4):
        write_volume(scans / f"sub-{number}.nii.gz", head(number))
    answer = upd_zoo(
        "calibrate", artefact, "--healthy", scans, "-o", tmp_path / "mine", "--false-positive-rate", "0.25"
    )
    assert answer.code == 0, answer.err
    calibration = read_record(tmp_path / "mine" / CALIBRATION, Calibration)
    assert calibration.subject_scores.count == 4
    assert calibration.image_scores.count > 4
    shutil.copy(healthy / "0.png", scans)
    mixed = upd_zoo("calibrate", artefact, "--healthy", scans, "-o", tmp_path / "mixed")
    assert mixed.code == 2
    assert "volumes and pictures" in mixed.err
