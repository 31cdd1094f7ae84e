"""The effect of each switch between the protocols, made resumably and written as a page."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.scripts import script
from fake.stores import write_tiny_store
from upd_harness.grid.effects import as_lines, as_markdown, document_of, joined, rows_of
from upd_harness.grid.trial import Contest
from upd_harness.grid.variants import Variant, switches_of, varied
from upd_zoo.errors import UsageError
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import Protocol

MODEL = "vae-phantom-cxr"


def test_switches_lead_from_the_sound_recipe_to_the_studys() -> None:
    sound, study = (load_recipe(ModelId.parse(MODEL), protocol) for protocol in (Protocol.SOUND, Protocol.STUDY))
    switches = switches_of(sound, study)
    assert switches
    assert replace(varied(sound, switches), protocol=Protocol.STUDY) == study
    assert switches_of(sound, sound) == {}


def test_rows_are_sound_each_switch_own_variants_and_the_study(tmp_path: Path) -> None:
    contest = Contest(MODEL, tmp_path, tmp_path)
    switches = switches_of(contest.recipe({}), load_recipe(ModelId.parse(MODEL), Protocol.STUDY))
    same = Variant({"smoothing": contest.recipe({}).smoothing})
    rows = rows_of(contest, (), [Variant({"smoothing": 7}), same])
    assert rows[0].name == "sound"
    assert {key for row in rows[1 : 1 + len(switches)] for key in row.variant.changes} == {*switches}
    assert same.name not in {row.name for row in rows}
    assert "smoothing=7" in {row.name for row in rows}
    assert [row.name for row in rows_of(contest, ["settings.nothing"], [])] == ["sound"] + ["study"] * (
        len(switches) > 1
    )


def outcome(row: str, seed: int, auroc: float, test: str = "0") -> dict[str, Any]:
    metrics = {"ap_pixel": None, "auroc": auroc, "ap_image": 0.5}
    intervals = {"auroc": [auroc - 0.1, auroc + 0.1], "ap_image": [0.4, 0.6]}
    return {
        "test_set": "nih-cxr",
        "model": "rd-nih-cxr",
        "row": row,
        "seed": seed,
        "metrics": {"model": metrics, "intensity": metrics},
        "intervals": intervals,
        "labels": ["made up"],
        "versions": {"torch": "2"},
        **dict.fromkeys(("images", "anomalous", "subjects"), 8),
        **dict.fromkeys(("run", "train", "weights", "code"), "0"),
        "test": test,
    }


def test_a_change_is_that_of_pairs_of_seeds_and_what_is_undefined_stays_so() -> None:
    found = [
        outcome("sound", 0, 0.7),
        outcome("sound", 1, 0.8),
        outcome("smoothing=0", 0, 0.6),
        outcome("sound", 2, 0.1),
    ]
    lines = {line["row"]: line for line in as_lines(found)}
    assert lines["sound"]["seeds"] == [0, 1, 2]
    figures = lines["smoothing=0"]["metrics"]["auroc"]
    assert figures["mean"] == pytest.approx(0.6)
    assert figures["change"] == {"mean": pytest.approx(-0.1), "deviation": None}
    assert figures["interval"] == pytest.approx([0.5, 0.7])
    assert lines["sound"]["metrics"]["ap_pixel"] is None


def test_a_page_keeps_its_lines_but_those_that_were_made_again_with_as_many_seeds() -> None:
    held = document_of("quick", [outcome("sound", 0, 0.7), outcome("sound", 1, 0.8), outcome("study", 0, 0.2)])
    found = document_of("quick", [outcome("sound", 0, 0.1), outcome("study", 0, 0.3), outcome("smoothing=0", 0, 0.4)])
    page = joined(held, found)
    means = {line["row"]: line["metrics"]["auroc"]["mean"] for line in page["lines"]}
    assert means == pytest.approx({"sound": 0.75, "smoothing=0": 0.4, "study": 0.3})
    assert [*means] == ["sound", "smoothing=0", "study"]
    assert [(each["row"], each["seed"]) for each in page["outcomes"]] == [
        ("sound", 0),
        ("sound", 1),
        ("smoothing=0", 0),
        ("study", 0),
    ]
    assert page["versions"] == [{"torch": "2"}]
    assert joined(page, page) == page
    text = as_markdown(page)
    assert "| `rd-nih-cxr` | `study` | 1 |" in text
    assert "| row | method | AUROC, NIH ChestX-ray14 |\n|---|---|---|\n" in text
    assert "| `study` | rd | +0.200 |" in text
    assert text.index("| `smoothing=0` | rd | +0.300 |") < text.index("| `study` | rd |")


def test_a_page_forgets_lines_of_other_images_and_takes_no_other_profile() -> None:
    held = document_of("quick", [outcome("sound", 0, 0.7), outcome("sound", 1, 0.8)])
    found = [outcome("sound", 0, 0.1, test="1")]
    page = joined(held, document_of("quick", found))
    assert [line["seeds"] for line in page["lines"]] == [[0]]
    with pytest.raises(UsageError, match="tiny"):
        joined(held, document_of("tiny", found))


@pytest.mark.slow
def test_effects_are_made_once_and_the_page_has_a_line_for_each_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_store(tmp_path / "data/phantom-cxr/train", 1, 8, name="phantom-cxr/train")
    store = tmp_path / "data/phantom-cxr/test"
    write_tiny_store(store, 1, 8, 7, masks=True, anomalous=4, name="phantom-cxr/test", subjects="test")
    effects = script("effects", monkeypatch)
    options = {"profile": "tiny", "data": tmp_path / "data", "out": tmp_path / "out", "pages": tmp_path / "pages"}
    options |= {"seeds": "0", "variant": ["smoothing=5"]}
    effects.main(["vae"], ["phantom-cxr"], **options, minutes=0)
    assert not (tmp_path / "pages").exists()
    effects.main(["vae"], ["phantom-cxr"], **options)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/outcomes").iterdir()}
    document = json.loads((tmp_path / "pages/effects.json").read_text())
    names = {line["row"] for line in document["lines"]}
    assert {"sound", "smoothing=5"} < names
    assert len(made) == len(names)
    assert all(line["metrics"]["ap_pixel"]["interval"] for line in document["lines"])
    page = (tmp_path / "pages/effects.md").read_text()
    assert all(f"`{name}`" in page for name in names)
    assert "| intensity |" in page
    effects.main(["vae"], ["phantom-cxr"], **options)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/outcomes").iterdir()} == made


@pytest.mark.slow
def test_brains_are_also_prepared_and_judged_as_by_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data/phantom-t1"
    for suffix, seed in (("", 7), ("-study", 9)):
        write_tiny_store(data / f"train{suffix}", 1, 8, seed, name=f"phantom-t1/train{suffix}")
        test, name = data / f"test{suffix}", f"phantom-t1/test{suffix}"
        write_tiny_store(test, 1, 8, seed, masks=True, anomalous=4, name=name, subjects="test")
    effects = script("effects", monkeypatch)
    options = {"profile": "tiny", "data": tmp_path / "data", "out": tmp_path / "out", "pages": tmp_path / "pages"}
    effects.main(["vae"], ["phantom-t1"], **options, seeds="0", switch=["settings.nothing"])
    lines = {line["row"]: line for line in json.loads((tmp_path / "pages/effects.json").read_text())["lines"]}
    assert {"prepared as by the study", "masks as of the study"} < {*lines}
    judged = lines["masks as of the study"]["metrics"]
    assert judged["ap_pixel"]["mean"] != lines["sound"]["metrics"]["ap_pixel"]["mean"]
    assert judged["auroc"]["mean"] == lines["sound"]["metrics"]["auroc"]["mean"]
    assert len([*(tmp_path / "out/runs").iterdir()]) == 3
