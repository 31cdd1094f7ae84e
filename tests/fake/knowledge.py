"""What a model may know of healthy images, and models that know it and compute nothing."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fake.artefact import config_of
from fake.stores import draw_image
from upd_zoo.artefact.appearance import coarse, figures_of
from upd_zoo.artefact.calibration import Appearance, Calibration, Quantiles, appearance_of
from upd_zoo.runtime.model import Model

Array = npt.NDArray[np.float32]
_SPREAD = Quantiles(count=3, levels=[0, 0.5, 0.999, 1], values=[0, 0.5, 0.9, 1])


def appearance_from(cases: Sequence[Array]) -> Appearance:
    """Return what the images (N, C, H, W) of some healthy subjects look like."""
    stack = np.concatenate(cases)
    subjects = [f"subject-{number}" for number, images in enumerate(cases) for _ in images]
    return appearance_of(figures_of(stack), coarse(stack), subjects)


def knowing(domain: str, appearance: Appearance) -> Model:
    """Return a model of a domain that knows what healthy images look like; its map is the image."""
    calibration = Calibration(
        dataset=f"{domain}/validation",
        image_scores=_SPREAD,
        subject_scores=_SPREAD,
        map_values=_SPREAD,
        appearance=appearance,
        false_positive_rate=0.05,
        image_threshold=0.9,
        subject_threshold=0.9,
        map_threshold=0.9,
    )
    return Model(config_of(domain), calibration, "0" * 64, "onnx", "cpu", "float32", _brightness)


def _brightness(images: Array) -> tuple[Array, Array]:
    maps = images.mean(axis=1, keepdims=True)
    return maps, maps.max(axis=(1, 2, 3))


APPEARANCE = appearance_from([draw_image(1, np.random.default_rng(seed))[None] for seed in range(4)])
