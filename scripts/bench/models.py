"""The speed and size of methods, beside anomalib's where it has them; a part of `scripts/bench`.

Images have 128 px and come in batches of 16. Weights and statistics are random, for neither speed nor size depends on
them. Ours is the exported ONNX file, or the torch model in bfloat16; theirs is the eager model on the same cores: what
a user can choose between.
"""

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from figures import BATCH, Figure, config_of, resident, shortest
from upd_harness.engines.local import apart
from upd_zoo.detector import Detector
from upd_zoo.export.formats import write_onnx, write_safetensors, write_torchscript
from upd_zoo.registry import registered
from upd_zoo.runtime.eager import as_predict
from upd_zoo.runtime.model import Predict
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import STUDY_SIDE

_LEVELS = ["layer1", "layer2", "layer3"]
_WIDE = "wide_resnet50_2"
_RESTORATION_STEPS = 500


def images_of(count: int) -> Tensor:
    """Return grey images (count, 1, 128, 128) in [0, 1]."""
    return torch.rand(count, 1, STUDY_SIDE, STUDY_SIDE, generator=torch.Generator().manual_seed(0))


def models(repeats: int) -> list[Figure]:
    """Compare the methods that anomalib has, and r-VAE with its plain loop."""
    figures = apart(against, "padim", padim, 15.0, repeats)
    figures += apart(coarse_against, "rd", reverse_distillation, repeats)
    figures += apart(against, "cflow-ad", cflow, None, repeats)
    return figures + apart(restoration, repeats)


def detector_of(method: str, profile: str = "full") -> Detector:
    """Return an untrained detector of the study's size for T2-weighted brains."""
    torch.manual_seed(0)
    return Detector.from_config(config_of(method, profile))


def against(method: str, build: Callable[[], Any], least: float | None, repeats: int) -> list[Figure]:
    """Compare the ONNX file of one of our methods with anomalib's eager model."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        apart(export, method, path)
        before = resident("VmRSS")
        predict = onnx_predict(path, "cpu", None)
        predict(images_of(BATCH).numpy())
        memory, size = resident("VmHWM") - before, path.stat().st_size
    images = images_of(BATCH)
    theirs, colour = build(), images.expand(-1, 3, -1, -1).contiguous()

    def eager() -> None:
        with torch.inference_mode():
            theirs(colour)

    eager()
    ours, other = shortest(repeats, lambda: predict(images.numpy()), eager)
    name = registered()[method].title
    return [
        Figure(f"{name}: ONNX", BATCH / ours, "images/s", least),
        Figure(f"{name}: anomalib, eager", BATCH / other, "images/s"),
        Figure(f"{name}: ONNX / anomalib", other / ours, "x", 1.5),
        Figure(f"{name}: peak memory of ONNX Runtime", memory / 1e6, "MB", 2000 if least else None, "lower"),
        Figure(f"{name}: ONNX file", size / 1e6, "MB", 700 if least else None, "lower"),
    ]


def coarse_against(method: str, build: Callable[[], Any], repeats: int) -> list[Figure]:
    """Compare one of our methods in bfloat16 with the same in float32 and with anomalib's eager model, all in torch."""
    detector, images = detector_of(method), images_of(BATCH)
    theirs, colour = build(), images.expand(-1, 3, -1, -1).contiguous()
    fine, coarse = as_predict(detector), as_predict(copy.deepcopy(detector), precision="bfloat16")

    def eager() -> None:
        with torch.inference_mode():
            theirs(colour)

    for warm_up in (eager, lambda: fine(images.numpy()), lambda: coarse(images.numpy())):
        warm_up()
    other, ours, ours_coarse = shortest(repeats, eager, lambda: fine(images.numpy()), lambda: coarse(images.numpy()))
    name = registered()[method].title
    return [
        Figure(f"{name}: torch", BATCH / ours, "images/s"),
        Figure(f"{name}: torch in bfloat16", BATCH / ours_coarse, "images/s"),
        Figure(f"{name}: anomalib, eager", BATCH / other, "images/s"),
        Figure(f"{name}: torch in bfloat16 / anomalib", other / ours_coarse, "x", 1.5),
    ]


