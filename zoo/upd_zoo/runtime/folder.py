"""From the folder of an artefact to a model that runs, whose files are checked first."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, MANIFEST, ONNX, TORCHSCRIPT, WEIGHTS, Config
from upd_zoo.errors import MissingExtraError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.runtime.devices import resolve_device, why_no_onnx, why_no_torch
from upd_zoo.runtime.model import Model, Predict
from upd_zoo.runtime.onnx import onnx_predict

if TYPE_CHECKING:
    from upd_zoo.detector import Detector

FILES: Final = {"onnx": (ONNX,), "torchscript": (TORCHSCRIPT,), "torch": (WEIGHTS,)}
"""What each backend needs of an artefact, besides its records."""
RECORDS: Final = (CONFIG, CALIBRATION)
PRECISIONS: Final = ("float32", "bfloat16")
"""In which numbers networks compute. Maps are always put together in float32, the promised precision."""


def load_folder(
    folder: Path | str,
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
    folder = Path(folder)
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
        network=predict,
        device_note=note,
    )


def module_in(folder: Path, device: str) -> "Detector":
    """Return the model of an artefact as a torch module in evaluation mode, after checking its weights.

    Args:
        folder: The artefact.
        device: `auto` (CUDA where it can be used), `cpu`, `cuda` or `cuda:N`.

    Raises:
        IntegrityError: A file is missing or changed, or the weights are not those of the configuration.
        NotFoundError: The artefact has no weights.
        UsageError: The device cannot be used.
        MissingExtraError: torch is not installed.
    """
    verify(folder, (CONFIG, WEIGHTS))
    if find_spec("torch") is None:
        raise MissingExtraError("A torch module", "train")
    resolved, _ = resolve_device(device, why_no_torch)
    from upd_zoo.runtime.eager import load_detector

    return load_detector(folder).to(resolved)


def why_not(backend: str, device: str) -> str:
    """Return why a backend cannot use a CUDA device of this machine, in one line; nothing where it can."""
    if backend == "onnx":
        return why_no_onnx(device)
    return why_no_torch(device)


def _torch(folder: Path, backend: str, device: str, threads: int | None, precision: str) -> Predict:
    from upd_zoo.runtime.eager import eager_predict, scripted_predict

    if backend == "torch":
        return eager_predict(folder, device, threads, precision)
    return scripted_predict(folder, device, threads)
