"""What a grid is made of, and its tables from made results: none of it needs torch."""

import json
from pathlib import Path

import pytest

from fake.artefact import write_artefact
from fake.grid import no_network, quick, result
from fake.program import Command
from upd_harness.engines.local import LocalEngine
from upd_harness.grid.identity import described
from upd_harness.grid.outcomes import carry_out
from upd_harness.grid.plan import PHANTOMS, Choice, Plan, Start, Task, tasks_of
from upd_harness.grid.results import result_path, results_of, spread
from upd_harness.grid.table import as_document, as_markdown
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import ONNX
from upd_zoo.errors import UpdZooError
from upd_zoo.roster import known_methods
from upd_zoo.vocabulary import Protocol


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(tmp_path / "grid", tmp_path / "data", "tiny", Protocol.SOUND, "/home/me/weights.safetensors", None, 1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that end at once."""
    monkeypatch.setattr("upd_harness.grid.outcomes.make", quick)


# The plan


def test_there_is_a_task_for_every_method_domain_start_and_seed() -> None:
    choice = Choice(("vae", "rd"), ("phantom-t2", "idrid"), (Start.RANDOM, Start.CCD), (0, 1), "mobilenetv2_100")
    tasks = tasks_of(choice)
    assert len(tasks) == len(set(tasks)) == 16
    assert [task.name for task in tasks[:6]] == [
        "vae-phantom-t2+random@seed-0",
        "vae-phantom-t2+random@seed-1",
        "vae-phantom-t2-ccd@seed-0",
        "vae-phantom-t2-ccd@seed-1",
        "rd.mobilenetv2_100-phantom-t2+random@seed-0",
        "rd.mobilenetv2_100-phantom-t2+random@seed-1",
    ]


def test_shares_of_the_training_set_are_tasks_and_rows_of_their_own() -> None:
    tasks = tasks_of(Choice(("vae",), ("phantom-t2",), (Start.CCD, Start.RANDOM), fractions=(0, 0.25, 1)))
    assert [task.name for task in tasks] == [
        "vae-phantom-t2-ccd+fraction-0@seed-0",
        "vae-phantom-t2-ccd+fraction-0.25@seed-0",
        "vae-phantom-t2-ccd@seed-0",
        "vae-phantom-t2+random+fraction-0@seed-0",
        "vae-phantom-t2+random+fraction-0.25@seed-0",
        "vae-phantom-t2+random@seed-0",
    ]


def test_a_grid_of_nothing_in_particular_is_every_method_on_every_phantom() -> None:
    tasks = tasks_of(Choice())
    assert [task.model for task in tasks] == [f"{method}-{domain}" for domain in PHANTOMS for method in known_methods()]
    assert {(task.seed, task.start) for task in tasks} == {(0, None)}


def test_what_is_asked_for_twice_is_made_once() -> None:
    assert tasks_of(Choice(("vae", "vae"), ("phantom-t2",), seeds=(1, 1))) == [Task("vae-phantom-t2", 1)]


@pytest.mark.parametrize(("method", "domain"), [("vea", "phantom-t2"), ("vae", "phantom-t3")])
def test_a_name_that_nobody_knows_stops_the_plan(method: str, domain: str) -> None:
    with pytest.raises(UpdZooError, match=r"called .*Did you mean"):
        tasks_of(Choice((method,), (domain,)))


def test_a_task_is_tested_on_all_test_sets_of_its_domain() -> None:
    assert {test_set.domain for test_set in Task("vae-camcan-t1", 0).tests()} == {"camcan-t1"}
    assert {"atlas", "brats-t1"} <= {test_set.id for test_set in Task("vae-camcan-t1", 0).tests()}


def test_a_dry_run_prints_the_tasks_and_makes_nothing(upd_zoo: Command, tmp_path: Path) -> None:
    finished = tmp_path / "grid" / "vae-phantom-t2@seed-1"
    finished.mkdir(parents=True)
    (finished / "times.json").write_text("{}")
    write_artefact(finished / "artefact", name="vae-phantom-t2")
    options = ("--method", "vae", "--domain", "phantom-t2", "--seed", "0", "--seed", "1")
    answer = upd_zoo("grid", tmp_path / "grid", *options, "--dry-run")
    assert answer.code == 0
    assert [(task["model"], task["seed"], task["finished"]) for task in json.loads(answer.out)] == [
        ("vae-phantom-t2", 0, False),
        ("vae-phantom-t2", 1, True),
    ]
    assert json.loads(answer.out)[1]["folder"] == str(finished)
    assert [path.name for path in (tmp_path / "grid").iterdir()] == [finished.name]


# Carrying out


def test_a_failure_or_a_killed_process_stops_no_other_task(stand_in: None, plan: Plan) -> None:
    tasks = [Task("vae-phantom-t2", seed) for seed in (2, 1, 0, 4)]
    outcomes = list(carry_out(tasks, plan, LocalEngine(2)))
    assert [(outcome.done, outcome.total) for outcome in outcomes] == [(number, 4) for number in (1, 2, 3, 4)]
    errors = {outcome.task.seed: outcome.error for outcome in outcomes}
    assert errors[0] == errors[4] == ""
    assert errors[1].startswith("There is no store.")
    assert "killed" in errors[2]
    assert [outcome.seconds for outcome in outcomes if not outcome.error] == [{"train": 1.5}] * 2


def test_models_whose_pre_training_fails_say_why_and_are_not_begun(
    stand_in: None, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upd_harness.grid.outcomes.pretrain_for", no_network)
    tasks = [*tasks_of(Choice(("vae", "r-vae"), ("phantom-t2",), (Start.CCD,))), Task("vae-phantom-t2", 0)]
    errors = {outcome.task: outcome.error for outcome in carry_out(tasks, plan, LocalEngine())}
    assert [errors[task] for task in tasks] == [*["its pre-training failed. There is no network."] * 2, ""]


def test_a_fault_of_the_program_is_no_outcome(stand_in: None, plan: Plan) -> None:
    with pytest.raises(AssertionError, match="a fault"):
        list(carry_out([Task("vae-phantom-t2", 3)], plan, LocalEngine()))


def test_models_that_fail_are_named_at_the_end(stand_in: None, upd_zoo: Command, tmp_path: Path) -> None:
    options = ("--method", "vae", "--domain", "phantom-t2", "--seed", "0", "--seed", "1", "--jobs", "2")
    answer = upd_zoo("grid", tmp_path / "grid", *options)
    assert answer.code == 3
    assert "vae-phantom-t2@seed-0: train 1.5 s" in answer.err
    end = answer.err[answer.err.index("these failed:") :].splitlines()
    assert end[1].startswith("  vae-phantom-t2@seed-1: There is no store.")
    assert len(end) == 2
    assert json.loads((tmp_path / "grid" / "table.json").read_text())["results"] == []


# Tables


def test_results_are_found_by_test_set_and_row(plan: Plan) -> None:
    tasks = tasks_of(Choice(("vae", "rd"), ("phantom-t2",), seeds=(0, 1)))
    for task, auroc in zip(tasks[:3], (0.5, 0.75, 1.0), strict=True):
        write_record(result_path(task, plan.out, "phantom-t2"), result(task.seed, auroc, model=task.model))
    found = results_of(tasks, plan.out)
    assert {row: [each.metrics.auroc for each in results] for row, results in found["phantom-t2"].items()} == {
        "vae-phantom-t2": [0.5, 0.75],
        "rd-phantom-t2": [1.0],
    }


def test_spread_is_mean_and_standard_deviation_of_what_is_defined() -> None:
    metrics = [result(seed, auroc).metrics for seed, auroc in enumerate((0.5, 0.75, None, 1.0))]
    assert spread(metrics, "auroc") == (0.75, 0.25)
    assert spread(metrics[:1], "auroc") == (0.5, None)
    assert spread(metrics[2:3], "auroc") == (None, None)


def test_a_table_has_a_row_for_each_model_and_each_baseline(plan: Plan) -> None:
    found = {
        "phantom-t2": {
            "vae-phantom-t2": [result(0, 0.5), result(1, 0.75)],
            "rd-phantom-t2+random": [result(0, None, labels=("random backbone",))],
        }
    }
    assert as_markdown(found, plan).splitlines() == [
        "# Comparison",
        "",
        "Profile `tiny`, protocol `sound`.",
        "",
        "Networks start from ImageNet weights; `+random`: from drawn ones; `-ccd`: from CCD.",
        "",
        "## Synthetic brains with tumours, T2",
        "",
        "synthetic phantoms. 8 images, 3 anomalous, of 4 subjects; seeds 0, 1; mean ± standard deviation.",
        "",
        "| model | AP_i | AUROC | AP_p | best Dice |",
        "|---|---|---|---|---|",
        "| `vae-phantom-t2` | 0.500 ± 0.000 | 0.625 ± 0.177 | 0.500 ± 0.000 | 0.500 ± 0.000 |",
        "| `rd-phantom-t2+random` (random backbone) | 0.500 | n/a | 0.500 | 0.500 |",
        "| random | 0.375 | 0.500 | n/a | n/a |",
        "",
        "![phantom-t2](phantom-t2.png)",
    ]
    assert "phantom-t2.png" not in as_markdown(found, plan, pictures=False)


def test_the_document_holds_every_result_and_no_path_of_the_machine(plan: Plan) -> None:
    document = as_document({"phantom-t2": {"vae-phantom-t2": [result(0, 0.5), result(1, 0.75)]}}, plan)
    assert [row["metrics"]["auroc"] for row in document["results"]] == [0.5, 0.75]
    assert document["plan"]["weights"] == "weights.safetensors"
    assert "/" not in json.dumps(document["plan"])


def test_a_task_says_whether_it_is_finished(plan: Plan) -> None:
    done, open_ = Task("vae-phantom-t2", 0), Task("vae-phantom-t2", 1, Start.RANDOM)
    (plan.out / done.name).mkdir(parents=True)
    (plan.out / done.name / "times.json").write_text("{}")
    artefact = write_artefact(plan.out / done.name / "artefact", name=done.model)
    assert [(task["start"], task["finished"]) for task in described([done, open_], plan)] == [
        (None, True),
        ("random", False),
    ]
    (artefact / ONNX).unlink()
    assert not any(task["finished"] for task in described([done, open_], plan))
