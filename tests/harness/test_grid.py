"""A grid on tiny stores: it goes on where it was stopped, makes nothing twice, and is drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import Timeout
from PIL import Image

from fake.artefact import write_artefact
from fake.program import Command
from fake.results import made_result
from fake.stores import write_tiny_store
from upd_harness.engines.local import apart
from upd_harness.grid.identity import described, identity_of, settle
from upd_harness.grid.pictures import draw, panels_of, shown_rows
from upd_harness.grid.plan import ARTEFACT, FINISHED, Choice, Plan, Start, Task, tasks_of
from upd_harness.grid.results import result_path
from upd_harness.grid.work import make, pretraining_of
from upd_harness.report.sheet import sheet
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import ONNX
from upd_zoo.errors import UsageError
from upd_zoo.files import held, sha256_of, write_json
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import Protocol

TASK = Task("vae-phantom-cxr", 0)
"""Under the study's protocol, whose residual tells healthy images apart after so few steps."""
OPTIONS = ("--method", "vae", "--domain", "phantom-cxr", "--profile", "tiny", "--protocol", "study")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A grid whose one task is finished."""
    folder = tmp_path_factory.mktemp("grid")
    for seed, part in enumerate(("train", "validation")):
        store = folder / "data" / "phantom-cxr" / part
        write_tiny_store(store, 1, 12, seed=seed, name=f"phantom-cxr/{part}", subjects=part)
    test = folder / "data" / "phantom-cxr" / "test"
    write_tiny_store(test, 1, 8, 7, masks=True, anomalous=4, name="phantom-cxr/test", subjects="test")
    plan = Plan(folder / "grid", folder / "data", "tiny", Protocol.STUDY, "random", None, 1)
    seconds = apart(make, TASK, plan)
    assert list(seconds) == ["train", "export", "evaluate", "processor"]
    return plan


def hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_what_is_finished_is_not_made_again(plan: Plan) -> None:
    folder = plan.out / TASK.name
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make(TASK, plan) == {}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_is_finished_and_no_longer_whole_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("_train", "_export", "_evaluate"):
        monkeypatch.setattr(f"upd_harness.grid.work.{stage}", lambda *_: None)
    plan = Plan(tmp_path / "grid", tmp_path / "data", "tiny", Protocol.STUDY, "random", None, None)
    write_tiny_store(plan.data / "phantom-cxr" / "test", 1, 4, name="phantom-cxr/test")
    folder, result = plan.out / TASK.name, result_path(TASK, plan.out, "phantom-cxr")
    artefact = write_artefact(folder / ARTEFACT, name=TASK.model)
    write_record(result, made_result(TASK.model, "phantom-cxr"))
    settle(folder, identity_of(TASK, plan), plan)
    write_json(folder / FINISHED, {"train": 1.0})
    assert make(TASK, plan) == {}
    result.write_text("{", encoding="utf-8")
    assert list(make(TASK, plan)) == ["evaluate", "processor"]
    write_record(result, made_result(TASK.model, "phantom-cxr"))
    (artefact / ONNX).write_bytes(b"graqh")
    assert list(make(TASK, plan)) == ["train", "export", "evaluate", "processor"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"profile": "quick"}, 'recipe.profile "tiny" instead of "quick"'),
        ({"protocol": Protocol.SOUND}, 'recipe.protocol "study" instead of "sound"'),
        ({"steps": 3}, r"recipe.phases.main.steps \d+ instead of 3"),
    ],
)
def test_what_was_made_otherwise_is_not_shown_as_this(plan: Plan, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=f"was made with .*{told}"):
        make(TASK, replace(plan, **changed))
    assert [task["finished"] for task in described([TASK], replace(plan, **changed))] == [False]


@pytest.mark.slow
def test_what_was_made_of_other_images_is_not_shown_as_this_and_of_none_that_are_here_it_is(
    plan: Plan, tmp_path: Path
) -> None:
    other = replace(plan, data=tmp_path)
    assert make(TASK, other) == {}
    write_tiny_store(tmp_path / "phantom-cxr" / "train", 1, 12, seed=5, name="phantom-cxr/train")
    with pytest.raises(UsageError, match="was made with train "):
        make(TASK, other)


@pytest.mark.slow
def test_what_other_code_made_is_kept_only_where_that_is_asked_for(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upd_harness.grid.identity.code", lambda: "other")
    with pytest.raises(UsageError, match=r"other code of the methods.*--any-code"):
        make(TASK, plan)
    assert make(TASK, replace(plan, any_code=True)) == {}


@pytest.mark.slow
def test_an_older_grid_which_did_not_say_what_it_was_is_known_by_its_artefacts(plan: Plan, tmp_path: Path) -> None:
    older = replace(plan, out=tmp_path)
    shutil.copytree(plan.out / TASK.name, tmp_path / TASK.name)
    (tmp_path / TASK.name / "task.json").unlink()
    assert make(TASK, older) == {}
    with pytest.raises(UsageError, match="was made with profile tiny, protocol study"):
        make(TASK, replace(older, profile="quick"))


@pytest.mark.slow
def test_a_task_that_another_process_carries_out_is_left_to_it(plan: Plan) -> None:
    with held(plan.out / TASK.name / ".lock"), pytest.raises(Timeout):
        make(TASK, plan, 0)
    assert make(TASK, plan, 0) == {}


@pytest.mark.slow
def test_a_task_that_was_killed_after_its_training_goes_on_with_the_rest(plan: Plan, tmp_path: Path) -> None:
    stopped = replace(plan, out=tmp_path / "grid")
    trained = shutil.copytree(plan.out / TASK.name / "run", stopped.out / TASK.name / "run")
    before = hashes(trained)
    assert list(make(TASK, stopped)) == ["train", "export", "evaluate", "processor"]
    assert hashes(trained) == before
    result, again = (json.loads(result_path(TASK, each.out, "phantom-cxr").read_text()) for each in (plan, stopped))
    assert result["metrics"] == again["metrics"]


@pytest.mark.slow
def test_tables_and_pictures_come_from_what_is_there(plan: Plan, upd_zoo: Command, tmp_path: Path) -> None:
    options = (*OPTIONS, "--seed", "0", "--seed", "1", "--data", plan.data, "--only-tables")
    answer = upd_zoo("grid", plan.out, *options, "--page", tmp_path / "page.md", "--json")
    assert answer.code == 0, answer.err
    assert [row["seed"] for row in json.loads(answer.out)["results"]] == [0]
    assert json.loads((plan.out / "table.json").read_text()) == json.loads(answer.out)
    table = (plan.out / "table.md").read_text(encoding="utf-8")
    assert "| `vae-phantom-cxr` |" in table
    assert (plan.out / "phantom-cxr.png").is_file()
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == table.replace(
        "\n![phantom-cxr](phantom-cxr.png)\n", ""
    )


@pytest.mark.slow
def test_a_picture_has_four_panels_for_each_image_of_each_model(plan: Plan) -> None:
    with Image.open(draw([TASK, TASK], "phantom-cxr", plan)) as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape == (18 + 2 * 130, 110 + 2 * 4 * 130, 3)
    one, other = pixels[18 : 18 + 130, 110:], pixels[18 + 130 :, 110:]
    assert np.array_equal(one, other)
    assert all(one[:128, 130 * column : 130 * column + 128].any() for column in range(8))


def test_the_shown_images_are_the_median_lesion_and_the_healthy_one_most_like_it(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", images=8, masks=True, anomalous=3, name="phantom-t2/test")
    assert store.masks is not None
    sick, healthy = shown_rows(store)
    assert np.flatnonzero(store.anomalous).tolist()[1] == sick
    assert not store.anomalous[healthy]
    assert store.subjects[healthy] != store.subjects[sick]


def test_a_map_is_drawn_in_colour_where_it_is_high() -> None:
    images = np.full((1, 1, 128, 128), 0.5, np.float32)
    maps = np.zeros((1, 128, 128), np.float32)
    maps[0, 32:96, 32:96] = 1
    line = panels_of("made", images, np.zeros_like(images), maps, [None], (0.0, 1.0))
    image, drawn, mapped, _ = (np.asarray(panel).astype(int) for panel in line.panels)
    coloured = np.ptp(mapped, axis=2) > 0
    assert not np.ptp(image, axis=2).any()
    assert not drawn.any()
    assert coloured[64, 64]
    assert not coloured[4, 4]
    assert sheet(("a", "b", "c", "d"), [line]).size == (110 + 4 * 130, 18 + 130)


@pytest.mark.slow
def test_models_share_the_pretraining_of_one_encoder_on_the_same_pixels(plan: Plan) -> None:
    tasks = tasks_of(Choice(("fae", "padim", "rd", "vae"), ("phantom-t2",), (Start.CCD,), (0, 1), "mobilenetv2_100"))
    folders: dict[tuple[str | None, bool, int], set[str]] = {}
    for task in tasks:
        model = replace(ModelId.parse(task.model), ccd=False)
        kind = model.backbone, load_recipe(model, plan.protocol).centred, task.seed
        folders.setdefault(kind, set()).add(pretraining_of(task, plan))
    assert len(folders) < len(tasks)
    assert all(len(shared) == 1 for shared in folders.values())
    assert len(set.union(*folders.values())) == len(folders)
