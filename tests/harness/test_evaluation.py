"""How good a model is: numbers of an independent reference, beside baselines that no model may hide."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fake.stores import write_tiny_store
from upd_harness.evaluation.contenders import gather
from upd_harness.evaluation.intervals import bootstrap_intervals
from upd_harness.evaluation.run import Evaluation, evaluate, room
from upd_harness.evaluation.stored import read_result
from upd_harness.report.html import why_undefined
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import RESULTS, Result, Space
from upd_zoo.errors import UsageError
from upd_zoo.progress import Progress
from upd_zoo.runtime.model import Array, Model
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Scale, get_test_set

PHANTOM = get_test_set("phantom-t2")


def brightness(images: Array) -> tuple[Array, Array]:
    """Find the planted discs, which are brighter than anything healthy."""
    maps = images.mean(axis=1, keepdims=True)
    return maps, maps.max(axis=(1, 2, 3))


@pytest.fixture
def clever(model: Model) -> Model:
    return replace(model, network=brightness)


@pytest.fixture
def evaluation(model: Model, tested_store: Store, tmp_path: Path) -> Evaluation:
    return evaluate(model, PHANTOM, tested_store, tmp_path / "out", revision="seed-1")


def test_the_metrics_are_those_of_an_independent_reference(
    evaluation: Evaluation, model: Model, tested_store: Store
) -> None:
    assert tested_store.masks is not None
    maps, scores = model(np.ascontiguousarray(tested_store.images))
    found = evaluation.result.metrics
    np.testing.assert_allclose(evaluation.scores, scores, atol=1e-5)
    assert found.ap_image == pytest.approx(average_precision_score(tested_store.anomalous, evaluation.scores))
    assert found.auroc == pytest.approx(roc_auc_score(tested_store.anomalous, evaluation.scores))
    expected = average_precision_score(tested_store.masks.ravel(), maps.ravel())
    assert found.ap_pixel == pytest.approx(expected, abs=1e-3)
    assert found.dice_threshold is not None
    marked = maps[:, 0] >= found.dice_threshold
    dice = 2 * (marked & (tested_store.masks == 1)).sum() / (marked.sum() + tested_store.masks.sum())
    assert found.dice == pytest.approx(dice, abs=1e-3)
    assert found.study_dice is not None
    assert found.dice is not None
    assert 0 < found.study_dice <= found.dice


def test_a_model_that_finds_everything_scores_one(clever: Model, tested_store: Store, tmp_path: Path) -> None:
    found = evaluate(clever, PHANTOM, tested_store, tmp_path / "out").result.metrics
    values = (found.ap_image, found.auroc, found.ap_pixel, found.dice)
    assert values == pytest.approx((1, 1, 1, 1))


def test_the_brightness_of_pixels_is_no_achievement(clever: Model, tested_store: Store, tmp_path: Path) -> None:
    baselines = evaluate(clever, PHANTOM, tested_store, tmp_path / "out").result.baselines
    assert baselines["intensity"].auroc == 1
    assert baselines["intensity"].ap_pixel == pytest.approx(1)
    assert baselines["darkness"].ap_pixel is not None
    assert baselines["darkness"].ap_pixel < 0.1


def test_chance_is_the_share_of_anomalous_pixels_among_the_tissue(evaluation: Evaluation, tested_store: Store) -> None:
    assert tested_store.masks is not None
    tissue = np.asarray(tested_store.images[:, 0]) > 0
    chance = evaluation.result.baselines["random"].ap_pixel
    assert chance == pytest.approx(tested_store.masks.sum() / tissue.sum(), rel=0.15)


def test_the_result_names_model_store_and_seed(evaluation: Evaluation, model: Model, tested_store: Store) -> None:
    result = evaluation.result
    assert (result.model, result.revision, result.seed) == ("vae-phantom-t2", "seed-1", 0)
    assert (result.manifest, result.store) == (model.manifest_sha256, tested_store.sha256)
    assert (result.images, result.anomalous, result.subjects) == (12, 6, 6)
    assert "tiny test store" in result.labels
    assert {*result.intervals} == {"ap_image", "auroc", "ap_pixel", "dice", "aupro"}
    for name, (low, high) in result.intervals.items():
        assert 0 <= low <= getattr(result.metrics, name) <= high <= 1


def test_everything_is_written_and_can_be_read_back(evaluation: Evaluation, tested_store: Store) -> None:
    out = evaluation.report.parent
    assert read_record(out / RESULTS / "phantom-t2.json", Result) == evaluation.result
    result, kept = read_result(out / RESULTS / "phantom-t2.json")
    np.testing.assert_array_equal(kept.scores, evaluation.scores)
    for name, interval in bootstrap_intervals(kept.scores, kept.anomalous, kept.subjects, kept.pixels).items():
        assert interval == pytest.approx(result.intervals[name], abs=1e-5)
    with (out / "scores.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["subject"] for row in rows] == tested_store.subjects
    np.testing.assert_array_equal([float(row["score"]) for row in rows], evaluation.scores)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert (run["command"], run["test_set"], run["model"]["revision"]) == ("evaluate", "phantom-t2", "seed-1")
    page = evaluation.report.read_text(encoding="utf-8")
    assert "AUROC" in page
    assert "False alarms, all" in page
    assert evaluation.result.subject_level is not None
    assert f"of {evaluation.result.subject_level.alarms['all'].healthy} healthy subjects" in page
    assert "position" in evaluation.result.baselines
    assert page.count("data:image/jpeg") == 5


def test_the_batch_size_and_the_time_of_day_change_no_number(
    evaluation: Evaluation, model: Model, tested_store: Store, tmp_path: Path
) -> None:
    again = evaluate(
        model, PHANTOM, tested_store, tmp_path / "again", revision="seed-1", gathering=partial(gather, batch_size=5)
    ).result
    one, two = (result.model_dump() for result in (evaluation.result, again))
    for name in ("ap_image", "auroc", "ap_pixel", "dice"):
        assert one["metrics"][name] == pytest.approx(two["metrics"][name], abs=1e-4)
        assert one["baselines"]["intensity"][name] == two["baselines"]["intensity"][name]
    assert one["intervals"] == two["intervals"]


def test_whole_subjects_are_drawn_for_the_intervals(clever: Model, tmp_path: Path) -> None:
    narrow = write_tiny_store(tmp_path / "many", images=24, anomalous=12, name="phantom-t2/test")
    result = evaluate(clever, PHANTOM, narrow, tmp_path / "out").result
    assert result.intervals["auroc"] == (1, 1)


def test_without_masks_there_are_no_pixel_metrics(clever: Model, tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", anomalous=4, name="phantom-t2/test")
    found = evaluate(clever, PHANTOM, store, tmp_path / "out").result.metrics
    assert found.ap_pixel is found.dice is found.dice_threshold is None
    assert found.auroc == 1


@pytest.mark.parametrize("anomalous", [0, 8])
def test_without_both_classes_there_are_no_ranks_and_no_nan(clever: Model, tmp_path: Path, anomalous: int) -> None:
    store = write_tiny_store(tmp_path / "store", masks=True, anomalous=anomalous, name="phantom-t2/test")
    evaluation = evaluate(clever, PHANTOM, store, tmp_path / "out")
    assert evaluation.result.metrics.auroc is None
    for path in evaluation.report.parent.rglob("*.json"):
        assert "NaN" not in path.read_text(encoding="utf-8")


def test_images_of_another_kind_are_refused(model: Model, tested_store: Store, tmp_path: Path) -> None:
    colour = write_tiny_store(tmp_path / "store", 3, name="phantom-fundus/test")
    with pytest.raises(UsageError, match="3 channels"):
        evaluate(model, get_test_set("phantom-fundus"), colour, tmp_path / "out")
    with pytest.raises(UsageError, match="'Chest X-ray'"):
        evaluate(model, get_test_set("phantom-cxr"), tested_store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scans_of_another_contrast_are_measured_and_told(clever: Model, tested_store: Store, tmp_path: Path) -> None:
    known, other = (
        evaluate(clever, get_test_set(name), tested_store, tmp_path / name).result.labels
        for name in ("phantom-t2", "phantom-t1")
    )
    assert other == [*known, "learnt from T2, measured on T1"]


def test_brains_in_another_space_are_refused(clever: Model, tested_store: Store, tmp_path: Path) -> None:
    known = Space(template="T1_brain.nii", template_sha256="0" * 64, extractor="upd-zoo", preparation=1)
    model = replace(clever, config=clever.config.model_copy(update={"space": known}))
    store = Store(tested_store.folder)
    for digest, fits in (("1" * 64, False), ("0" * 64, True)):
        space = known.model_copy(update={"template": "mni.nii.gz", "template_sha256": digest})
        store.facts = store.facts.model_copy(update={"provenance": store.facts.provenance | space.model_dump()})
        if fits:
            evaluate(model, PHANTOM, store, tmp_path / "out")
        else:
            with pytest.raises(UsageError, match=r"knows brains in the space of T1_brain\.nii, not of mni"):
                evaluate(model, PHANTOM, store, tmp_path / "out")
            assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("provenance", [{"scale": "maximum"}, {}])
def test_scans_that_are_scaled_otherwise_are_refused(
    clever: Model, tested_store: Store, tmp_path: Path, provenance: dict[str, str]
) -> None:
    assert clever.config.scale is Scale.ROBUST
    store = Store(tested_store.folder)
    store.facts = store.facts.model_copy(update={"provenance": provenance})
    with pytest.raises(UsageError, match=r"scaled by 'robust', those of phantom-t2/test by .* --protocol sound"):
        evaluate(clever, PHANTOM, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_of_another_side_are_refused_with_what_prepares_the_right_ones(clever: Model, tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", 1, 4, masks=True, anomalous=2, name="phantom-t2/test-192", side=192)
    with pytest.raises(
        UsageError, match=r"takes images of 128 pixels.* have 192.* upd-zoo prepare phantom-t2 --side 128"
    ):
        evaluate(clever, PHANTOM, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_ends_with_every_image(clever: Model, tested_store: Store, tmp_path: Path) -> None:
    told: list[Progress] = []
    evaluate(
        clever,
        PHANTOM,
        tested_store,
        tmp_path / "out",
        gathering=partial(gather, batch_size=5),
        on_progress=told.append,
    )
    assert [(step.done, step.total) for step in told] == [(5, 12), (10, 12), (12, 12)]


@pytest.mark.parametrize(
    ("anomalous", "reason"),
    [
        (0, "AP_i, AUROC, AP_p, best Dice not defined: nothing in these images is anomalous"),
        (6, "AUROC not defined: no image is healthy"),
    ],
)
def test_a_test_of_one_class_says_why_its_numbers_are_not_defined(
    model: Model, tmp_path: Path, anomalous: int, reason: str
) -> None:
    store = write_tiny_store(tmp_path / "store", 1, 6, masks=True, anomalous=anomalous, name="phantom-t2/test")
    evaluation = evaluate(model, PHANTOM, store, tmp_path / "out")
    assert evaluation.result.metrics.auroc is None
    assert why_undefined(evaluation.result.model_dump(mode="json")) == [reason]
    assert evaluation.report.is_file()


def test_a_whole_result_leaves_nothing_to_explain(evaluation: Evaluation) -> None:
    assert why_undefined(evaluation.result.model_dump(mode="json")) == []


def test_an_evaluation_replaces_an_earlier_one_and_all_of_it(
    evaluation: Evaluation, model: Model, tested_store: Store, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    (output / RESULTS / "phantom-t2.json").rename(output / RESULTS / "brats-t2.json")
    with pytest.raises(UsageError, match="add --overwrite"), room(output, overwrite=False):
        pass
    with room(output, overwrite=True):
        evaluate(model, PHANTOM, tested_store, output)
    assert {path.name for path in (output / RESULTS).iterdir()} == {"phantom-t2.json", "phantom-t2.npz"}


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"command": "score"}', None])
def test_what_is_no_evaluation_is_not_replaced(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "notes.txt").touch()
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match="no evaluation that could be replaced"), room(tmp_path, overwrite=True):
        pass


def test_one_evaluation_at_a_time_is_written_to_a_folder(tmp_path: Path) -> None:
    output = tmp_path / "new" / "out"
    with room(output, overwrite=False):
        with pytest.raises(UsageError, match="nother evaluation is being written to"), room(output, overwrite=True):
            pass
        with room(tmp_path / "new" / "other", overwrite=False):
            pass
    with room(output, overwrite=True):
        pass
    assert [*(tmp_path / "new").iterdir()] == []
    output.mkdir()
    (output / ".lock").touch()  # of a process that was killed
    with room(output, overwrite=False):
        pass
    assert output.is_dir()


@pytest.mark.parametrize("kind", ["file", "loop", "dangling"])
def test_an_output_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"
    if kind == "file":
        output.touch()
    else:
        output.symlink_to(output if kind == "loop" else tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no folder"), room(output, overwrite=True):
        pass
