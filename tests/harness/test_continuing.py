"""Output folders: nothing in them is lost, and no two runs mix."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.inputs import rows_of, write_picture
from fake.runs import CONTINUE, OVERWRITE, assert_same_run, brightness, hashes, part
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.inputs import Input, Kind
from upd_harness.scoring.journal import still_good
from upd_harness.scoring.parts import Shard
from upd_harness.scoring.settings import Settings
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.runtime.model import Array, Model

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


def test_an_output_that_is_a_file_is_refused_and_left_alone(quick: Model, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        score_folder(quick, photographs, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


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
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UpdZooError, match="cannot be written") as caught:
        score_folder(quick, photographs, tmp_path / "file" / "out")
    assert caught.value.exit_code == 1


# Going on

_SCORE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.settings import Settings
from upd_zoo.runtime.folder import load_folder
artefact, inputs, output, after = sys.argv[1:]
def die(progress):
    if progress.done == int(after):
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

    summary = score_folder(replace(quick, network=refuse), photographs, tmp_path / "out", CONTINUE)
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


@pytest.mark.parametrize(
    ("changed", "settings", "said"),
    [
        ({"manifest_sha256": "f" * 64}, CONTINUE, "sha256 was .* and is ffffffffffff"),
        ({"backend": "torch"}, CONTINUE, "backend was onnx and is torch"),
        ({"backend": "torch", "precision": "bfloat16"}, CONTINUE, "precision was float32 and is bfloat16"),
        ({}, Settings(mode="continue", batch_size=3), "batch size was 16 and is 3"),
        ({}, Settings(mode="continue", exclude=("x*",)), r"exclude was none and is x\*"),
    ],
)
def test_a_run_is_not_gone_on_with_as_another(
    quick: Model, photographs: Path, tmp_path: Path, changed: dict[str, Any], settings: Settings, said: str
) -> None:
    out = tmp_path / "out"
    score_folder(quick, photographs, out)
    before = hashes(out), (out / "results.jsonl").read_bytes()
    with pytest.raises(UsageError, match=said):
        score_folder(replace(quick, **changed), photographs, out, settings)
    assert (hashes(out), (out / "results.jsonl").read_bytes()) == before
    score_folder(replace(quick, **changed), photographs, out, replace(settings, mode="overwrite"))


def test_another_revision_is_another_run(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out", revision="seed-1")
    with pytest.raises(UsageError, match=r": revision was seed-1 and is seed-2\. Accepted"):
        score_folder(quick, photographs, tmp_path / "out", CONTINUE, revision="seed-2")


def test_another_device_may_go_on_and_is_recorded(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out")
    (tmp_path / "out" / "maps" / "3.png.tif").unlink()
    score_folder(replace(quick, device="cuda:0"), photographs, tmp_path / "out", CONTINUE)
    devices = {row["input"]: row["device"] for row in rows_of(tmp_path / "out")}
    assert {name for name, device in devices.items() if device == "cuda:0"} == {"3.png"}


def test_a_run_that_was_killed_before_its_first_row_is_not_another_ones(
    quick: Model, photographs: Path, tmp_path: Path
) -> None:
    def die(images: Array) -> tuple[Array, Array]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_folder(replace(quick, network=die), photographs, tmp_path / "out")
    with pytest.raises(UsageError, match="backend was onnx and is torch"):
        score_folder(replace(quick, backend="torch"), photographs, tmp_path / "out", CONTINUE)
    assert score_folder(quick, photographs, tmp_path / "out", CONTINUE).ok == 10


def test_results_of_an_earlier_version_are_not_taken_for_none(quick: Model, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").write_text('{"schema": "upd-zoo/score/2", "input": "0.png"}\n')
    with pytest.raises(UsageError, match="an earlier version"):
        score_folder(quick, photographs, tmp_path / "out", CONTINUE)
    assert score_folder(quick, photographs, tmp_path / "out", OVERWRITE).ok == 10


def test_results_of_other_inputs_are_not_replaced_by_going_on(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out")
    other = write_picture(tmp_path / "other" / "eye.png", 5)
    with pytest.raises(UsageError, match="None of the 10 results"):
        score_folder(quick, other.parent, tmp_path / "out", CONTINUE)
    assert len(rows_of(tmp_path / "out")) == 10


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


def test_an_input_of_two_files_is_scored_again_where_either_changed(tmp_path: Path) -> None:
    paths = (tmp_path / "t2.nii", tmp_path / "t1.nii")
    for path in paths:
        path.write_text(path.name)
    source = Input("t2.nii", paths, Kind.VOLUME, "t2.nii", tmp_path)
    identity: dict[str, Any] = {"model": {}, "backend": "onnx", "precision": "float32", "space": None}
    digest = source.sha256_of({path: sha256_of(path) for path in paths})
    row = {"status": "ok", "outputs": {}, "outputs_sha256": {}, "input_sha256": digest, **identity}
    assert still_good(row, source, tmp_path, identity)
    paths[1].write_text("another T1")
    assert not still_good(row, source, tmp_path, identity)


# Locks


def test_a_second_run_into_one_output_is_refused(quick: Model, photographs: Path, tmp_path: Path) -> None:
    def meanwhile(images: Array) -> tuple[Array, Array]:
        for settings in (CONTINUE, OVERWRITE, part(0, 2)):
            with pytest.raises(UsageError, match="Another run is writing"):
                score_folder(quick, photographs, tmp_path / "out", settings)
        return brightness(images)

    assert score_folder(replace(quick, network=meanwhile), photographs, tmp_path / "out").ok == 10
    assert len(rows_of(tmp_path / "out")) == 10


def test_parts_write_side_by_side_and_keep_others_out(quick: Model, photographs: Path, tmp_path: Path) -> None:
    def meanwhile(images: Array) -> tuple[Array, Array]:
        second = Settings(shard=Shard(1, 2))
        assert score_folder(quick, photographs, tmp_path / "out", second).ok == 5
        for settings in (CONTINUE, OVERWRITE, part(0, 2, "continue")):
            with pytest.raises(UsageError, match="Another run is writing"):
                score_folder(quick, photographs, tmp_path / "out", settings)
        return brightness(images)

    first = Settings(shard=Shard(0, 2))
    assert score_folder(replace(quick, network=meanwhile), photographs, tmp_path / "out", first).ok == 5


# What somebody else keeps


@pytest.mark.parametrize("name", ["maps/mine.nii", "results.csv", "run.json", "thumbnails/holiday.jpg"])
def test_starting_again_removes_nothing_that_is_not_ours(
    quick: Model, photographs: Path, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="nothing says that upd-zoo wrote it"):
        score_folder(quick, photographs, tmp_path / "out", OVERWRITE)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("kept", [0, -1])
@pytest.mark.parametrize("kind", ["maps/3.png.tif", "overlays/3.png.png", "thumbnails/3.png.jpg"])
def test_results_that_were_emptied_or_cut_are_made_again(
    quick: Model, photographs: Path, tmp_path: Path, kept: int, kind: str
) -> None:
    score_folder(quick, photographs, tmp_path / "out", Settings(batch_size=1))
    before = hashes(tmp_path / "out")
    path = tmp_path / "out" / kind
    path.write_bytes(path.read_bytes()[:kept])
    assert score_folder(quick, photographs, tmp_path / "out", Settings(batch_size=1, mode="continue")).reused == 9
    assert hashes(tmp_path / "out") == before


def test_results_among_the_inputs_are_no_inputs_the_next_time(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, photographs / "out")
    summary = score_folder(quick, photographs, tmp_path / "again")
    assert (summary.inputs, summary.earlier_results) == (10, ("out",))
    assert "out/" in summary.report.read_text(encoding="utf-8")
