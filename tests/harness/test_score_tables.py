"""Tables II to V: what is found, how it is judged, what is said of what is missing, and the files."""

import csv
import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake.orders import order_of, put
from fake.program import PROGRAM, Command
from fake.stores import write_tiny_store
from upd_harness.reproduce.estimate import Estimate, Verdict, judge, tolerance
from upd_harness.reproduce.items import reproduce, usual
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.order import Order, stand_ins
from upd_harness.reproduce.page import write_reproduction
from upd_zoo.artefact.records import CONFIG, Metrics
from upd_zoo.errors import NotFoundError
from upd_zoo.vocabulary import TEST_SETS, Protocol

FAE_ON_BRATS_T2 = (0.87, 0.87, 0.51, 0.52)


def metrics(ap_image: float, auroc: float, ap_pixel: float, dice: float, **more: float) -> Metrics:
    return Metrics(ap_image=ap_image, auroc=auroc, ap_pixel=ap_pixel, dice=dice, **more)


def cell(document: dict[str, Any], **wanted: object) -> dict[str, Any]:
    (found,) = (each for each in document["cells"] if wanted.items() <= each.items())
    return dict(found)


# The rule


def test_the_tolerance_is_that_of_its_rule() -> None:
    ours = Estimate.of([0.5, 0.52, 0.54], [(0.4, 0.6)] * 3)
    # By hand: s = 0.02, t = 4.303, n = 3, 1.96 e = 0.1, r = 0.005.
    assert tolerance(ours, 0.5) == pytest.approx(0.005 + ((4.303 * 0.02) ** 2 * (1 / 3 + 1 / 3) + 0.1**2) ** 0.5)
    assert tolerance(ours, 0.004) == pytest.approx(tolerance(ours, 0.5) - 0.0045)  # type: ignore[operator]


def test_one_seed_and_a_missing_interval_judge_nothing() -> None:
    assert judge(Estimate.of([0.9], [(0.8, 1.0)]), 0.1, [0.5]) == (
        Verdict.NOT_JUDGED,
        "one seed does not tell its spread",
    )
    assert judge(Estimate.of([0.9, 0.9], [(0.8, 1.0), None]), 0.1, [0.5])[0] is Verdict.NOT_JUDGED


def test_a_tolerance_that_holds_all_that_was_printed_judges_nothing() -> None:
    ours = Estimate.of([0.6, 0.6], [(0.4, 0.8)] * 2)
    assert tolerance(ours, 0.7) == pytest.approx(0.205)
    assert judge(ours, 0.7, [0.5, 0.7, 0.49])[0] is Verdict.WITHIN
    verdict, reason = judge(ours, 0.7, [0.5, 0.7, 0.85])
    assert (verdict, reason) == (
        Verdict.NOT_JUDGED,
        "its tolerance holds all that was printed of this test set",
    )
    assert judge(ours, 0.9, [0.8, 0.9, 1.0])[0] is Verdict.OUTSIDE


def test_more_seeds_allow_less() -> None:
    few, many = (Estimate.of([0.5, 0.52] * count, [(0.5, 0.5)] * 2 * count) for count in (1, 3))
    assert tolerance(many, 0.5) < tolerance(few, 0.5)  # type: ignore[operator]


# The tables


@pytest.fixture
def study(tmp_path: Path) -> Order:
    """FAE of three seeds on BraTS, as printed but for its AUROC on T2, and VAE of one seed."""
    order = order_of(tmp_path, material=Material.STUDY, seeds=(10, 20, 30), methods=("vae", "fae"))
    for seed, shift in zip(order.seeds, (-0.01, 0.0, 0.01), strict=True):
        ap_image, _, ap_pixel, dice = (value + shift for value in FAE_ON_BRATS_T2)
        put(order, "fae", "brats-t2", seed, metrics(ap_image, 0.6 + shift, ap_pixel, dice, study_dice=0.1))
    put(order, "vae", "brats-t2", 10, metrics(0.68, 0.73, 0.28, 0.33))
    return order


