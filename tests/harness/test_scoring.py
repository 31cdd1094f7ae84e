"""A folder in, results out: nothing stops a batch, nothing is lost by a kill, and no two runs mix."""

import csv
import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import tifffile
from PIL import Image

from fake.inputs import head, map_of, rows_of, write_broken, write_picture, write_volume
from fake.memory import traced
from fake.runs import CONTINUE, brightness, hashes, without_seconds
from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.folder import Summary, score_folder
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import CSV_COLUMNS
from upd_harness.scoring.settings import Settings
from upd_zoo.artefact.records import ONNX, Config
from upd_zoo.errors import NotFoundError
from upd_zoo.files import sha256_of
from upd_zoo.runtime.model import Array, Model

# What a run writes


def test_a_run_writes_a_row_a_map_and_a_picture_for_every_input(model: Model, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = score_folder(model, scans, out)
    rows = rows_of(out)
    names = ["a/scan.nii.gz", "b.nii", "c.nii.gz", *(f"slice-{number}.png" for number in range(5))]
    assert [row["input"] for row in rows] == names
    anomalous = sum(row["is_anomalous"] for row in rows)
    told = {"coarse": 8, "no-geometry": 5, "unlike": 8}
    assert summary == Summary(8, 8, 0, 0, anomalous, out / "report.html", warnings=told)
    for row in rows:
        assert row["schema"] == "upd-zoo/score/3"
        assert (row["backend"], row["precision"], row["device"]) == ("onnx", "float32", "cpu")
        assert row["outputs_sha256"] == {kind: sha256_of(out / name) for kind, name in row["outputs"].items()}
        assert row["input_sha256"] == sha256_of(scans / row["input"])
        assert row["model"] == {"id": "vae-phantom-t2", "revision": "main", "sha256": model.manifest_sha256}
        assert 0 <= row["percentile"] <= 100
        assert row["is_anomalous"] == (row["score"] > row["threshold"])
        assert all((out / name).stat().st_size for name in row["outputs"].values())
    assert {row["threshold"] for row in rows[:3]} == {model.calibration.subject_threshold}
    assert {row["threshold"] for row in rows[3:]} == {model.calibration.image_threshold}


def test_a_volume_scores_what_its_worst_slice_scores(model: Model, scans: Path, tmp_path: Path) -> None:
    score_folder(model, scans / "b.nii", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert len(row["slice_scores"]) == 12
    assert row["slice_scores"][0] is None, "the outermost slice shows nothing"
    assert row["score"] == max(score for score in row["slice_scores"] if score is not None)
    assert row["geometry"]["shape"] == [24, 28, 12]


def test_the_score_is_that_of_plain_onnxruntime(colour_artefact: Path, colour_model: Model, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "in" / "eye.png", 0, size=(128, 128))
    score_folder(colour_model, path.parent, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    image = (np.asarray(Image.open(path), np.float32) / 255).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(colour_artefact / ONNX, providers=["CPUExecutionProvider"])
    anomaly_map, score = session.run(None, {"image": image})
    assert row["score"] == pytest.approx(float(score[0]), abs=1e-4)
    written = tifffile.imread(tmp_path / "out" / row["outputs"]["map"])
    np.testing.assert_allclose(written, anomaly_map[0, 0], atol=1e-4)


def test_the_batch_size_changes_no_score(model: Model, scans: Path, tmp_path: Path) -> None:
    score_folder(model, scans, tmp_path / "one", Settings(batch_size=1))
    score_folder(model, scans, tmp_path / "all", Settings(batch_size=16))
    for one, many in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "all"), strict=True):
        assert one["score"] == pytest.approx(many["score"], abs=1e-4)
        np.testing.assert_allclose(map_of(tmp_path / "one", one), map_of(tmp_path / "all", many), atol=1e-4)


def test_the_run_is_described_without_naming_a_person(quick: Model, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score_folder(quick, photographs, out, arguments={"inputs": photographs, "threads": None})
    run = json.loads((out / "run.json").read_text())
    assert run["schema"] == "upd-zoo/run/2"
    assert run["command"] == "score"
    assert run["counts"] == {"ok": 10, "failed": 0, "anomalous": run["counts"]["anomalous"]}
    assert run["results_sha256"] == hashlib.sha256((out / "results.jsonl").read_bytes()).hexdigest()
    assert run["arguments"] == {"inputs": "photographs", "threads": None}
    for path in (*out.glob("*.json*"), out / "results.csv", out / "report.html"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")
    assert run["versions"]["upd-zoo"]


def test_the_report_tells_every_input_that_failed(quick: Model, photographs: Path, tmp_path: Path) -> None:
    (photographs / "<b>bold.png").write_bytes(b"no image")
    report = score_folder(quick, photographs, tmp_path / "out").report.read_text(encoding="utf-8")
    assert "&lt;b&gt;bold.png" in report
    assert "<b>bold" not in report


def test_the_table_starts_no_formula(quick: Model, tmp_path: Path) -> None:
    names = ["=1+1.png", "+2.png", "-3.png", "@SUM.png", "\t=4.png", "plain.png"]
    for number, name in enumerate(names):
        write_picture(tmp_path / "in" / name, number)
    (tmp_path / "in" / "=broken.png").write_bytes(b"no image")
    score_folder(quick, tmp_path / "in", tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open(newline="", encoding="utf-8") as stream:
        header, *table = csv.reader(stream)
    assert tuple(header) == CSV_COLUMNS
    cells = [cell for line in table for cell in line if cell and not cell.replace(".", "").isdigit()]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    told = {name.replace("\t", r"\t") for name in names}
    assert {line[0].removeprefix("'") for line in table} == {*told, "=broken.png"}


def test_no_file_name_breaks_the_table(quick: Model, tmp_path: Path) -> None:
    for number, name in enumerate(("a\rb.png", "c\nd.png", "e\r\nf.png", 'g",h.png')):
        write_picture(tmp_path / "in" / name, number)
    score_folder(quick, tmp_path / "in", tmp_path / "out")
    text = (tmp_path / "out" / "results.csv").read_bytes()
    assert text.count(b"\n") == 5
    assert b"\r" not in text
    lines = list(csv.reader(text.decode().splitlines()))
    assert [line[0] for line in lines[1:]] == [r"a\rb.png", r"c\nd.png", r"e\r\nf.png", 'g",h.png']
    assert [row["input"] for row in rows_of(tmp_path / "out")] == ["a\rb.png", "c\nd.png", "e\r\nf.png", 'g",h.png']


def test_files_that_share_a_stem_do_not_share_a_map(model: Model, quick: Model, tmp_path: Path) -> None:
    for name in ("scan.nii", "scan.nii.gz", "sub/scan.nii"):
        write_volume(tmp_path / "volumes" / name, head(len(name)))
    for name in ("eye.png", "eye.jpg", "eye.tif", "eye.png.tif"):
        write_picture(tmp_path / "eyes" / name, len(name))
    for scorer, folder, count in ((model, "volumes", 3), (quick, "eyes", 4)):
        score_folder(scorer, tmp_path / folder, tmp_path / "out" / folder)
        outputs = [row["outputs"] for row in rows_of(tmp_path / "out" / folder)]
        named = [name for row in outputs for name in row.values()]
        assert len({row["map"] for row in outputs}) == count
        assert len(set(named)) == len(named) == len(hashes(tmp_path / "out" / folder))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_name_that_is_no_text_stops_nothing(quick: Model, tmp_path: Path) -> None:
    good = write_picture(tmp_path / "in" / "good.png", 0)
    odd = os.fsdecode(b"caf\xe9.png")
    (good.parent / odd).write_bytes(good.read_bytes())
    (good.parent / f"broken-{odd}").write_bytes(b"no image")
    for settings, reused in ((Settings(), 0), (CONTINUE, 2)):
        summary = score_folder(quick, good.parent, tmp_path / "out", settings, arguments={"inputs": Path(odd)})
        assert (summary.ok, summary.failed, summary.reused) == (2, 1, reused)
        assert [row["input"] for row in rows_of(tmp_path / "out")] == [f"broken-{odd}", odd, "good.png"]


# Bad input


def test_every_kind_of_broken_file_gets_its_code_and_the_rest_is_scored(
    model: Model, scans: Path, tmp_path: Path
) -> None:
    expected = write_broken(scans)
    summary = score_folder(model, scans, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert {row["input"]: row["error"]["code"] for row in rows if row["status"] == "failed"} == expected
    assert (summary.inputs, summary.ok, summary.failed) == (8 + len(expected), 8, len(expected))
    for row in rows:
        if row["status"] == "failed":
            assert "\n" not in row["error"]["message"]
            assert row["score"] is row["outputs"] is row["is_anomalous"] is None


def test_a_folder_of_nothing_but_broken_files_still_gets_its_report(model: Model, tmp_path: Path) -> None:
    expected = write_broken(tmp_path / "in")
    summary = score_folder(model, tmp_path / "in", tmp_path / "out")
    assert (summary.ok, summary.failed) == (0, len(expected))
    assert all(name in summary.report.read_text(encoding="utf-8") for name in expected)


def test_broken_neighbours_in_a_batch_change_no_number(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "alone")
    (photographs / "3b.png").write_bytes(b"no image")
    score_folder(quick, photographs, tmp_path / "beside")
    beside = [row for row in rows_of(tmp_path / "beside") if row["status"] == "ok"]
    assert without_seconds(beside) == without_seconds(rows_of(tmp_path / "alone"))


def test_a_map_that_is_not_finite_fails_its_input_only(quick: Model, photographs: Path, tmp_path: Path) -> None:
    def sick(images: Array) -> tuple[Array, Array]:
        maps, scores = brightness(images)
        maps[2] = np.nan
        return maps, scores

    score_folder(replace(quick, network=sick), photographs, tmp_path / "out")
    failed = {row["input"]: row["error"]["code"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert failed == {"2.png": "not-finite"}


def test_a_file_that_goes_away_while_it_is_read_fails_alone(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanishing(source: Input, config: Config) -> Case:
        if source.name == "4.png":
            source.files[0].unlink()
        return open_case(source, config)

    monkeypatch.setattr("upd_harness.scoring.panel.open_case", vanishing)
    score_folder(quick, photographs, tmp_path / "out")
    assert {row["input"] for row in rows_of(tmp_path / "out") if row["error"]} == {"4.png"}


def test_no_image_is_an_error_and_leaves_no_output(quick: Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(NotFoundError):
        score_folder(quick, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Memory


def test_memory_does_not_grow_with_the_number_of_inputs(quick: Model, tmp_path: Path) -> None:
    content = write_picture(tmp_path / "one.png", 0, size=(16, 16)).read_bytes()
    peaks = []
    for count in (40, 160):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").write_bytes(content)
        with traced() as peak:
            score_folder(quick, folder, tmp_path / "out" / str(count), Settings(batch_size=2))
        peaks.append(peak.bytes)
    image = 3 * 128 * 128 * 4
    # What is read ahead on a busy machine moves the peak by some 8 images.
    assert peaks[1] - peaks[0] < 40 * image, "120 more inputs are 120 more images"


def test_volumes_keep_their_own_space(model: Model, scans: Path, tmp_path: Path) -> None:
    affine = np.array([[0, 0, -3, 40], [1.5, 0, 0, -9], [0, -0.8, 0, 70], [0, 0, 0, 1]])
    write_volume(scans / "turned.nii.gz", head(9), affine)
    score_folder(model, scans / "turned.nii.gz", tmp_path / "out")
    written = nib.load(tmp_path / "out" / "maps" / "turned.nii.gz")
    assert written.shape == (24, 28, 12)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
