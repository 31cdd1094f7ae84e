"""The gauntlet of formats: every method is one self-contained graph in each, and all say the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from contract.kinds import EXPORTED
from fake.stores import draw_image
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Parity
from upd_zoo.detector import Detector
from upd_zoo.export.formats import write_onnx, write_safetensors, write_torchscript
from upd_zoo.runtime.eager import as_predict, load_detector, load_script
from upd_zoo.runtime.model import Array, Predict
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.runtime.parity import compare

BATCHES = (1, 3)
BLANK = 4


def images_of(channels: int) -> Array:
    """Return healthy images, one of them blank."""
    generator = np.random.default_rng(11)
    images = np.stack([draw_image(channels, generator) for _ in range(6)])
    images[BLANK] = 0
    return images


@pytest.fixture(scope="session", params=[pytest.param(each.values, marks=each.marks, id=each.id) for each in EXPORTED])
def exported(
    request: pytest.FixtureRequest, fitted: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Predict, dict[str, Predict], Path, int]:
    """The eager model, each format as read back from its file, the folder of files, and the number of channels."""
    name, domain = request.param
    model, folder = fitted(name, domain), tmp_path_factory.mktemp(name)
    config, channels = model.config, model.config.input.channels
    detector = Detector.from_config(config, model.method)
    write_record(folder / CONFIG, config)
    write_safetensors(detector, folder / WEIGHTS)
    write_torchscript(detector, folder / "model.ts", channels, 128)
    write_onnx(detector, folder / "model.onnx", channels, 128)
    formats = {
        "safetensors": as_predict(load_detector(folder)),
        "torchscript": as_predict(load_script(folder / "model.ts")),
        "onnx": onnx_predict(folder / "model.onnx", "cpu", 1),
    }
    return as_predict(detector), formats, folder, channels


def test_every_format_agrees_with_the_eager_model(exported: Any) -> None:
    eager, formats, _, channels = exported
    images = images_of(channels)
    rows: list[Parity] = compare(eager, formats, images, BATCHES)
    assert {(row.format, row.batch) for row in rows} == {(name, batch) for name in formats for batch in BATCHES}
    for row in rows:
        assert row.map_range > 0
        assert row.passed, row
    # A blank image's map is one value, to which rounding adds what has ranks and means nothing.
    for row in compare(eager, formats, np.delete(images, BLANK, axis=0), (max(BATCHES),)):
        assert row.rank_correlation >= 0.999, row


def test_the_onnx_file_stands_alone(exported: Any) -> None:
    _, _, folder, _ = exported
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    assert {opset.domain for opset in graph.opset_import} == {""}
    assert not graph.functions
    assert not [tensor.name for tensor in graph.graph.initializer if tensor.external_data]
    assert [path.name for path in folder.glob("*.onnx*")] == ["model.onnx"]


def test_a_blank_image_has_a_finite_map_in_every_format(exported: Any) -> None:
    _, formats, _, channels = exported
    for predict in formats.values():
        assert all(np.isfinite(answer).all() for answer in predict(np.zeros((1, channels, 128, 128), np.float32)))


def test_the_torchscript_file_needs_no_gradients(exported: Any) -> None:
    _, _, folder, channels = exported
    with torch.inference_mode():
        anomaly_map, _ = load_script(folder / "model.ts")(torch.from_numpy(images_of(channels)))
    assert not anomaly_map.requires_grad
