"""A folder in, results out: nothing stops a batch, nothing is lost by a kill, and no two runs mix."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import tifffile
from PIL import Image

from fake.inputs import head, map_of, rows_of, write_broken, write_picture, write_volume
from upd_harness.journal import CSV_COLUMNS
from upd_harness.scoring import Settings, Shard, Summary, score_folder
from upd_zoo.artefact import ONNX
from upd_zoo.errors import NotFoundError, UpdZooError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.runtime import Array, Model

CONTINUE = Settings(mode="continue")
OVERWRITE = Settings(mode="overwrite")


def part(number: int, of: int, mode: Any = "new") -> Settings:
    return Settings(batch_size=4, mode=mode, shard=Shard(number, of))


def brightness(images: Array) -> tuple[Array, Array]:
    """Stand in for a network: the map is the image."""
    maps = images.mean(axis=1, keepdims=True)
    return maps, maps.max(axis=(1, 2, 3))


@pytest.fixture
def quick(colour_model: Model) -> Model:
    """A model of photographs that takes no time."""
    return replace(colour_model, predict=brightness)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Three volumes and, for the model's batches, five slices as pictures."""
    for number, name in enumerate(("a/scan.nii.gz", "b.nii", "c.nii.gz")):
        write_volume(tmp_path / "scans" / name, head(number))
    for number in range(5):
        write_picture(tmp_path / "scans" / f"slice-{number}.png", number, colour=False)
    return tmp_path / "scans"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for number in range(10):
        write_picture(tmp_path / "photographs" / f"{number}.png", number)
    return tmp_path / "photographs"


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of everything that a run draws or computes."""
    paths = (path for name in ("maps", "overlays", "thumbnails") for path in (folder / name).rglob("*"))
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths if path.is_file()}


def assert_same_run(found: Path, expected: Path) -> None:
    assert without_seconds(rows_of(found)) == without_seconds(rows_of(expected))
    assert (found / "results.csv").read_bytes() == (expected / "results.csv").read_bytes()
    assert hashes(found) == hashes(expected)


# What a run writes


def test_a_run_writes_a_row_a_map_and_a_picture_for_every_input(model: Model, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = score_folder(model, scans, out)
    rows = rows_of(out)
    names = ["a/scan.nii.gz", "b.nii", "c.nii.gz", *(f"slice-{number}.png" for number in range(5))]
    assert [row["input"] for row in rows] == names
    assert summary == Summary(8, 8, 0, 0, sum(row["is_anomalous"] for row in rows), out / "report.html")
    for row in rows:
        assert row["schema"] == "upd-zoo/score/2"
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
    assert run["schema"] == "upd-zoo/run/1"
    assert run["command"] == "score"
    assert run["counts"]["ok"] == 10
    assert run["results_sha256"] == hashlib.sha256((out / "results.jsonl").read_bytes()).hexdigest()
    assert run["arguments"] == {"inputs": str(photographs), "threads": None}
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
    assert {line[0].removeprefix("'") for line in table} == {*names, "=broken.png"}


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

    score_folder(replace(quick, predict=sick), photographs, tmp_path / "out")
    failed = {row["input"]: row["error"]["code"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert failed == {"2.png": "not-finite"}


def test_a_file_that_goes_away_while_it_is_read_fails_alone(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(path: Path) -> str:
        if path.name == "4.png" and path.parent == photographs:
            path.unlink()
        return sha256_of(path)

    monkeypatch.setattr("upd_harness.scoring.sha256_of", vanish)
    score_folder(quick, photographs, tmp_path / "out")
    assert {row["input"] for row in rows_of(tmp_path / "out") if row["error"]} == {"4.png"}


def test_no_image_is_an_error_and_leaves_no_output(quick: Model, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(NotFoundError):
        score_folder(quick, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Output folders


def test_a_full_output_folder_is_refused_and_left_alone(quick: Model, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"--continue .* --overwrite"):
        score_folder(quick, photographs, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_overwriting_removes_the_earlier_run_and_nothing_else(quick: Model, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(2):
        score_folder(quick, photographs, out, part(number, 2))
    (out / "thesis.txt").write_text("mine")
    (photographs / "9.png").unlink()
    score_folder(quick, photographs, out, OVERWRITE)
    assert (out / "thesis.txt").read_text() == "mine"
    assert len(rows_of(out)) == len([name for name in hashes(out) if name.startswith("maps/")]) == 9
    assert sorted(path.name for path in out.glob("results*")) == ["results.csv", "results.jsonl"]


def test_an_output_inside_the_inputs_is_never_scored(quick: Model, photographs: Path) -> None:
    score_folder(quick, photographs, photographs / "out")
    summary = score_folder(quick, photographs, photographs / "out", OVERWRITE)
    assert summary.inputs == 10


@pytest.mark.parametrize("settings", [Settings(), CONTINUE, OVERWRITE])
@pytest.mark.parametrize("below", [".", "maps"])
def test_inputs_inside_the_output_are_refused(quick: Model, tmp_path: Path, below: str, settings: Settings) -> None:
    image = write_picture(tmp_path / "folder" / below / "eye.png", 0)
    with pytest.raises(UsageError, match="lie in the output folder"):
        score_folder(quick, image.parent, tmp_path / "folder", settings)
    assert image.is_file()


def test_results_that_cannot_be_written_are_one_explained_error(
    quick: Model, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UpdZooError, match="cannot be written") as caught:
        score_folder(quick, photographs, tmp_path / "out")
    assert caught.value.exit_code == 1


# Going on

_SCORE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from upd_harness.scoring import Settings, score_folder
from upd_zoo.runtime import load_folder
artefact, inputs, output, after = sys.argv[1:]
def die(done, total, name):
    if done == int(after):
        os.kill(os.getpid(), signal.SIGKILL)
score_folder(load_folder(Path(artefact), device="cpu", threads=1), Path(inputs), Path(output),
             Settings(batch_size=4), on_progress=die)
"""


