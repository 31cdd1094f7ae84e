"""A folder as folders are: good images among what cannot be scored, links, results of yesterday and other formats."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fake.inputs import head, map_of, rows_of, write_picture, write_volume
from fake.odd import write_doubtful, write_odd
from fake.program import Command
from upd_harness.scoring.folder import score_folder
from upd_zoo.files import sha256_of
from upd_zoo.runtime.model import Model

MODEL = "vae-phantom-t2"


def write_good(folder: Path) -> list[str]:
    """Write twenty images that can be scored, under names and in places that are odd enough."""
    for number in range(8):
        write_volume(folder / f"volumes/{number}.nii{'.gz' if number % 2 else ''}", head(number))
    for number in range(6):
        write_picture(folder / f"pictures/{number}.{('png', 'jpg', 'tif')[number % 3]}", number, colour=False)
    plain = [f"volumes/{number}.nii{'.gz' if number % 2 else ''}" for number in range(8)]
    plain += [f"pictures/{number}.{('png', 'jpg', 'tif')[number % 3]}" for number in range(6)]
    odd = ["x.png", "x.png.jpg/y.png", "n" * 251 + ".png", "=1+1.png", "a\rb.png", "\x1b[31mred.png"]
    for number, name in enumerate(odd):
        path = write_picture(folder / "pictures" / "next.png", 20 + number, colour=False)
        (folder / name).parent.mkdir(exist_ok=True)
        path.rename(folder / name)
    return plain + odd


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of these names and files")
def test_a_mixed_folder_is_scored_as_far_as_it_can_be_and_told_of_in_one_report(
    upd_zoo: Command, model: Model, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    good, bad = write_good(folder), {f"odd/{name}": code for name, code in write_odd(folder / "odd").items()}
    doubtful = {f"doubtful/{name}": code for name, code in write_doubtful(folder / "doubtful").items()}
    good += doubtful
    assert (len(good), len(bad)) == (25, 48)
    score_folder(model, folder / "volumes", folder / "yesterday")
    (folder / "loop").symlink_to(folder)
    for name in ("t1.mgz", "pair.hdr", "pair.img", "scan.nrrd", "notes.txt", ".DS_Store"):
        (folder / name).touch()
    (folder / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(64))

    answer = upd_zoo("score", folder, "-m", MODEL, "-o", out)

    assert answer.code == 3, answer.err
    rows = {row["input"]: row for row in rows_of(out)}
    assert rows.keys() == {*good, *bad}
    assert {name: row["error"]["code"] for name, row in rows.items() if row["error"]} == bad
    for name, code in doubtful.items():
        assert code in {warning["code"] for warning in rows[name]["warnings"]}, name
    assert f"{len(good)} scored" in answer.out
    assert f"and {len(bad) - 5} more" in answer.out
    assert "1 DICOM" in answer.out
    assert "yesterday" in answer.out
    assert "\x1b" not in answer.out + answer.err
    run = json.loads((out / "run.json").read_text())
    assert run["counts"]["failed"] == len(bad) == sum(run["failures"].values())
    assert run["earlier_results"] == ["yesterday"]
    with (out / "results.csv").open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 1 + len(rows)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(code in page for code in bad.values())
    for number, name in enumerate(good):
        alone = tmp_path / "alone" / str(number)
        score_folder(model, folder / name, alone)
        (row,) = rows_of(alone)
        assert rows[name]["score"] == pytest.approx(row["score"], abs=1e-6)
        assert rows[name]["input_sha256"] == sha256_of(folder / name) == row["input_sha256"]
        np.testing.assert_allclose(map_of(out, rows[name]), map_of(alone, row), atol=1e-6)
