"""The eager model: `config.json` and `model.safetensors` become a torch module again."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, TORCHSCRIPT, WEIGHTS, Config
from upd_zoo.detector import Detector
from upd_zoo.errors import IntegrityError
from upd_zoo.runtime.model import Array, Predict, Watched
from upd_zoo.runtime.tensors import read_tensors
from upd_zoo.runtime.torchscript import checked_script

_AGAIN: Final = "finish the training, or pull the model again with upd-zoo pull --force"
_SPARE: Final = 1000
"""Parameters that may be made and left out again: networks are made whole and then cut, some more than once."""
FAILURES: Final = (RuntimeError, torch.jit.Error, MemoryError, IndexError, ValueError)
"""What torch raises where a graph cannot be run on a batch."""


def load_detector(folder: Path) -> Detector:
    """Return the detector of an artefact or of a finished run, in evaluation mode.

    Raises:
        NotFoundError: The folder has no configuration.
        IntegrityError: The weights are missing, or are not those of the configuration.
    """
    config = read_record(folder / CONFIG, Config)
    if not (folder / WEIGHTS).is_file():
        raise IntegrityError(f"{WEIGHTS} is missing in {folder.name}", "the weights of a finished training", _AGAIN)
    tensors = read_tensors(folder / WEIGHTS, _AGAIN)
    _check_fit(config, tensors)
    detector = Detector.from_config(config)
    detector.method.load_state_dict(tensors)
    return detector


def _check_fit(config: Config, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights of another model before memory is taken for it: settings may describe any size.

    Raises:
        IntegrityError: A tensor is missing, belongs to nothing, or has another shape.
    """
    with torch.device("meta"), _at_most(len(tensors) + _SPARE):
        described = {name: tensor.shape for name, tensor in Detector.from_config(config).method.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in found.keys() | described.keys() if found.get(name) != described.get(name))
    if wrong:
        shapes = [
            "x".join(map(str, known[wrong[0]])) or "a number" if wrong[0] in known else "nothing"
            for known in (found, described)
        ]
        raise IntegrityError(
            f"{WEIGHTS} does not hold the weights of {config.id}: {wrong[0]} is {shapes[0]} and should be {shapes[1]}",
            f"the tensors that {CONFIG} describes",
            _AGAIN,
        )


@contextmanager
def _at_most(count: int) -> Iterator[None]:
    """Refuse modules of more parameters than a file can fill."""
    made = 0

    def tally(_module: nn.Module, _name: str, _parameter: nn.Parameter) -> None:
        nonlocal made
        made += 1
        if made > count:
            raise IntegrityError(f"{CONFIG} describes more tensors than {WEIGHTS} holds", "one record of both", _AGAIN)

    handle = nn.modules.module.register_module_parameter_registration_hook(tally)
    try:
        yield
    finally:
        handle.remove()


def eager_predict(folder: Path, device: str, threads: int | None, precision: str = "float32") -> Predict:
    """Return the eager model of an artefact as a function of arrays."""
    return as_predict(load_detector(folder).to(device), device, threads, precision)


def scripted_predict(folder: Path, device: str, threads: int | None) -> Predict:
    """Return the TorchScript model of an artefact as a function of arrays."""
    return as_predict(load_script(folder / TORCHSCRIPT, device), device, threads)


def load_script(path: Path, device: str = "cpu") -> nn.Module:
    """Return the TorchScript module in a file, on a device.

    Raises:
        IntegrityError: It holds what no exporter writes, or torch cannot load it.
    """
    try:
        with known_deprecation():
            script: nn.Module = torch.jit.load(checked_script(path), map_location=device)  # type: ignore[no-untyped-call]
    except FAILURES as error:
        raise IntegrityError(
            f"torch cannot load {path.name}: {error}", "the TorchScript of an export", _AGAIN
        ) from error
    return script


@contextmanager
def known_deprecation() -> Iterator[None]:
    """Silence the one warning that TorchScript is deprecated as a whole, which decision card 0005 answers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
        yield


def as_predict(
    module: nn.Module, device: str = "cpu", threads: int | None = None, precision: str = "float32"
) -> Predict:
    """Return a module, images to (maps, scores), as a function of arrays.

    Args:
        module: A detector or its script, on `device`.
        device: Where it lies.
        threads: CPU threads; None leaves torch's own choice.
        precision: In which numbers convolutions and products compute, `float32` or `bfloat16`.
    """
    if threads:
        torch.set_num_threads(threads)
    kind, coarse = torch.device(device).type, precision != "float32"
    if coarse:
        module = module.to(memory_format=torch.channels_last)  # 1.9 x as fast as the default layout, for RD

    def run(images: Array, _control: Any) -> tuple[Array, Array]:
        with torch.inference_mode(), torch.autocast(kind, getattr(torch, precision), enabled=coarse):
            anomaly_map, score = module(torch.from_numpy(np.array(images, order="C")).to(device))
        return anomaly_map.float().cpu().numpy(), score.float().cpu().numpy()

    return Watched(run, FAILURES)
