"""The three formats of a model; the only functions that know how one is written."""

import io
import logging
from pathlib import Path
from typing import Any

import onnx
import torch

from upd_zoo.detector import Detector
from upd_zoo.files import replacing, write_bytes
from upd_zoo.runtime.eager import known_deprecation
from upd_zoo.runtime.tensors import write_tensors

OPSET = 18


def write_safetensors(detector: Detector, path: Path) -> None:
    """Write every parameter and buffer of the detector's method."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.method.state_dict().items()}
    write_tensors(path, tensors, {"format": "pt"})


def write_torchscript(detector: Detector, path: Path, channels: int, side: int) -> None:
    """Write the detector's graph for libtorch, for any batch size."""
    with known_deprecation(), torch.inference_mode():
        script = torch.jit.trace(detector, (_example(channels, side),), check_trace=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()  # libtorch ends the process where it cannot write to a file
        torch.jit.save(script, buffer)
    write_bytes(path, buffer.getbuffer())


def write_onnx(detector: Detector, path: Path, channels: int, side: int) -> None:
    """Write the detector's graph as one ONNX file, `image` -> `anomaly_map`, `score`, for any batch size."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        detector,
        (_example(channels, side),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["image"],
        output_names=["anomaly_map", "score"],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None, "the exporter returns a program when it writes no file"  # noqa: S101 - for the types
    _forget_where_it_was_made(program.model)
    with replacing(path) as temporary:
        program.save(str(temporary), external_data=False)
        onnx.checker.check_model(str(temporary))


def _forget_where_it_was_made(model: Any) -> None:
    """Remove the exporter's notes from a graph: they hold stack traces with the paths of this machine."""
    model.metadata_props.clear()
    for graph in model.graphs():
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()


def _example(channels: int, side: int) -> torch.Tensor:
    """Return two images: with one, a graph would be specialised to a batch of one."""
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))