def test_every_cell_has_a_verdict_or_says_why_not(study: Order) -> None:
    result = reproduce("table-ii", study)
    document = result.document
    assert document["banner"] == "THE STUDY'S OWN DATA SETS, BUT MODELS OF THE TINY PROFILE, NOT OF ITS BUDGET"
    assert len(document["cells"]) == 2 * 16
    fae = {"method": "fae", "column": "brats-t2"}
    assert cell(document, **fae, metric="ap_image")["verdict"] == "within"
    outside = cell(document, **fae, metric="auroc")
    assert (outside["verdict"], outside["printed"], outside["ours"], outside["seeds"]) == ("outside", 0.87, 0.6, 3)
    assert abs(outside["ours"] - outside["printed"]) > outside["tolerance"] > 0
    assert cell(document, **fae, metric="dice")["ours"] == pytest.approx(0.52)
    lone = cell(document, method="vae", column="brats-t2", metric="dice")
    assert (lone["verdict"], lone["reason"]) == ("not judged", "one seed does not tell its spread")
    absent = cell(document, method="vae", column="ddr", metric="dice")
    assert absent["verdict"] == "not run"
    assert "vae-ddr@seed-10 is not made" in absent["reason"]
    assert result.outside == 1
    assert "32 figures: 3 within, 1 outside, 24 not run, 4 not judged." in result.told
    assert "Seeds are missing: vae: " in result.told
    assert result.told.count("Not judged: vae: one seed does not tell its spread") == 1


def test_methods_that_lack_a_model_share_a_line(study: Order) -> None:
    told = reproduce("table-ii", replace(study, methods=("vae", "fae", "rd"))).told
    assert told.count("Not run: rd: its model is not made.") == 1
    assert told.count("Not run: vae, fae, rd: its model is not made.") == 3


def test_a_label_of_some_models_names_them_and_one_of_all_stands_alone(study: Order) -> None:
    put(study, "vae", "brats-t2", 20, metrics(0.2, 0.4, 0.01, 0.03), labels=("made", "random backbone"))
    notes = [note for block in reproduce("table-ii", study).blocks for note in block.notes]
    (told,) = (note for note in notes if "anomalous" in note)
    assert told.endswith(" subjects; made; random backbone (vae).")


def test_what_does_not_beat_the_best_trivial_score_is_marked(study: Order) -> None:
    put(study, "vae", "brats-t2", 20, metrics(0.2, 0.4, 0.01, 0.03))
    put(study, "vae", "brats-t2", 30, metrics(0.01, 0.4, 0.01, 0.03))
    result = reproduce("table-ii", study)
    below, above = (cell(result.document, method="vae", column="brats-t2", metric=m) for m in ("ap_image", "auroc"))
    assert (below["ours"], below["trivial"], above["ours"], above["trivial"]) == (0.2967, 0.3, 0.51, 0.5)
    (table,) = (block for block in result.blocks if block.heading == TEST_SETS["brats-t2"].title)
    texts = {str(row[0]): [*map(str, row[1:])] for row in table.rows}
    assert texts["vae"][0].endswith(" †")
    assert not texts["vae"][2].endswith("†")
    assert texts["best trivial"][::2] == ["0.300", "0.500", "0.020", "0.040"]
    assert any(note.startswith("† Not above") for note in table.notes)
    assert "best trivial" in result.told


def test_small_figures_are_shown_finer(study: Order) -> None:
    put(study, "vae", "atlas", 10, metrics(0.2, 0.4, 0.0004, 0.0312))
    (table,) = (block for block in reproduce("table-ii", study).blocks if block.heading == TEST_SETS["atlas"].title)
    (vae,) = ([*map(str, row[1::2])] for row in table.rows if str(row[0]) == "vae")
    assert [text.split(" ")[0] for text in vae] == ["0.200", "0.400", "0.0004", "0.031"]


def test_the_studys_protocol_is_judged_by_its_own_dice(study: Order) -> None:
    order = replace(study, plan=replace(study.plan, protocol=Protocol.STUDY))
    for seed, shift in zip(order.seeds, (-0.01, 0.0, 0.01), strict=True):
        put(order, "fae", "brats-t2", seed, metrics(0.87, 0.87, 0.51, 0.9, study_dice=0.52 + shift))
    found = cell(reproduce("table-ii", order).document, method="fae", column="brats-t2", metric="dice")
    assert (found["ours"], found["verdict"]) == (0.52, "within")


