"""Anybody's graph: what is taken for its map and its score, and what is refused, with what to do."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from fake.graphs import BRIGHT, HIGHEST, keep_weights_in, write_graph
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.runtime.graph import open_graph
from upd_zoo.runtime.model import Array
from upd_zoo.vocabulary import ScoreRule

FLAT = helper.make_node("ReduceMean", ["image", "channel"], ["map"], keepdims=0)
COLUMN = helper.make_node("Flatten", ["score"], ["column"])
SCALAR = helper.make_node("ReduceMax", ["map"], ["alone"], keepdims=0)
TWICE = helper.make_node("Add", ["map", "map"], ["twice"])
MORE = helper.make_node("Add", ["twice", "map"], ["more"])
NAMED = helper.make_node("Add", ["map", "map"], ["anomaly_map"])
NOT_A_NUMBER = helper.make_node("Div", ["twice", "none"], ["infinite"])
OWN = helper.make_node("Foo", ["image"], ["map"], domain="own")


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(0).random((5, 1, 128, 128), np.float32)


@pytest.mark.parametrize(
    ("nodes", "outputs", "shape", "names"),
    [
        ((BRIGHT, HIGHEST), ("map", "score"), ("b", 1, 128, 128), ("map", "score")),
        ((BRIGHT, HIGHEST), ("score", "map"), (1, 1, 128, 128), ("map", "score")),
        ((BRIGHT, HIGHEST), ("score", "map"), (3, "c", "h", "w"), ("map", "score")),
        ((FLAT, SCALAR), ("map", "alone"), (1, 1, 128, 128), ("map", "alone")),
        ((BRIGHT, HIGHEST, COLUMN), ("column", "map"), ("b", 1, 128, 128), ("map", "column")),
    ],
)
def test_map_and_score_are_found_whatever_their_order_shape_and_batch(
    tmp_path: Path,
    images: Array,
    nodes: tuple[helper.NodeProto, ...],
    outputs: tuple[str, ...],
    shape: tuple[int | str, ...],
    names: tuple[str, str],
) -> None:
    bound = open_graph(write_graph(tmp_path / "any.onnx", nodes, outputs, shape), "cpu", 1).bound(
        1, 128, ScoreRule.MEAN
    )
    assert (bound.map_name, bound.score_name) == names
    maps, scores = bound.network(images)
    np.testing.assert_array_equal(maps, images)
    np.testing.assert_array_equal(scores, images.max(axis=(1, 2, 3)))


@pytest.mark.parametrize("rule", ScoreRule)
def test_a_map_alone_is_scored_by_a_rule(tmp_path: Path, images: Array, rule: ScoreRule) -> None:
    graph = open_graph(write_graph(tmp_path / "map.onnx", [BRIGHT], ["map"]), "cpu", 1)
    bound = graph.bound(1, 128, rule)
    expected = images.max(axis=(1, 2, 3)) if rule is ScoreRule.MAXIMUM else images.mean(axis=(1, 2, 3))
    assert bound.score_name is None
    np.testing.assert_array_equal(bound.network(images)[1], expected)


def test_of_several_outputs_the_known_name_is_the_map(tmp_path: Path, images: Array) -> None:
    graph = open_graph(write_graph(tmp_path / "two.onnx", [BRIGHT, NAMED], ["map", "anomaly_map"]), "cpu", 1)
    np.testing.assert_array_equal(graph.bound(1, 128, ScoreRule.MEAN).network(images)[0], 2 * images)


@pytest.mark.parametrize(
    ("nodes", "outputs", "shape", "message"),
    [
        ((BRIGHT, HIGHEST), ("map",), None, "takes 'image' .*, 'other' .*Accepted: one input of images"),
        ((BRIGHT,), ("map",), ("b", 128, 128, 1), r"\['b', 128, 128, 1\].*channels before a square of pixels"),
        ((BRIGHT,), ("map",), ("b", 3, 128, 128), "3 channels and 128 x 128 pixels, those of the test set have 1 ch"),
        ((BRIGHT,), ("map",), ("b", 1, 192, 192), "192 x 192 pixels, those of the test set have .* 128 x 128"),
        ((BRIGHT, HIGHEST), ("score",), ("b", 1, 128, 128), r"gives no map: its outputs are 'score' \(1,\)"),
        ((BRIGHT, TWICE, MORE), ("twice", "more"), ("b", 1, 128, 128), "more than one .* the map.* call the outputs"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_to_do(
    tmp_path: Path,
    nodes: tuple[helper.NodeProto, ...],
    outputs: tuple[str, ...],
    shape: tuple[int | str, ...] | None,
    message: str,
) -> None:
    path = write_graph(tmp_path / "odd.onnx", nodes, outputs, shape)
    with pytest.raises(UsageError, match=message):
        open_graph(path, "cpu", 1).bound(1, 128, ScoreRule.MAXIMUM)


def test_numbers_that_are_none_are_refused(tmp_path: Path, images: Array) -> None:
    graph = open_graph(write_graph(tmp_path / "nan.onnx", [BRIGHT, TWICE, NOT_A_NUMBER], ["infinite"]), "cpu", 1)
    network = graph.bound(1, 128, ScoreRule.MAXIMUM).network
    with pytest.raises(UpdZooError, match=r"gives NaN or infinity for 5 of 5 images\. Accepted: finite"):
        network(images)


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_in_other_files_are_refused_wherever_they_lie(tmp_path: Path, place: str) -> None:
    path = write_graph(tmp_path / "deep" / "model.onnx", [BRIGHT], ["map"])
    for folder in (path.parent, tmp_path):
        (folder / "weights.bin").write_bytes(np.array([1]).tobytes())
    keep_weights_in(path, place)
    with pytest.raises(IntegrityError, match=r"model\.onnx keeps weights in other files.*onnx\.save\(") as refused:
        open_graph(path, "cpu", 1)
    assert str(tmp_path) not in str(refused.value)


def test_what_is_no_graph_or_one_of_other_operators_is_refused(tmp_path: Path) -> None:
    own, text = write_graph(tmp_path / "own.onnx", [OWN], ["map"]), tmp_path / "text.onnx"
    text.write_text("no graph")
    with pytest.raises(IntegrityError, match=r"own\.onnx has an operator of its own"):
        open_graph(own, "cpu", 1)
    with pytest.raises(IntegrityError, match=r"cannot load text\.onnx.*torch\.onnx\.export"):
        open_graph(text, "cpu", 1)
    with pytest.raises(NotFoundError, match="Accepted: an ONNX graph"):
        open_graph(tmp_path / "none.onnx", "cpu", 1)
