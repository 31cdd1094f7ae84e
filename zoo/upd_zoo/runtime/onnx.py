"""ONNX Runtime, the default: it needs no torch.

A graph may not name files of this machine as its weights: ONNX Runtime is told to look for them below the graph's own
file, where nothing can lie.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

from upd_zoo.errors import IntegrityError, UsageError
from upd_zoo.runtime.devices import onnx_errors
from upd_zoo.runtime.model import Array, Predict, Watched


def onnx_predict(path: Path, device: str, threads: int | None) -> Predict:
    """Return an ONNX file as a function of arrays.

    Args:
        path: The file; nothing but it is read.
        device: `cpu` or `cuda:N`.
        threads: CPU threads; None for one per core.

    Raises:
        IntegrityError: ONNX Runtime cannot load it.
        UsageError: ONNX Runtime cannot use the device.
    """
    session = open_session(path.read_bytes(), path, device, threads)

    def run(images: Array, control: Any) -> tuple[Array, Array]:
        anomaly_map, score = session.run(["anomaly_map", "score"], {"image": images}, control)
        return anomaly_map, score

    return Watched(run, onnx_errors(), run_options)


def open_session(content: bytes, path: Path, device: str, threads: int | None) -> Any:
    """Return a session of ONNX Runtime on the bytes of a file.

    Args:
        content: The bytes.
        path: The file that they are of.
        device: `cpu` or `cuda:N`.
        threads: CPU threads; None for one per core.

    Raises:
        IntegrityError: ONNX Runtime cannot load it.
        UsageError: ONNX Runtime cannot use the device.
    """
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        with contextlib.redirect_stdout(io.StringIO()):  # which is for data
            ort.preload_dlls()
        # TF32 would move maps by more than the stated tolerance.
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.split(":")[1]), "use_tf32": 0}))
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    except onnx_errors() as error:
        raise IntegrityError(f"ONNX Runtime cannot load {path.name}: {error}", "a self-contained ONNX graph") from error
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UsageError(
            f"ONNX Runtime cannot use {device}", "a CUDA and cuDNN that it finds", "use -d cpu, or --backend torch"
        )
    return session


def run_options() -> Any:
    """Return the control of one run, by which it is told to stop."""
    import onnxruntime as ort

    return ort.RunOptions()
