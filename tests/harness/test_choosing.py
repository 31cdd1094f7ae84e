"""`upd-zoo score FOLDER` alone: every image finds the packaged model of its kind, and none is scored by a wrong one."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.inputs import rows_of, write_picture, write_volume
from fake.packaged import put
from fake.program import Command
from fake.runs import assert_same_run, brightness, part
from fake.stores import draw_image
from upd_harness.scoring import panel as panels
from upd_harness.scoring.folder import merge_parts, score_folder
from upd_harness.scoring.panel import Panel, Scorer, packaged_panel
from upd_harness.scoring.settings import Settings
from upd_zoo.artefact.records import Space
from upd_zoo.errors import MissingExtraError
from upd_zoo.hub import packaged
from upd_zoo.names import ModelId
from upd_zoo.runtime.model import Model

GREY, COLOUR = "vae-phantom-t2", "vae-phantom-fundus"


def write_eye(path: Path, seed: int) -> Path:
    """Write a colour picture of the kind that the colour model knows."""
    return _write_square(path, seed, 3)


def _write_square(path: Path, seed: int, channels: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(255 * draw_image(channels, np.random.default_rng(seed))).astype(np.uint8)
    Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(path)
    return path


def write_brain(path: Path, seed: int, spacing: float = 1.0, contrast: float = 1.0) -> Path:
    """Write a volume of the kind that the grey model knows: slices of an ellipse of tissue, background around them."""
    generator = np.random.default_rng(seed)
    slices = np.stack([draw_image(1, generator)[0] for _ in range(4)]) ** contrast
    slices[:, 60:76, 60:76] = 1.0  # what is brightest becomes 1, and all else keeps its grey
    # Rows run from front to back and columns from left to right; voxels of NIfTI from left to right and back to front.
    return write_volume(path, slices[:, ::-1].transpose(2, 1, 0), np.diag([spacing, spacing, spacing, 1]))


@pytest.fixture
def package(artefact: Path, colour_artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a model of brains and one of eyes."""
    put(tmp_path / "packaged", artefact, colour_artefact, monkeypatch=monkeypatch)
    return tmp_path / "packaged"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Images of both kinds, a picture of neither, and a file that is broken."""
    folder = tmp_path / "mixed"
    for number in range(3):
        write_eye(folder / f"eyes/{number}.png", 50 + number)
    write_brain(folder / "brains/scan.nii.gz", 60)
    _write_square(folder / "brains/slice.png", 61, 1)
    write_picture(folder / "cat.png", 1)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def both(model: Model, colour_model: Model) -> Panel:
    """Two models that take no time."""
    return Panel(tuple(Scorer(replace(each, network=brightness)) for each in (model, colour_model)), named=False)


def test_every_image_finds_the_model_of_its_kind(upd_zoo: Command, package: Path, mixed: Path) -> None:
    answer = upd_zoo("score", "mixed")
    out = mixed.parent / "mixed-upd-zoo"
    rows = {row["input"]: row for row in rows_of(out)}
    models = {name: row["model"] and row["model"]["id"] for name, row in rows.items()}
    assert models == {
        "brains/scan.nii.gz": GREY,
        "brains/slice.png": GREY,
        "broken.png": None,
        "cat.png": None,
        "eyes/0.png": COLOUR,
        "eyes/1.png": COLOUR,
        "eyes/2.png": COLOUR,
    }
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"broken.png", "cat.png"}
    assert answer.code == 3
    assert f"3 by {COLOUR}" in answer.out
    assert f"2 by {GREY}" in answer.out
    assert f"Brain MRI: {GREY}, Retinal photograph: {COLOUR}" in answer.err
    assert "-m MODEL takes another, upd-zoo list shows them" in answer.err


def test_a_picture_that_no_model_knows_is_refused_with_what_insists(
    upd_zoo: Command, package: Path, mixed: Path
) -> None:
    answer = upd_zoo("score", "mixed/cat.png")
    (row,) = rows_of(mixed / "cat.png-upd-zoo")
    assert (answer.code, row["error"]["code"], row["score"]) == (3, "unsupported", None)
    told = row["error"]["message"]
    assert f"no packaged model knows such a picture; for {COLOUR}, " in told
    assert "-m MODEL (upd-zoo list)" in told
    insisted = upd_zoo("score", "mixed/cat.png", "-m", COLOUR, "--hub", package, "-o", "insisted")
    assert insisted.code == 0


def test_the_report_and_the_table_hold_all_models_each_with_its_own_ranking(
    upd_zoo: Command, package: Path, mixed: Path
) -> None:
    upd_zoo("score", mixed)
    out = mixed.parent / "mixed-upd-zoo"
    page = (out / "report.html").read_text(encoding="utf-8")
    places = [page.index(f"by <code>{model}</code>") for model in (GREY, COLOUR)]
    for place, other, names in zip(places, (places[1], len(page)), ("scan", "eyes/"), strict=True):
        assert names in page[place:other]
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        models = [row["model"] for row in csv.DictReader(stream)]
    assert models == [GREY, GREY, "", "", COLOUR, COLOUR, COLOUR]
    run = json.loads((out / "run.json").read_text())
    assert [(each["id"], each["colours"]["low"] < each["colours"]["high"]) for each in run["models"]] == [
        (GREY, True),
        (COLOUR, True),
    ]


def test_results_lie_beside_the_images_and_never_among_them(upd_zoo: Command, package: Path, tmp_path: Path) -> None:
    write_eye(tmp_path / "eyes" / "0.png", 50)
    assert upd_zoo("score", "eyes/").code == 0
    assert [path.name for path in (tmp_path / "eyes").iterdir()] == ["0.png"]
    assert (tmp_path / "eyes-upd-zoo" / "report.html").is_file()
    assert "add --continue" in upd_zoo("score", "eyes").err
    again = upd_zoo("score", "eyes", "--continue", "--json")
    assert (again.code, again.json["reused"], again.json["scored_by"]) == (0, 1, {COLOUR: 1})
    other = upd_zoo("score", "eyes", "-m", COLOUR, "--hub", package, "--continue", "-q")
    assert other.is_one_error(2)
    assert "belong to another run" in other.err
    everything = upd_zoo("score", ".", "-o", "everything", "--exclude", "packaged/*", "--json")
    assert everything.json["earlier_results"] == ["eyes-upd-zoo"]


def test_parts_make_what_one_run_makes(both: Panel, mixed: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "parts"
    score_folder(both, mixed, whole, Settings(batch_size=4))
    summaries = [score_folder(both, mixed, out, part(number, 2)) for number in range(2)]
    merged = merge_parts(both, mixed, out, 2, Settings(batch_size=4))
    assert sum(each.ok for each in summaries) == merged.ok == 5
    assert merged.scored_by == {GREY: 2, COLOUR: 3}
    assert_same_run(out, whole)


def test_without_a_packaged_model_one_must_be_named(
    upd_zoo: Command, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "nowhere")
    answer = upd_zoo("score", "mixed")
    assert answer.is_one_error(2)
    assert "No model is named, and this package holds none. Accepted: -m MODEL." in answer.err


@pytest.mark.parametrize("option", ["--hub", "--revision"])
def test_where_a_model_comes_from_says_nothing_of_which(upd_zoo: Command, package: Path, option: str) -> None:
    answer = upd_zoo("score", "packaged", option, "elsewhere")
    assert answer.is_one_error(2)
    assert f"{option} says nothing without a model" in answer.err


def test_a_scan_of_another_contrast_is_refused(both: Panel, tmp_path: Path) -> None:
    path = write_brain(tmp_path / "in" / "usual.nii.gz", 60)
    write_brain(path.with_name("other.nii.gz"), 60, contrast=2.0)
    score_folder(both, path.parent, tmp_path / "out")
    other, usual = rows_of(tmp_path / "out")
    assert (usual["status"], other["status"]) == ("ok", "failed")
    assert f"no packaged model knows such a volume; for {GREY}, it is darker" in other["error"]["message"]


def test_a_whole_head_is_refused_where_nothing_prepares_it(
    both: Panel, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_brain(tmp_path / "heads" / "head.nii.gz", 60, spacing=6.0)
    score_folder(both, path, tmp_path / "out")
    assert "-m MODEL --prepare" in str(rows_of(tmp_path / "out")[0]["error"]["message"])

    def lacking() -> None:
        raise MissingExtraError("Preparing brain scans", "prepare")

    monkeypatch.setattr("upd_harness.scoring.heads.sitk", lacking)
    space = Space(template="mni", template_sha256="0" * 64, extractor="upd-zoo", preparation=1)
    grey, _ = both.scorers
    spaced = replace(grey.model, config=grey.model.config.model_copy(update={"space": space}))
    monkeypatch.setattr(panels, "defaults", lambda: {"brain-mri": ModelId.parse(GREY)})
    panel = packaged_panel(lambda _: spaced)
    score_folder(panel, path, tmp_path / "lacking")
    (row,) = rows_of(tmp_path / "lacking")
    assert row["error"]["code"] == "implausible"
    assert "pip install 'upd-zoo[prepare]'" in row["error"]["message"]
    assert "l above its background" in row["error"]["message"]