@pytest.mark.parametrize("after", [2, 5])
def test_a_killed_run_that_goes_on_gives_what_an_uninterrupted_one_gives(
    artefact: Path, model: Model, scans: Path, tmp_path: Path, after: int
) -> None:
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b")
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = (artefact, scans, out, str(after))
    killed = subprocess.run([sys.executable, "-c", _SCORE_AND_DIE, *map(str, arguments)], capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert len(rows_of(out)) == after
    assert not (out / "run.json").exists()
    (out / "maps" / ".123.tmp.left.nii.gz").write_bytes(b"half a map")

    summary = score_folder(model, scans, out, Settings(batch_size=4, mode="continue"))
    score_folder(model, scans, whole, Settings(batch_size=4))
    assert summary.reused == len([row for row in rows_of(out)[: after + 1] if row["status"] == "ok"]) or after == 5
    assert_same_run(out, whole)


def test_going_on_with_a_finished_run_scores_nothing_again(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out")
    before = rows_of(tmp_path / "out")

    def refuse(images: Array) -> tuple[Array, Array]:
        raise AssertionError("nothing is to be scored")

    summary = score_folder(replace(quick, predict=refuse), photographs, tmp_path / "out", CONTINUE)
    assert (summary.reused, summary.ok) == (10, 10)
    assert rows_of(tmp_path / "out") == before


def scored_again(model: Model, inputs: Path, output: Path) -> set[str]:
    """Return the inputs whose maps a continued run writes anew, in batches of one."""
    times = {path: path.stat().st_mtime_ns for path in (output / "maps").iterdir()}
    score_folder(model, inputs, output, Settings(batch_size=1, mode="continue"))
    return {path.stem for path in (output / "maps").iterdir() if times.get(path) != path.stat().st_mtime_ns}


def test_what_failed_changed_or_lost_its_map_is_scored_again(quick: Model, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = (photographs / "1.png").read_bytes()
    (photographs / "1.png").write_bytes(whole[:100])
    score_folder(quick, photographs, out, Settings(batch_size=1))
    (photographs / "1.png").write_bytes(whole)
    write_picture(photographs / "5.png", 77)
    (out / "maps" / "7.png.tif").unlink()
    write_picture(photographs / "new.png", 78)
    assert scored_again(quick, photographs, out) == {"1.png", "5.png", "7.png", "new.png"}
    rows = {row["input"]: row for row in rows_of(out)}
    assert len(rows) == 11
    assert rows["5.png"]["input_sha256"] == sha256_of(photographs / "5.png")
    assert rows["1.png"]["status"] == "ok"


def test_the_rows_of_another_model_are_not_mixed_in(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out")
    other = replace(quick, manifest_sha256="f" * 64)
    assert score_folder(other, photographs, tmp_path / "out", CONTINUE).reused == 0
    assert {row["model"]["sha256"] for row in rows_of(tmp_path / "out")} == {"f" * 64}


def test_a_journal_that_was_cut_within_a_letter_is_gone_on_from(quick: Model, tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "été.png")):
        write_picture(tmp_path / "in" / name, number)
    score_folder(quick, tmp_path / "in", tmp_path / "out")
    journal = tmp_path / "out" / "results.jsonl"
    content = journal.read_bytes()
    journal.write_bytes(content[: content.index("é".encode()) + 1])
    summary = score_folder(quick, tmp_path / "in", tmp_path / "out", CONTINUE)
    assert (summary.reused, summary.ok) == (1, 2)
    assert [row["input"] for row in rows_of(tmp_path / "out")] == ["a.png", "été.png"]


# Parts


def test_parts_make_together_what_one_run_makes(model: Model, scans: Path, tmp_path: Path) -> None:
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b")
    out, whole = tmp_path / "out", tmp_path / "whole"
    summaries = [score_folder(model, scans, out, part(number, 3)) for number in range(3)]
    assert sum(summary.inputs for summary in summaries) == 9
    assert all(summary.report.is_file() for summary in summaries)
    merged = score_folder(model, scans, out, Settings(batch_size=4, mode="continue"))
    score_folder(model, scans, whole, Settings(batch_size=4))
    assert (merged.reused, merged.failed) == (8, 1)
    assert_same_run(out, whole)


def test_more_parts_than_work_leave_some_with_nothing_to_do(quick: Model, photographs: Path, tmp_path: Path) -> None:
    summary = score_folder(quick, photographs, tmp_path / "out", part(7, 8))
    assert (summary.inputs, summary.ok) == (0, 0)
    assert rows_of(tmp_path / "out", "results-7-of-8.jsonl") == []
    assert summary.report.name == "report-7-of-8.html"


def test_a_part_is_refused_over_its_own_results_and_overwrites_only_those(
    quick: Model, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in range(2):
        score_folder(quick, photographs, out, part(number, 2))
    first = hashes(out), (out / "results-0-of-2.jsonl").read_bytes()
    with pytest.raises(UsageError, match="not empty"):
        score_folder(quick, photographs, out, part(1, 2))
    score_folder(quick, photographs, out, part(1, 2, "overwrite"))
    assert (hashes(out), (out / "results-0-of-2.jsonl").read_bytes()) == first


@pytest.mark.parametrize(("number", "of"), [(2, 2), (-1, 2), (0, 0)])
def test_there_is_no_part_beyond_the_last(number: int, of: int) -> None:
    with pytest.raises(UsageError, match="no part"):
        Shard(number, of)


# Memory


def test_memory_does_not_grow_with_the_number_of_inputs(quick: Model, tmp_path: Path) -> None:
    content = write_picture(tmp_path / "one.png", 0, size=(16, 16)).read_bytes()
    peaks = []
    for count in (40, 160):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").write_bytes(content)
        tracemalloc.start()
        score_folder(quick, folder, tmp_path / "out" / str(count), Settings(batch_size=2))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    image = 3 * 128 * 128 * 4
    assert peaks[1] - peaks[0] < 8 * image, "120 more inputs are 120 more images"


def test_volumes_keep_their_own_space(model: Model, scans: Path, tmp_path: Path) -> None:
    affine = np.array([[0, 0, -3, 40], [1.5, 0, 0, -9], [0, -0.8, 0, 70], [0, 0, 0, 1]])
    write_volume(scans / "turned.nii.gz", head(9), affine)
    score_folder(model, scans / "turned.nii.gz", tmp_path / "out")
    written = nib.load(tmp_path / "out" / "maps" / "turned.nii.gz")
    assert written.shape == (24, 28, 12)
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