def test_a_model_of_the_other_protocol_is_not_shown(study: Order) -> None:
    order = replace(study, plan=replace(study.plan, protocol=Protocol.STUDY))
    put(order, "vae", "ddr", 10, metrics(0.5, 0.5, 0.5, 0.5))
    found = cell(reproduce("table-ii", order).document, method="fae", column="brats-t2", metric="dice")
    assert found["verdict"] == "not run"
    assert "was made under the protocol sound" in found["reason"]


def test_a_model_whose_files_are_gone_is_named_and_not_shown(study: Order) -> None:
    (artefact,) = (study.plan.out / study.task("vae", "camcan-t2", 10).name).glob("artefact")
    (artefact / CONFIG).unlink()
    found = cell(reproduce("table-ii", study).document, method="vae", column="brats-t2", metric="dice")
    assert found["verdict"] == "not run"
    assert "config.json is missing or damaged" in found["reason"]
    assert "add --train to make it again" in found["reason"]


def test_stand_ins_are_shown_in_capitals_and_judge_nothing(tmp_path: Path) -> None:
    order = order_of(tmp_path, methods=("fae", "h-tae-s"))
    put(order, "fae", "phantom-t2", 0, metrics(0.1, 0.1, 0.1, 0.1))
    result = reproduce("table-ii", order)
    assert result.outside == 0
    found = cell(result.document, method="fae", column="brats-t2", metric="auroc")
    assert (found["test_set"], found["ours"], found["printed"]) == ("phantom-t2", 0.1, 0.87)
    assert (found["verdict"], found["tolerance"]) == ("not judged", None)
    folder = tmp_path / "out"
    paths = write_reproduction(result, folder)
    assert sorted(path.name for path in paths) == [f"table-ii.{kind}" for kind in ("csv", "html", "json", "md", "png")]
    for name in ("table-ii.md", "table-ii.html", "table-ii.json"):
        assert "PHANTOMS, NOT THE STUDY" in (folder / name).read_text(encoding="utf-8").replace("&#39;", "'")
    with (folder / "table-ii.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["material"] for row in rows} == {"phantom"}
    assert len(rows) == len(result.document["cells"])
    assert json.loads((folder / "table-ii.json").read_text()) == result.document
    assert (folder / "table-ii.png").stat().st_size < 200_000
    assert "src=" not in (folder / "table-ii.html").read_text(encoding="utf-8").replace('src="data:', "")


def test_pre_trained_and_plain_models_are_not_mixed_up(tmp_path: Path) -> None:
    order = order_of(tmp_path, methods=("fae", "h-tae-s"))
    put(order, "fae", "phantom-t2", 0, metrics(0.1, 0.1, 0.1, 0.1))
    put(order, "fae", "phantom-fundus", 0, metrics(0.2, 0.2, 0.2, 0.2), ccd=True)
    document = reproduce("table-iv", order).document
    assert cell(document, method="fae", column="brats-t2", metric="dice")["verdict"] == "not run"
    assert cell(document, method="fae", column="ddr", metric="dice")["ours"] == 0.2
    assert (
        cell(document, method="h-tae-s", column="ddr", metric="dice")["reason"] == "the method has no network for CCD"
    )
    assert "N/A" in reproduce("table-iv", order).told


def test_what_nothing_stands_for_is_named(tmp_path: Path) -> None:
    order = order_of(tmp_path, methods=("fae",))
    put(order, "fae", "phantom-cxr", 0, metrics(0.5, 0.6, 0.1, 0.1))
    document = reproduce("table-iii", order).document
    assert cell(document, column="chexpert-effusion", metric="auroc")["ours"] == 0.6
    reason = cell(document, column="chexpert-opacity", metric="auroc")["reason"]
    assert reason == "nothing phantom stands for chexpert-opacity"


def test_without_stores_and_results_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"upd-zoo prepare phantom-t2\W*$"):
        reproduce("table-ii", order_of(tmp_path, methods=("fae",)))
    with pytest.raises(NotFoundError, match=r"upd-zoo prepare brats-t2 --protocol study\W*$"):
        reproduce("table-ii", order_of(tmp_path, Protocol.STUDY, material=Material.STUDY, methods=("fae",)))


def test_the_studys_own_images_are_taken_where_they_stand(tmp_path: Path) -> None:
    assert usual("table-ii", tmp_path, Protocol.SOUND) is Material.PHANTOM
    (tmp_path / "atlas" / "test").mkdir(parents=True)
    assert usual("table-ii", tmp_path, Protocol.SOUND) is Material.STUDY
    assert usual("table-iii", tmp_path, Protocol.SOUND) is Material.PHANTOM


