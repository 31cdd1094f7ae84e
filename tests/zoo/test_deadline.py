"""A model that fails, or never comes to an end, is one clear error."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import upd_zoo.runtime.model
from upd_zoo.errors import UpdZooError
from upd_zoo.runtime.deadline import Overdue, within
from upd_zoo.runtime.model import Watched
from upd_zoo.runtime.onnx import onnx_predict

IMAGES = np.zeros((2, 1, 128, 128), np.float32)
ENDLESS = np.iinfo(np.int64).max


def write_graph(path: Path, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> Path:
    """Write a graph from `image` to `anomaly_map` and `score`."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 1, 128, 128])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("anomaly_map", "score")]
    nodes = [*nodes, helper.make_node("Identity", ["anomaly_map"], ["score"])]
    graph = helper.make_graph(nodes, "graph", [image], outputs, constants)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A graph that adds one to its image for longer than anyone waits."""
    step = helper.make_node("Add", ["before", "one"], ["after"])
    keep = helper.make_node("Identity", ["going"], ["still_going"])
    body = helper.make_graph(
        [step, keep],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["b", 1, 128, 128]),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["b", 1, 128, 128]),
        ],
    )
    constants = [
        helper.make_tensor("trips", TensorProto.INT64, [], [ENDLESS]),
        helper.make_tensor("begin", TensorProto.BOOL, [], [True]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    loop = helper.make_node("Loop", ["trips", "begin", "image"], ["anomaly_map"], body=body)
    return write_graph(tmp_path / "endless.onnx", [loop], constants)


def workers() -> int:
    return sum(thread.name == "upd-zoo work" for thread in threading.enumerate())


def test_an_endless_graph_is_an_error_after_the_limit_and_stops(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upd_zoo.runtime.model, "BATCH_SECONDS", 1.0)
    monkeypatch.setattr(upd_zoo.runtime.model, "IMAGE_SECONDS", 0.25)
    predict, began = onnx_predict(endless, "cpu", 1), time.monotonic()
    with pytest.raises(UpdZooError, match="did not come to an end within 1 s on a batch of 2 images"):
        predict(IMAGES)
    assert time.monotonic() - began < 10
    while workers() and time.monotonic() - began < 20:
        time.sleep(0.05)
    assert workers() == 0, "nobody goes on computing"


def test_a_graph_that_fails_is_one_error(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [7])
    node = helper.make_node("Reshape", ["image", "shape"], ["anomaly_map"])
    predict = onnx_predict(write_graph(tmp_path / "failing.onnx", [node], [shape]), "cpu", 1)
    with pytest.raises(UpdZooError, match="The model failed on a batch of 2 images") as caught:
        predict(IMAGES)
    assert "\n" not in str(caught.value)


def test_what_fails_in_another_way_is_a_bug_and_stays_one() -> None:
    def broken(images: object, control: object) -> tuple[np.ndarray, np.ndarray]:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        Watched(broken, (RuntimeError,))(IMAGES)


def test_work_returns_what_it_returns() -> None:
    assert within(60, lambda: 7) == 7


def test_work_that_takes_too_long_is_told() -> None:
    told = threading.Event()
    with pytest.raises(Overdue):
        within(0.05, told.wait, told.set)
    assert told.is_set()


def test_work_that_is_interrupted_is_told_and_waited_for() -> None:
    told, ended = threading.Event(), threading.Event()

    def work() -> None:
        time.sleep(0.3)  # until it is waited for
        os.kill(os.getpid(), signal.SIGINT)
        told.wait(20)
        time.sleep(0.3)  # native code needs a moment to stop
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        within(60, work, told.set)
    assert ended.is_set()


def test_a_program_ends_although_its_work_does_not() -> None:
    """Native code cannot be stopped: an exit waits for no work that is overdue."""
    program = (
        "import time\nfrom upd_zoo.runtime.deadline import within, Overdue\n"
        "try: within(0.1, lambda: time.sleep(600))\nexcept Overdue: raise SystemExit(1)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")
