"""Anybody's graph on a test set: what a model gets, but for what needs thresholds; and what to type where it fails."""

import hashlib
import json
from pathlib import Path

import pytest

from fake.graphs import BRIGHT, write_graph
from fake.program import Command
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import ONNX, Result

JSON = "results/phantom-t2.json"


@pytest.mark.parametrize("more", [[], pytest.param(["--shards", "2", "--jobs", "1"], marks=pytest.mark.slow)])
def test_the_graph_of_a_model_gets_the_figures_of_the_model(
    upd_zoo: Command, artefact: Path, tmp_path: Path, more: list[str]
) -> None:
    given = ("--test-set", "phantom-t2", "--threads", "1")
    assert upd_zoo("evaluate", "-m", artefact, *given, "-o", "model").code == 0
    answer = upd_zoo("evaluate", "-m", artefact / ONNX, *given, *more, "-o", "graph")
    assert (answer.code, "graph of a file: model.onnx" in answer.out) == (0, True), answer
    model, graph = (read_record(tmp_path / name / JSON, Result) for name in ("model", "graph"))
    alike = {"metrics", "intervals", "baselines", "strata", "probes", "images", "anomalous", "subjects", "store"}
    assert graph.model_dump(include=alike) == model.model_dump(include=alike)
    assert graph.subject_level is None
    assert (graph.model, graph.revision) == ("model.onnx", "local")
    assert graph.manifest == hashlib.sha256((artefact / ONNX).read_bytes()).hexdigest()
    page = (tmp_path / "graph" / "report.html").read_text(encoding="utf-8")
    assert "Nobody says from which score on a subject is diseased" in page
    assert "Seed of the training" not in page
    # No healthy brains lie beside these.
    assert graph.left_out["gaussian"].startswith("the store phantom-t2/train is not prepared")
    for told in (" ".join(answer.out.split()), page):
        assert graph.left_out["gaussian"] in told
    assert json.loads((tmp_path / "graph" / "run.json").read_text())["model"]["sha256"] == graph.manifest


@pytest.mark.parametrize(
    ("asked", "rule"), [(["--score", "mean"], "mean"), pytest.param([], "maximum", marks=pytest.mark.slow)]
)
def test_a_map_alone_is_scored_as_asked_or_as_the_study_does(
    upd_zoo: Command, tmp_path: Path, asked: list[str], rule: str
) -> None:
    write_graph(tmp_path / "Map.ONNX", [BRIGHT], ["map"], ("b", 1, "h", "w"))
    answer = upd_zoo("evaluate", "-m", "Map.ONNX", "--test-set", "phantom-t2", *asked, "-o", "out", "--json")
    assert f"image score: {rule} of the map" in answer.json["labels"]
    # Bright pixels are its map too, and the baseline's score obeys the same rule.
    assert answer.json["metrics"]["auroc"] == answer.json["baselines"]["intensity"]["auroc"]


@pytest.mark.parametrize(
    ("side", "options", "code", "told"),
    [
        (128, [], 2, "The file any.onnx names no test set."),
        (256, ["--test-set", "phantom-t2"], 4, "Do this: upd-zoo prepare phantom-t2 --side 256."),
        (224, ["--test-set", "phantom-t2"], 2, "any.onnx takes images of 224 x 224 pixels, which no store has."),
        (128, ["--test-set", "phantom-t2", "--score", "mean"], 2, "Do this: leave --score out."),
        (128, ["--test-set", "phantom-t2", "--side", "100"], 2, "No model takes images of 100 x 100 pixels."),
        (128, ["--test-set", "phantom-t2", "--backend", "torch"], 2, "--backend says nothing of a graph of a file."),
        (128, ["--test-set", "phantom-t2", "--revision", "a"], 2, "--revision says nothing of a graph of a file."),
    ],
)
def test_what_cannot_be_measured_says_what_to_type(
    upd_zoo: Command, tmp_path: Path, side: int, options: list[str], code: int, told: str
) -> None:
    write_graph(tmp_path / "any.onnx", images=("b", 1, side, side))
    answer = upd_zoo("evaluate", "-m", "any.onnx", *options, "-o", "out")
    assert answer.is_one_error(code), answer
    assert told in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--score", "--side"])
def test_a_model_is_asked_for_neither_score_nor_side(upd_zoo: Command, option: str) -> None:
    value = {"--score": "mean", "--side": "128"}[option]
    answer = upd_zoo("evaluate", "-m", "vae-phantom-t2", option, value, "-o", "out")
    assert f"{option} says nothing of a model, which has its own." in answer.err
    assert answer.is_one_error(2)
