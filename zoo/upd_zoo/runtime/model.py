"""Running a model: ONNX Runtime, TorchScript or eager torch behind one callable, images -> (maps, scores).

ONNX Runtime is the default and needs no torch. A graph may not name files of this machine as its weights: ONNX Runtime
is told to look for them below the graph's own file, where nothing can lie.
"""

import contextlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.integrity import verify
from upd_zoo.artefact.records import (
    CALIBRATION,
    CONFIG,
    MANIFEST,
    ONNX,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    PixelConvention,
    read_record,
)
from upd_zoo.errors import IntegrityError, MissingExtraError, UpdZooError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.runtime.deadline import Overdue, within
from upd_zoo.runtime.devices import onnx_errors, resolve_device, why_no_onnx

Array = npt.NDArray[np.float32]
Predict = Callable[[Array], tuple[Array, Array]]

FILES: Final = {"onnx": (ONNX,), "torchscript": (TORCHSCRIPT,), "torch": (WEIGHTS,)}
"""What each backend needs of an artefact, besides its records."""
RECORDS: Final = (CONFIG, CALIBRATION)
PRECISIONS: Final = ("float32", "bfloat16")
"""In which numbers networks compute. Maps are always put together in float32, the promised precision."""
BATCH_SECONDS: Final = 600.0
IMAGE_SECONDS: Final = 60.0
"""How long a graph may take for one batch of images: the longer of the one, and of the other for each image.

The slowest method, CutPaste, took 50 s for 16 images on two cores that other programs kept busy.
"""


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to run; call it with (B, C, 128, 128) float32 in [0, 1].

    Attributes:
        config: What it is.
        calibration: What healthy images score.
        manifest_sha256: Hash of its manifest, which names every byte of it.
        backend: `onnx`, `torchscript` or `torch`.
        device: `cpu` or `cuda:N`.
        precision: `float32` or `bfloat16`.
        predict: Images to maps (B, 1, 128, 128) and scores (B,), both float32, higher is more anomalous.
        device_note: Why it runs on the CPU although there is a CUDA device; mostly empty.
    """

    config: Config
    calibration: Calibration
    manifest_sha256: str
    backend: str
    device: str
    precision: str
    predict: Predict
    device_note: str = ""

    def __call__(self, images: Array) -> tuple[Array, Array]:
        """Return maps (B, 1, 128, 128) and scores (B,) of images (B, C, 128, 128); of no images, none.

        Raises:
            UsageError: The images have another shape or type, are not finite, or lie outside [0, 1].
        """
        check_images(images, self.config.input)
        if not len(images):
            return np.empty((0, 1, *images.shape[2:]), np.float32), np.empty(0, np.float32)
        return self.predict(images)


_ROUNDING: Final = 1e-3
"""How far beyond [0, 1] pixels may lie: resizing in float32 overshoots by less, a wrong scale by more."""


def check_images(images: Array, convention: PixelConvention) -> None:
    """Refuse what no backend takes, the same for all of them.

    Args:
        images: What was given for images.
        convention: What the model takes.

    Raises:
        UsageError: It is something else.
    """
    shape = (convention.channels, convention.height, convention.width)
    if not isinstance(images, np.ndarray) or images.ndim != 4 or images.shape[1:] != shape:
        given = f"an array of shape {images.shape}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        accepted = f"a NumPy array of shape (B, {', '.join(map(str, shape))})"
        raise UsageError(f"{given} was given for images", accepted, "add the axis of the batch with images[None]")
    if images.dtype != np.float32:
        raise UsageError(f"images of type {images.dtype} were given", "float32", _IN_RANGE)
    if not len(images):
        return
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise UsageError(
            "the images hold values that are not finite", "numbers in [0, 1]", "set them to the background"
        )
    if low < convention.minimum - _ROUNDING or high > convention.maximum + _ROUNDING:
        raise UsageError(f"the images lie in [{low:g}, {high:g}]", "[0, 1]", _IN_RANGE)


_IN_RANGE: Final = "divide whole numbers by the largest of their type, 255 or 65535, in float32"


def load_folder(
    folder: Path,
    backend: str = "onnx",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
) -> Model:
    """Return the model in an artefact's folder, after checking every file it uses against the manifest.

    Args:
        folder: The artefact.
        backend: `onnx`, `torchscript` or `torch`.
        device: `auto` (CUDA where it can be used), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for one per core.
        precision: `float32`, or `bfloat16` for a faster and coarser network, through `torch` only.

    Raises:
        IntegrityError: A file is missing or changed, or cannot be run.
        UsageError: There is no such backend, device or precision, or not with this backend.
        MissingExtraError: The backend needs torch, which is not installed.
    """
    if backend not in FILES:
        raise UsageError(f"no backend is called '{backend}'", ", ".join(FILES))
    if precision not in PRECISIONS:
        raise UsageError(f"no precision is called '{precision}'", ", ".join(PRECISIONS))
    if precision != PRECISIONS[0] and backend != "torch":
        raise UsageError(f"the graphs of {backend} compute in float32", "float32", "add --backend torch")
    verify(folder, (*RECORDS, *FILES[backend]))
    if backend != "onnx" and find_spec("torch") is None:
        raise MissingExtraError(f"The backend {backend}", "train")
    resolved, note = resolve_device(device, lambda named: why_not(backend, named))
    if backend == "onnx":
        predict = onnx_predict(folder / ONNX, resolved, threads)
    else:
        predict = _torch(folder, backend, resolved, threads, precision)
    return Model(
        config=read_record(folder / CONFIG, Config),
        calibration=read_record(folder / CALIBRATION, Calibration),
        manifest_sha256=sha256_of(folder / MANIFEST),
        backend=backend,
        device=resolved,
        precision=precision,
        predict=predict,
        device_note=note,
    )


def why_not(backend: str, device: str) -> str:
    """Return why a backend cannot use a CUDA device of this machine, in one line; nothing where it can."""
    if backend == "onnx":
        return why_no_onnx(device)
    from upd_zoo.runtime.eager import why_no_torch

    return why_no_torch(device)


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
        session = ort.InferenceSession(path.read_bytes(), options, providers=providers)
    except onnx_errors() as error:
        raise IntegrityError(f"ONNX Runtime cannot load {path.name}: {error}", "a self-contained ONNX graph") from error
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UsageError(
            f"ONNX Runtime cannot use {device}", "a CUDA and cuDNN that it finds", "use -d cpu, or --backend torch"
        )

    def run(images: Array, control: Any) -> tuple[Array, Array]:
        anomaly_map, score = session.run(["anomaly_map", "score"], {"image": images}, control)
        return anomaly_map, score

    return in_time(run, onnx_errors(), ort.RunOptions)


def in_time(
    run: Callable[[Array, Any], tuple[Array, Array]],
    failures: tuple[type[Exception], ...],
    control: Callable[[], Any] = SimpleNamespace,
) -> Predict:
    """Return a function of arrays that fails in one way where its runtime fails, or does not come to an end.

    Args:
        run: What runs a graph on images, and heeds a control if it can.
        failures: What its runtime raises.
        control: Makes a control, whose `terminate` is set to true where nobody waits any more.
    """

    def predict(images: Array) -> tuple[Array, Array]:
        watched, limit = control(), max(BATCH_SECONDS, IMAGE_SECONDS * len(images))
        try:
            return within(limit, lambda: run(images, watched), lambda: setattr(watched, "terminate", True))
        except Overdue:
            problem = f"the model did not come to an end within {limit:g} s on a batch of {len(images)} images"
            raise UpdZooError(problem, "a graph that ends", "lower --batch-size, or try another --backend") from None
        except failures as error:
            problem = f"the model failed on a batch of {len(images)} images: {error}"
            raise UpdZooError(problem, "a graph that runs", "lower --batch-size, or try another --backend") from error

    return predict


def _torch(folder: Path, backend: str, device: str, threads: int | None, precision: str) -> Predict:
    from upd_zoo.runtime.eager import eager_predict, scripted_predict

    if backend == "torch":
        return eager_predict(folder, device, threads, precision)
    return scripted_predict(folder, device, threads)
