"""One bad input is one failed row, wherever it fails; only what the next input would meet as well stops a run."""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fake.inputs import head, rows_of, write_picture, write_volume
from fake.runs import CONTINUE, brightness
from upd_harness.scoring import panel, pipeline
from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.photographs import PhotographCase
from upd_harness.scoring.settings import Settings
from upd_harness.scoring.writing import Writer
from upd_zoo.artefact.records import Config
from upd_zoo.caution import Caution
from upd_zoo.errors import InputErrorCode, UpdZooError
from upd_zoo.files import sha256_of
from upd_zoo.runtime.model import Array, Model


def codes(output: Path) -> dict[str, str]:
    return {row["input"]: row["error"]["code"] for row in rows_of(output) if row["error"]}


def failing_at(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the writing of one input's map fail."""
    write = PhotographCase.write

    def writing(self: PhotographCase, folder: Path, source: Input, *rest: Any) -> None:
        if source.name == name:
            raise error
        write(self, folder, source, *rest)

    monkeypatch.setattr(PhotographCase, "write", writing)


# Reading


def test_names_as_long_as_can_be_are_scored_like_any_other(quick: Model, model: Model, tmp_path: Path) -> None:
    for length in (240, 245, 246, 251, 252, 255):
        write_picture(tmp_path / "in" / "short.png", length).rename(tmp_path / "in" / ("n" * (length - 4) + ".png"))
    summary = score_folder(quick, tmp_path / "in", tmp_path / "out")
    assert (summary.ok, summary.failed) == (6, 0)
    assert score_folder(quick, tmp_path / "in", tmp_path / "out", CONTINUE).reused == 6
    volume = write_volume(tmp_path / "volumes" / "a.nii.gz", head(1))
    volume.rename(volume.with_name("v" * 248 + ".nii.gz"))
    assert score_folder(model, tmp_path / "volumes", tmp_path / "maps").ok == 1


@pytest.mark.parametrize("added", [".tif", ".png", ".jpg"])
def test_a_folder_that_is_called_as_the_results_of_a_file_stops_nothing(
    quick: Model, tmp_path: Path, added: str
) -> None:
    write_picture(tmp_path / "in" / "x.png", 0)
    write_picture(tmp_path / "in" / f"x.png{added}" / "y.png", 1)
    assert score_folder(quick, tmp_path / "in", tmp_path / "out").ok == 2


def test_links_that_lead_nowhere_fail_alone(quick: Model, photographs: Path, tmp_path: Path) -> None:
    (photographs / "self.png").symlink_to(photographs / "self.png")
    (photographs / "gone.png").symlink_to(photographs / "nowhere.png")
    (photographs / "loop").symlink_to(photographs)
    summary = score_folder(quick, photographs, tmp_path / "out")
    assert (summary.ok, summary.failed) == (10, 2)
    assert codes(tmp_path / "out") == {"gone.png": "missing", "self.png": "unreadable"}


def test_a_folder_that_cannot_be_listed_is_a_failed_row(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photographs / "private").mkdir()
    scan = os.scandir

    def guarded(path: Path) -> Any:
        if Path(path).name == "private":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    summary = score_folder(quick, photographs, tmp_path / "out")
    assert (summary.inputs, summary.ok) == (11, 10)
    assert codes(tmp_path / "out") == {"private/": "unreadable"}


def test_an_input_that_is_replaced_while_it_is_read_keeps_the_hash_of_what_was_scored(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sha256_of(photographs / "4.png")
    other = write_picture(tmp_path / "other.png", 99)

    def opening(source: Input, config: Config) -> Case:
        case = open_case(source, config)
        if source.name == "4.png":
            other.replace(source.files[0])
        return case

    with monkeypatch.context() as patch:
        patch.setattr(panel, "open_case", opening)
        score_folder(quick, photographs, tmp_path / "out")
    first = {row["input"]: row for row in rows_of(tmp_path / "out")}["4.png"]
    assert first["input_sha256"] == before != sha256_of(photographs / "4.png")
    assert score_folder(quick, photographs, tmp_path / "out", CONTINUE).reused == 9
    second = {row["input"]: row for row in rows_of(tmp_path / "out")}["4.png"]
    assert second["input_sha256"] == sha256_of(photographs / "4.png")
    assert second["score"] != first["score"]


# Writing


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long"), InputErrorCode.UNWRITABLE),
        (OSError(errno.EACCES, "Permission denied"), InputErrorCode.UNWRITABLE),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), InputErrorCode.UNWRITABLE),
        (ValueError("too large for this format"), InputErrorCode.UNWRITABLE),
        (MemoryError(), InputErrorCode.TOO_LARGE),
    ],
)
def test_what_cannot_be_written_of_one_input_is_its_own_failure(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    with monkeypatch.context() as patch:
        failing_at("4.png", error, patch)
        summary = score_folder(quick, photographs, tmp_path / "out")
    assert (summary.inputs, summary.ok) == (10, 9)
    assert codes(tmp_path / "out") == {"4.png": code}
    assert score_folder(quick, photographs, tmp_path / "out", CONTINUE).ok == 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_place_that_takes_no_more_stops_the_run_and_keeps_its_rows(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    settings = Settings(batch_size=1, workers=1)
    with monkeypatch.context() as patch:
        failing_at("7.png", OSError(number, os.strerror(number)), patch)
        with pytest.raises(UpdZooError, match=os.strerror(number)) as caught:
            score_folder(quick, photographs, tmp_path / "out", settings)
    assert caught.value.exit_code == 1
    assert str(tmp_path / "out") in str(caught.value)
    assert "--continue" in str(caught.value)
    kept = len(rows_of(tmp_path / "out"))
    assert kept >= 3
    summary = score_folder(quick, photographs, tmp_path / "out", replace(settings, mode="continue"))
    assert (summary.ok, summary.reused) == (10, kept)


def test_a_bug_keeps_its_traceback_and_the_rows_before_it(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at("7.png", NameError("a bug"), monkeypatch)
    with pytest.raises(NameError):
        score_folder(quick, photographs, tmp_path / "out", Settings(batch_size=1, workers=1))
    assert {row["input"] for row in rows_of(tmp_path / "out")} >= {"0.png", "1.png", "2.png"}


# The model


def test_a_model_that_fails_is_one_error_and_the_rows_before_are_kept(
    quick: Model, photographs: Path, tmp_path: Path
) -> None:
    calls: list[int] = []

    def tiring(images: Array) -> tuple[Array, Array]:
        calls.append(len(images))
        if len(calls) == 4:
            raise UpdZooError("the model does not run")
        return brightness(images)

    settings = Settings(batch_size=2)
    with pytest.raises(UpdZooError, match="does not run"):
        score_folder(replace(quick, network=tiring), photographs, tmp_path / "out", settings)
    assert len(rows_of(tmp_path / "out")) == 6
    summary = score_folder(quick, photographs, tmp_path / "out", replace(settings, mode="continue"))
    assert (summary.ok, summary.reused) == (10, 6)


def test_images_too_many_for_the_memory_fail_together_and_alone(
    quick: Model, photographs: Path, tmp_path: Path
) -> None:
    calls: list[int] = []

    def greedy(images: Array) -> tuple[Array, Array]:
        calls.append(len(images))
        if len(calls) == 2:
            raise MemoryError
        return brightness(images)

    (photographs / "2b.png").write_bytes(b"no image")
    score_folder(replace(quick, network=greedy), photographs, tmp_path / "out", Settings(batch_size=2))
    assert codes(tmp_path / "out") == {"2b.png": "corrupt", "2.png": "too-large"}


# Rows


def test_every_input_has_one_row_or_the_run_is_no_success(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upd_harness.scoring.folder.write_row", _forgetting("3.png"))
    with pytest.raises(UpdZooError, match=r"1 of 10 inputs have no result.*--continue"):
        score_folder(quick, photographs, tmp_path / "out")


def _forgetting(name: str) -> Callable[..., None]:
    from upd_harness.scoring.journal import write_row

    def write(stream: Any, row: Any) -> None:
        if row["input"] != name:
            write_row(stream, row)

    return write


def test_the_first_failures_are_told_and_all_are_counted(quick: Model, photographs: Path, tmp_path: Path) -> None:
    for number in range(7):
        (photographs / f"broken-{number}.png").write_bytes(b"no image")
    (photographs / "gone.png").symlink_to(photographs / "nowhere.png")
    (photographs / "scan.mgz").touch()
    summary = score_folder(quick, photographs, tmp_path / "out")
    assert [failure.input for failure in summary.first_failures] == [f"broken-{number}.png" for number in range(5)]
    assert all(failure.code == "corrupt" and failure.message for failure in summary.first_failures)
    assert summary.failures == {"corrupt": 7, "missing": 1}
    assert summary.left_out == {".mgz": 1}
    assert "Not taken for inputs" in summary.report.read_text(encoding="utf-8")


# Memory


@dataclass
class Heavy:
    """A photograph that says that it holds much."""

    case: Case
    nbytes: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.case, name)

    @property
    def cautions(self) -> list[Caution]:
        return self.case.cautions


@pytest.mark.parametrize("megabytes", [1, 100, 300])
def test_what_is_in_flight_is_bounded_in_bytes(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    held, most, lock = 0, 0, threading.Lock()

    def opening(source: Input, config: Config) -> Any:
        nonlocal held, most
        case = Heavy(open_case(source, config), megabytes << 20)
        with lock:
            held += megabytes
            most = max(most, held)
        return case

    rowing = Writer.row

    def row(self: Writer, *arguments: Any) -> Any:
        nonlocal held
        answer = rowing(self, *arguments)
        with lock:
            held -= megabytes
        return answer

    monkeypatch.setattr(panel, "open_case", opening)
    monkeypatch.setattr(Writer, "row", row)
    assert score_folder(quick, photographs, tmp_path / "out", Settings(batch_size=1, workers=2)).ok == 10
    assert most <= max(256, megabytes)


def test_more_photographs_than_the_budget_holds_give_the_same_numbers(
    quick: Model, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_folder(quick, photographs, tmp_path / "wide", Settings(batch_size=2))
    monkeypatch.setattr(pipeline, "_BUDGET", 1)
    score_folder(quick, photographs, tmp_path / "narrow", Settings(batch_size=2))
    scores = [[row["score"] for row in rows_of(tmp_path / name)] for name in ("wide", "narrow")]
    assert scores[0] == scores[1]
