"""What a graph tells of itself: read back by the library that knows the format, replaced, to no graph's harm."""

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from upd_zoo.artefact.graph_facts import PREFIX, describe
from upd_zoo.errors import IntegrityError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def write_graph(path: Path, **properties: str) -> onnx.ModelProto:
    """Write a graph that hands its input on, with metadata of its own."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "map")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["map"])], "graph", ends[:1], ends[1:])
    model = helper.make_model(graph)
    helper.set_model_props(model, properties)
    path.write_bytes(model.SerializeToString())
    return model


def metadata(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


@given(st.dictionaries(TEXTS.map(lambda name: PREFIX + name), TEXTS), st.dictionaries(TEXTS, TEXTS, max_size=2))
def test_facts_are_read_back_and_replaced(
    tmp_path_factory: pytest.TempPathFactory, facts: dict[str, str], own: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    others = {name: value for name, value in own.items() if not name.startswith(PREFIX)}
    before = write_graph(path, **others)
    size = path.stat().st_size
    describe(path, {PREFIX + "threshold": "0.5"})
    describe(path, facts)
    assert metadata(path) == facts | others
    assert onnx.load(path).graph == before.graph
    describe(path, {})
    assert path.stat().st_size == size


@pytest.mark.parametrize("content", [b"graph", b"\xff" * 20, b"\x72\x7f", b"\x00\x00"], ids=repr)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="is no ONNX graph"):
        describe(path, {PREFIX + "id": "x"})
    assert path.read_bytes() == content