def export(method: str, path: Path) -> None:
    """Write the ONNX file of an untrained method."""
    write_onnx(detector_of(method), path, 1, STUDY_SIDE)


def _anomalib(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns of its own deprecations
        return __import__(f"anomalib.models.image.{module}.torch_model", fromlist=["*"])


def padim() -> Any:
    """Return anomalib's PaDiM with random statistics: its own fit inverts in a way that torch 2.15 cannot."""
    model = _anomalib("padim").PadimModel(_WIDE, _LEVELS, pre_trained=False, n_features=550)
    positions = (STUDY_SIDE // 4) ** 2
    model.gaussian.mean = torch.zeros(550, positions)
    model.gaussian.inv_covariance = torch.eye(550).expand(positions, -1, -1).contiguous()
    return model.eval()


def reverse_distillation() -> Any:
    """Return anomalib's reverse distillation, without the smoothing that the study does not do."""
    package = _anomalib("reverse_distillation")
    model = package.ReverseDistillationModel(_WIDE, (STUDY_SIDE, STUDY_SIDE), _LEVELS, "add", pre_trained=False)
    model.anomaly_map_generator.kernel_size = 1
    return model.eval()


def cflow() -> Any:
    """Return anomalib's CFLOW-AD on the levels of the study's MRI setting."""
    return _anomalib("cflow").CflowModel(_WIDE, _LEVELS, pre_trained=False).eval()


def restoration(repeats: int) -> list[Figure]:
    """Compare r-VAE as exported with the plain loop: one image, autograd, 500 steps."""
    detector = detector_of("r-vae")
    images = images_of(BATCH)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        write_onnx(detector, path, 1, STUDY_SIDE)
        predict: Predict = onnx_predict(path, "cpu", None)
    predict(images.numpy())
    batched, plain = shortest(
        repeats, lambda: predict(images.numpy()), lambda: restored_by_autograd(detector.method, images[:1])
    )
    return [
        Figure("r-VAE: ONNX", BATCH / batched, "images/s"),
        Figure("r-VAE: one image, autograd, 500 steps", 1 / plain, "images/s"),
        Figure("r-VAE: ONNX / autograd loop", plain * BATCH / batched, "x", 5),
    ]


def restored_by_autograd(vae: Any, image: Tensor, weight: float = 1.2, rate: float = 1000 / 64) -> Tensor:
    """Return an image (1, C, H, W) restored as the study restores it, but with z = μ."""
    restored = image.clone()
    for _ in range(_RESTORATION_STEPS):
        restored.requires_grad_(True)
        mean, log_variance = vae.encode(restored)
        energy = ((restored - vae.decode(mean)) ** 2).mean()
        energy = energy + vae.kl_weight * (mean**2 + log_variance.exp() - 1 - log_variance).mean() / 2
        difference = restored - image
        variation = (difference.diff(dim=2) ** 2).sum() + (difference.diff(dim=3) ** 2).sum()
        (gradient,) = torch.autograd.grad(energy + weight * variation / image.numel(), restored)
        restored = (restored - rate * gradient.clamp(-50, 50)).detach()
    return restored


def sizes() -> list[Figure]:
    """Measure the bytes of the three formats of every method together, at the study's size."""
    return [figure for method in registered() for figure in apart(size_of, method)]


def size_of(method: str) -> list[Figure]:
    """Measure the bytes of the three formats of one method together."""
    detector = detector_of(method)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_safetensors(detector, folder / "model.safetensors")
        write_torchscript(detector, folder / "model.ts", 1, STUDY_SIDE)
        write_onnx(detector, folder / "model.onnx", 1, STUDY_SIDE)
        stored = sum(path.stat().st_size for path in folder.iterdir())
    return [Figure(f"{detector.method.title}: three formats stored", stored / 1e6, "MB")]
