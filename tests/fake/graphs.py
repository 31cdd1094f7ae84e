"""Graphs that anybody might bring: how bright the pixels are, under any names and in any shapes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx.numpy_helper import from_array

Size = int | str
IMAGES: tuple[Size, ...] = ("b", 1, 128, 128)
FLOAT = onnx.TensorProto.FLOAT
BRIGHT = helper.make_node("ReduceMean", ["image", "channel"], ["map"], keepdims=1)
"""(B, C, H, W) to (B, 1, H, W)."""
HIGHEST = helper.make_node("ReduceMax", ["map", "pixels"], ["score"], keepdims=0)
"""(B, 1, H, W) to (B,)."""
CONSTANTS = {
    "channel": np.array([1]),
    "pixels": np.array([1, 2, 3]),
    "one": np.ones((1, 1, 1, 1), np.float32),
    "none": np.zeros((1, 1, 1, 1), np.float32),
}


def write_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto] = (BRIGHT, HIGHEST),
    outputs: Sequence[str] = ("map", "score"),
    images: Sequence[Size] | None = IMAGES,
) -> Path:
    """Write a graph of some nodes.

    Args:
        path: The file.
        nodes: In order; they may use `image`, the names of `CONSTANTS`, and each other's outputs.
        outputs: Names of those that the graph gives.
        images: Shape of the input, names standing for any size; None where the graph takes two.
    """
    used = {name for node in nodes for name in node.input}
    shapes = {"image": images} if images is not None else {"image": IMAGES, "other": IMAGES}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [from_array(value, name) for name, value in CONSTANTS.items() if name in used],
    )
    opsets = [helper.make_opsetid(domain, 18 if not domain else 1) for domain in {node.domain for node in nodes}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return path


def keep_weights_in(path: Path, place: str) -> None:
    """Let a graph look for one of its constants in another file, relative to its own folder."""
    model = onnx.load(path)
    constant = model.graph.initializer[0]
    constant.ClearField("raw_data")
    constant.data_location = onnx.TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=place)
    path.write_bytes(model.SerializeToString())
