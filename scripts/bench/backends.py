"""How fast the three formats of one model run."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import torch

from figures import BATCH, Figure, config_of, shortest
from upd_zoo.artefact.records import ONNX, TORCHSCRIPT
from upd_zoo.detector import Detector
from upd_zoo.export.formats import write_onnx, write_torchscript
from upd_zoo.runtime.eager import as_predict, load_script
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import STUDY_SIDE

_SMALL: Final = "vae", "quick"


def backends(repeats: int) -> list[Figure]:
    """Compare the three formats of the quick VAE."""
    detector = Detector.from_config(config_of(*_SMALL))
    images = torch.rand(BATCH, 1, STUDY_SIDE, STUDY_SIDE, generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as temporary:
        onnx, script = Path(temporary) / ONNX, Path(temporary) / TORCHSCRIPT
        write_onnx(detector, onnx, 1, STUDY_SIDE)
        write_torchscript(detector, script, 1, STUDY_SIDE)
        formats = {"eager": as_predict(detector), "TorchScript": as_predict(load_script(script))}
        formats["ONNX Runtime"] = onnx_predict(onnx, "cpu", None)
    for predict in formats.values():
        for _ in range(3):  # TorchScript compiles itself in its first calls
            predict(images)
    times = shortest(repeats, *(partial(predict, images) for predict in formats.values()))
    named = dict(zip(formats, times, strict=True))
    rates = [Figure(f"quick VAE, {name}", BATCH / seconds, "slices/s") for name, seconds in named.items()]
    return [*rates, Figure("quick VAE, ONNX Runtime / eager", named["eager"] / named["ONNX Runtime"], "x")]
