"""A model that runs: one callable, images -> (maps, scores), whatever runtime is behind it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.records import Config, PixelConvention
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.runtime.deadline import Overdue, within
from upd_zoo.scores import Prediction, scoring

Array = npt.NDArray[np.float32]
Predict = Callable[[Array], tuple[Array, Array]]

BATCH_SECONDS: Final = 600.0
IMAGE_SECONDS: Final = 60.0
"""How long a graph may take for one batch of images: the longer of the one, and of the other for each image.

The slowest method, CutPaste, took 50 s for 16 images on two cores that other programs kept busy.
"""


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """A model ready to run; call it with (B, C, H, W) float32 in [0, 1]: C, H and W as `config.input` says.

    Attributes:
        config: What it is.
        calibration: What healthy images score.
        manifest_sha256: Hash of its manifest, which names every byte of it.
        backend: `onnx`, `torchscript` or `torch`.
        device: `cpu` or `cuda:N`.
        precision: `float32` or `bfloat16`.
        network: Images to maps (B, 1, H, W) and scores (B,), both float32, higher is more anomalous.
        device_note: Why it runs on the CPU although there is a CUDA device; mostly empty.
        revision: Under which revision it was asked for; empty of a model that was loaded from its folder.
    """

    config: Config
    calibration: Calibration
    manifest_sha256: str
    backend: str
    device: str
    precision: str
    network: Predict
    device_note: str = ""
    revision: str = ""

    def __repr__(self) -> str:
        name = f"{self.config.id}@{self.revision}" if self.revision else self.config.id
        size = self.config.input
        images = f"images (B, {size.channels}, {size.height}, {size.width})"
        labels = f" [{', '.join(self.config.labels)}]" if self.config.labels else ""
        return f"<Model {name}{labels}: {images}, {self.backend} on {self.device}>"

    def __call__(self, images: Array) -> tuple[Array, Array]:
        """Return maps (B, 1, H, W) and scores (B,) of images (B, C, H, W); of no images, none.

        Raises:
            UsageError: The images have another shape or type, are not finite, or lie outside [0, 1].
        """
        check_images(images, self.config.input)
        if not len(images):
            return np.empty((0, 1, *images.shape[2:]), np.float32), np.empty(0, np.float32)
        return self.network(images)

    def predict(self, file: Path | str, *, prepare: bool = False) -> Prediction:
        """Return the map of one image file, in the file's own shape, its score, percentile and warnings.

        Args:
            file: NIfTI, PNG, JPEG or TIFF, read and checked as `upd-zoo score` does.
            prepare: Whether it is a whole head, in which the brain is to be found first.

        Raises:
            InputError: The file cannot be scored.
            UpdZooError: There is no such file, or the model does not run.
        """
        prediction: Prediction = scoring().predict(self, Path(file), prepare=prepare)
        return prediction


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


@dataclass(frozen=True, slots=True)
class Watched:
    """A function of arrays that fails in one way where its runtime fails, or does not come to an end.

    Attributes:
        run: What runs a graph on images, and heeds a control if it can.
        failures: What its runtime raises.
        control: Makes a control, whose `terminate` is set to true where nobody waits any more.
    """

    run: Callable[[Array, Any], tuple[Array, Array]]
    failures: tuple[type[Exception], ...]
    control: Callable[[], Any] = SimpleNamespace

    def bare(self, images: Array) -> tuple[Array, Array]:
        """Return what the graph makes of images, with nobody watching: to measure what watching costs."""
        return self.run(images, self.control())

    def __call__(self, images: Array) -> tuple[Array, Array]:
        """Return what the graph makes of images.

        Raises:
            UpdZooError: It fails, or takes too long.
        """
        watched, limit = self.control(), max(BATCH_SECONDS, IMAGE_SECONDS * len(images))
        try:
            return within(limit, lambda: self.run(images, watched), lambda: setattr(watched, "terminate", True))
        except Overdue:
            problem = f"the model did not come to an end within {limit:g} s on a batch of {len(images)} images"
            raise UpdZooError(problem, "a graph that ends", "lower --batch-size, or try another --backend") from None
        except self.failures as error:
            problem = f"the model failed on a batch of {len(images)} images: {error}"
            raise UpdZooError(problem, "a graph that runs", "lower --batch-size, or try another --backend") from error