def test_parts_of_the_studys_images_are_told_above_all_else(study: Order) -> None:
    write_tiny_store(study.data / "brats-t2" / "test", 1, 4, name="brats-t2/test")
    assert reproduce("table-ii", study).banner == (
        "THE STUDY'S OWN DATA SETS, BUT MODELS OF THE TINY PROFILE, NOT OF ITS BUDGET, "
        "AND FEWER THAN HALF OF THE IMAGES OF BRATS-T2"
    )


def test_figures_outside_their_tolerance_end_the_command_with_8(study: Order, upd_zoo: Command) -> None:
    plan = study.plan
    options = ("--models", plan.out, "--data", plan.data, "--material", "study", "--method", "fae", "--offline")
    answer = upd_zoo("reproduce", "table-ii", *options, "--profile", "tiny", "--backbone", "resnet18", "--json")
    assert answer.code == 8
    assert answer.json["banner"] in answer.err


def test_a_table_of_nothing_but_printed_figures_is_no_success(tmp_path: Path, upd_zoo: Command) -> None:
    write_tiny_store(tmp_path / "phantom-fundus" / "test", 3, 8, name="phantom-fundus/test", masks=True, anomalous=4)
    answer = upd_zoo("reproduce", "table-ii", "--data", tmp_path, "-o", tmp_path / "out", "--material", "phantom")
    assert answer.code == 3
    assert "nothing of table-ii was measured" in answer.err
    assert "add --train" in (tmp_path / "out" / "table-ii.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_stood(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "validation")):
        store = tmp_path / "data" / "phantom-fundus" / part
        write_tiny_store(store, 3, 12, seed=seed, name=f"phantom-fundus/{part}", subjects=part)
    test = tmp_path / "data" / "phantom-fundus" / "test"
    write_tiny_store(test, 3, 8, 7, masks=True, anomalous=4, name="phantom-fundus/test", subjects="test")
    options = ("--data", tmp_path / "data", "-o", tmp_path / "out", "--profile", "tiny", "--weights", "random")
    words = ("reproduce", "table-ii", *options, "--method", "vae", "--method", "padim", "--train", "--threads", "1")
    command = [str(PROGRAM), *map(str, words)]
    models = tmp_path / "out" / "models" / "sound-tiny"
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as begun:
        while not [*models.glob("*/times.json")]:
            assert begun.poll() is None
            time.sleep(0.05)
        os.killpg(begun.pid, signal.SIGKILL)
    (first,) = models.glob("*/times.json")
    made = first.stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stat().st_mtime_ns == made
    assert done.stdout.startswith("PHANTOMS")
    assert "PHANTOMS" not in done.stderr
    cells = json.loads((tmp_path / "out" / "table-ii.json").read_text())["cells"]
    fundus = [each for each in cells if each["column"] == "ddr"]
    assert len(fundus) == 8
    assert all(each["ours"] is not None and each["verdict"] == "not judged" for each in fundus)
    assert all(each["sampling_error"] is not None for each in fundus)
    brains = {each["reason"] for each in cells if each["column"] != "ddr"}
    assert all("is not made" in reason for reason in brains)


def test_stand_ins_of_one_column_have_baselines_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Order, "tests", lambda order, column: stand_ins(order.material, column))
    order = order_of(tmp_path, material=Material.OPEN, methods=("vae",))
    put(order, "vae", "idrid-lesions", 0, metrics(0.7, 0.6, 0.1, 0.2))
    put(order, "vae", "idrid", 0, Metrics(ap_image=0.9, auroc=0.6, ap_pixel=None, dice=None))
    blocks = {block.heading: block for block in reproduce("table-ii", order).blocks}
    (masks,) = (block for heading, block in blocks.items() if "Part A" in heading)
    (grades,) = (block for heading, block in blocks.items() if "Part B" in heading)
    pixels = [[str(cell) for cell in block.rows[-2]][5::2] for block in (masks, grades)]
    assert pixels[0] != ["-", "-"] == pixels[1]
    (unmeasured,) = (block for heading, block in blocks.items() if heading.startswith("Open MS, T1"))
    assert not unmeasured.rows
    assert any(note.startswith("Not run: vae") for note in unmeasured.notes)
