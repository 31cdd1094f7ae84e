"""Variants of a recipe, compared on validation images with planted anomalies; no test store is ever opened."""

import json
from pathlib import Path
from typing import Any

import pytest

from fake.scripts import script
from fake.stores import write_tiny_store
from upd_harness.grid.comparison import best_of, verdict
from upd_harness.grid.trial import Contest
from upd_harness.grid.variants import variants_of, varied
from upd_zoo.artefact.record import Setting
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.names import ModelId
from upd_zoo.phantoms.planting import Kind
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.places import Part
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import ScoreRule

MODEL = "vae-phantom-cxr"


def test_values_are_combined_and_explicit_sets_stand_alone() -> None:
    names = [
        variant.name for variant in variants_of(["smoothing=0,2", "settings.residual=ssim,absolute"], ["", "steps=3"])
    ]
    assert names == [
        "smoothing=0 settings.residual=ssim",
        "smoothing=0 settings.residual=absolute",
        "smoothing=2 settings.residual=ssim",
        "smoothing=2 settings.residual=absolute",
        "recipe",
        "steps=3",
    ]
    assert variants_of(["settings.levels=[1,2],[3]"], [])[0].changes == {"settings.levels": [1, 2]}
    assert [variant.name for variant in variants_of([], [])] == ["recipe"]
    for wrong in ("smoothing", "=1", "smoothing="):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            variants_of([wrong], [])


def test_every_change_arrives_in_the_recipe_and_a_wrong_name_or_value_is_refused() -> None:
    recipe = load_recipe(ModelId.parse(MODEL), profile="tiny")
    changes: dict[str, Setting] = {
        "steps": 7,
        "optimiser.lr": 0.5,
        "settings.width": 3,
        "smoothing": 2,
        "score_rule": "maximum",
    }
    changed = varied(recipe, changes)
    phase = changed.phases["main"]
    assert (phase.steps, phase.optimiser["lr"], phase.optimiser["name"]) == (7, 0.5, "Adam")
    assert (changed.settings["width"], changed.smoothing, changed.score_rule) == (3, 2.0, ScoreRule.MAXIMUM)
    assert varied(recipe, {}) == recipe
    with pytest.raises(UsageError, match=r"nothing called 'smooth'.*smoothing"):
        varied(recipe, {"smooth": 1})
    with pytest.raises(UsageError, match="score_rule cannot be median"):
        varied(recipe, {"score_rule": "median"})
    with pytest.raises(UsageError, match="200 x 200"):
        varied(recipe, {"side": 200})


def test_a_side_takes_its_stores_and_what_is_smoothed_with_it(tmp_path: Path) -> None:
    contest = Contest("rd-phantom-t2", tmp_path, tmp_path)
    usual, large = contest.recipe({}), contest.recipe({"side": 256})
    assert (usual.side, large.side) == (128, 256)
    assert large.smoothing == 2 * usual.smoothing
    assert contest.recipe({"side": 256, "smoothing": 3}).smoothing == 3
    with pytest.raises(NotFoundError, match="train-256"):
        contest.store(large, Part.TRAIN)


def trials(*scores: float) -> list[dict[str, Any]]:
    return [{"metrics": {"model": {"all": {"ap_pixel": score, "auroc": 0.5, "ap_image": 0.5}}}} for score in scores]


def test_the_best_is_so_by_its_mean_and_a_lead_within_its_spread_is_called_so() -> None:
    clear = {"a": trials(0.2, 0.3, 0.4), "b": trials(0.1, 0.2, 0.31)}
    assert best_of(clear, "ap_pixel") == "a"
    assert "a, 0.097 ±0.006 ahead of b" in verdict(clear, "ap_pixel")
    assert "within its spread" not in verdict(clear, "ap_pixel")
    assert "within its spread" in verdict({"a": trials(0.2, 0.4), "b": trials(0.25, 0.3)}, "ap_pixel")


def test_variants_are_measured_once_share_a_training_and_leave_the_test_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, part in enumerate(("train", "validation")):
        write_tiny_store(tmp_path / f"phantom-cxr/{part}", 1, 8, seed, name=f"phantom-cxr/{part}", subjects=part)
    (tmp_path / "phantom-cxr/test").mkdir()
    opened: list[str] = []
    usual = Store.__init__

    def noted(self: Store, folder: Path) -> None:
        opened.append(Path(folder).name)
        usual(self, folder)

    monkeypatch.setattr(Store, "__init__", noted)
    choose = script("choose", monkeypatch)
    out = tmp_path / "out"
    options = {
        "profile": "tiny",
        "data": tmp_path,
        "out": out,
        "images": 8,
        "kind": [Kind.DARK_BLOB],
        "vary": ["steps=2", "smoothing=0,2"],
    }
    choose.main(MODEL, **options)
    assert "(intensity)" in capsys.readouterr().out
    made = {path.name for path in (out / "trials").iterdir()}
    assert (len(made), len([*(out / "runs").iterdir()])) == (2, 1)
    document = json.loads((out / "choice.json").read_text())
    assert document["summary"].keys() == {"steps=2 smoothing=0", "steps=2 smoothing=2"}
    first, second = (document["trials"][name][0] for name in document["summary"])
    assert first["metrics"]["model"] != second["metrics"]["model"]
    assert first["metrics"]["intensity"] == second["metrics"]["intensity"]
    choose.main(MODEL, **(options | {"vary": ["steps=2", "smoothing=0,2,3"], "seeds": "0"}))
    assert {path.name for path in (out / "trials").iterdir()} > made
    assert [found[0]["fresh"] for found in json.loads((out / "choice.json").read_text())["trials"].values()] == [
        False,
        False,
        True,
    ]
    assert len([*(out / "runs").iterdir()]) == 1
    assert not any(name.startswith("test") for name in opened)
