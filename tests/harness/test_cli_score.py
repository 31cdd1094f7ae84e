"""What `upd-zoo score` says: the first failures and why, everything else counted, and nothing of where things lie."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.inputs import head, rows_of, write_broken, write_volume
from fake.program import Answer, Command

MODEL = "vae-phantom-t2"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in range(4):
        write_volume(tmp_path / "scans" / f"s{number}" / f"{number}.nii.gz", head(number))
    return tmp_path / "scans"


@pytest.fixture
def scored(upd_zoo: Command, scans: Path) -> Any:
    """Score the scans with options."""

    def run(*options: str | Path) -> Answer:
        return upd_zoo("score", scans, "-m", MODEL, "-o", "out", "-q", *options)

    return run


def test_the_first_failures_are_told_with_their_reasons_and_the_rest_by_code(scored: Any, scans: Path) -> None:
    expected = write_broken(scans)
    (scans / "t1.mgz").touch()
    answer = scored()
    assert answer.code == 3
    first = sorted(expected)[:5]
    for name in first:
        (line,) = [line for line in answer.out.splitlines() if line.strip().startswith(f"{name} (")]
        opening = f"  {name} ({expected[name]}): "
        assert line.startswith(opening)
        assert name not in line[len(opening) :]
        assert len(line) > len(opening) + 10
    assert (
        "and 3 more: 2 corrupt, 1 channels, 1 missing, 1 not-finite, 1 too-large, 1 truncated, 1 unsupported in all"
        in (answer.out)
    )
    assert "not taken for inputs: 1 .mgz" in answer.out


def test_a_failure_in_a_folder_is_named_once(scored: Any, scans: Path) -> None:
    mask = np.zeros((40, 40, 10), np.uint8)
    mask[10:20, 10:20] = 1
    write_volume(scans / "s1" / "mask.nii.gz", mask)
    (scans / "s1" / "text.nii.gz").write_text("none")
    answer = scored("--include", "mask.nii.gz", "--include", "text.nii.gz")
    for name in ("mask.nii.gz", "text.nii.gz"):
        (line,) = [line for line in answer.out.splitlines() if name in line]
        assert line.startswith(f"  s1/{name} (")
        assert line.count(name) == 1


def test_warnings_are_counted_by_code(scored: Any, scans: Path, tmp_path: Path) -> None:
    answer = scored("--json")
    rows = rows_of(tmp_path / "out")
    codes = [code for row in rows for code in {warning["code"] for warning in row["warnings"]}]
    assert answer.json["warnings"] == {code: codes.count(code) for code in codes}


def test_programs_are_told_the_same(scored: Any, scans: Path) -> None:
    write_broken(scans)
    told = scored("--json").json
    assert told["failures"]["corrupt"] == 2
    assert told["first_failures"][0] == {
        "input": "bit-flipped.nii.gz", "code": "corrupt", "message": told["first_failures"][0]["message"]
    }  # fmt: skip
    assert (told["left_out"], told["earlier_results"]) == ({}, [])


def test_inputs_are_chosen_by_patterns(scored: Any, scans: Path, tmp_path: Path) -> None:
    answer = scored("--include", "s1/*", "--include", "2.nii.gz", "--exclude", "s2/*", "--json")
    assert [row["input"] for row in rows_of(tmp_path / "out")] == ["s1/1.nii.gz"]
    assert answer.json["left_out"] == {"excluded": 3}


def test_results_hold_no_whole_path_unless_asked_to(
    scored: Any, scans: Path, artefact: Path, upd_zoo: Command, tmp_path: Path
) -> None:
    scored()
    upd_zoo("score", scans, "-m", artefact, "-o", "folder", "-q")
    for output in ("out", "folder"):
        for path in [*(tmp_path / output).glob("*.json*"), *(tmp_path / output).glob("re*.[ch]*")]:
            assert str(tmp_path) not in path.read_text(encoding="utf-8")
            assert str(artefact.parent) not in path.read_text(encoding="utf-8")
    arguments = json.loads((tmp_path / "out" / "run.json").read_text())["arguments"]
    assert (arguments["inputs"], arguments["output"]) == ("scans", "out")
    scored("--overwrite", "--keep-paths")
    arguments = json.loads((tmp_path / "out" / "run.json").read_text())["arguments"]
    assert (arguments["inputs"], arguments["output"]) == (str(scans), str(tmp_path / "out"))


def test_going_on_with_another_model_is_a_usage_error_that_names_the_difference(
    scored: Any, scans: Path, artefact: Path, upd_zoo: Command, tmp_path: Path
) -> None:
    scored()
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    answer = upd_zoo("score", scans, "-m", artefact, "-o", "out", "-q", "--continue")
    assert answer.is_one_error(2)
    assert "revision was main and is local" in answer.err
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
    assert upd_zoo("score", scans, "-m", artefact, "-o", "out", "-q", "--overwrite").code == 0


def test_a_folder_of_nothing_but_other_formats_says_what_it_found(scored: Any, scans: Path) -> None:
    shutil.rmtree(scans)
    scans.mkdir()
    for name in ("a.mgz", "b.mgz", "c.nrrd"):
        (scans / name).touch()
    answer = scored()
    assert answer.is_one_error(4)
    assert "2 .mgz, 1 .nrrd" in answer.err
