"""Parts of a run share its work, and make together what one run makes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.inputs import map_of, rows_of, write_picture
from fake.runs import CONTINUE, hashes, part
from upd_harness.scoring.folder import merge_parts, score_folder
from upd_harness.scoring.parts import Shard
from upd_harness.scoring.settings import Settings
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.runtime.model import Model


def test_parts_make_together_what_one_run_makes(model: Model, scans: Path, tmp_path: Path) -> None:
    (scans / "broken.nii.gz").write_bytes(b"\x1f\x8b")
    out, whole = tmp_path / "out", tmp_path / "whole"
    summaries = [score_folder(model, scans, out, part(number, 3)) for number in range(3)]
    assert sorted(summary.inputs for summary in summaries) == [3, 3, 3]
    assert all(summary.report.is_file() for summary in summaries)
    merged = merge_parts(model, scans, out, 3, Settings(batch_size=4))
    score_folder(model, scans, whole, Settings(batch_size=4))
    assert (merged.inputs, merged.ok, merged.failed) == (9, 8, 1)
    for one, other in zip(rows_of(out), rows_of(whole), strict=True):
        assert (one["input"], one["error"]) == (other["input"], other["error"])
        if one["score"] is not None:
            assert one["score"] == pytest.approx(other["score"], abs=1e-6)
            np.testing.assert_allclose(map_of(out, one), map_of(whole, other), atol=1e-6)
    run = json.loads((out / "run.json").read_text())
    assert [each["counts"]["ok"] for each in run["parts"]] == [summary.ok for summary in summaries]
    assert json.loads((out / "run.json").read_text())["counts"]["failed"] == 1
    assert (out / "report.html").is_file()


def test_parts_have_as_much_to_do_as_each_other(quick: Model, photographs: Path, tmp_path: Path) -> None:
    summaries = [
        score_folder(quick, photographs, tmp_path / "out", Settings(shard=Shard(number, 2))) for number in range(2)
    ]
    assert [summary.inputs for summary in summaries] == [5, 5]


def test_parts_of_which_one_has_not_ended_are_not_put_together(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out", Settings(shard=Shard(0, 3)))
    with pytest.raises(UsageError, match="1, 2 have not ended"):
        merge_parts(quick, photographs, tmp_path / "out", 3)
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_an_input_that_no_part_has_seen_is_not_forgotten(quick: Model, photographs: Path, tmp_path: Path) -> None:
    for number in range(2):
        score_folder(quick, photographs, tmp_path / "out", Settings(shard=Shard(number, 2)))
    write_picture(photographs / "new.png", 11)
    with pytest.raises(UpdZooError, match=r"1 of 11 inputs have no result.*--continue and without parts"):
        merge_parts(quick, photographs, tmp_path / "out", 2)
    assert score_folder(quick, photographs, tmp_path / "out", CONTINUE).reused == 10


def test_a_part_of_another_model_is_refused(quick: Model, photographs: Path, tmp_path: Path) -> None:
    score_folder(quick, photographs, tmp_path / "out", Settings(shard=Shard(0, 2)))
    with pytest.raises(UsageError, match="backend was onnx and is torch"):
        score_folder(replace(quick, backend="torch"), photographs, tmp_path / "out", Settings(shard=Shard(1, 2)))


def test_more_parts_than_work_leave_some_with_nothing_to_do(quick: Model, photographs: Path, tmp_path: Path) -> None:
    summary = score_folder(quick, photographs, tmp_path / "out", part(11, 12))
    assert (summary.inputs, summary.ok) == (0, 0)
    assert rows_of(tmp_path / "out", "results-11-of-12.jsonl") == []
    assert summary.report.name == "report-11-of-12.html"


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
