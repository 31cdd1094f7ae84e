"""A baseline that knows how an image is exposed and focused, and nothing of what it shows: a few figures of the whole.

    sqrt((f - mean)ᵀ C⁻¹ (f - mean)),  C = (1 - s) covariance + s diag(variance)

f are the figures that `figures_of` returns, of whatever is brighter than the background, whichever pixels a model looks
at; mean and covariance are those of healthy images that models train on too. Nothing is fitted to diseased images, and
no figure or direction is picked: what it tells, a camera tells.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.appearance import steps_of
from upd_zoo.errors import IntegrityError
from upd_zoo.images.foreground import inside
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Foreground

NAME: Final = "exposure"
IMAGES: Final = 256
_SHRUNK: Final = 0.01
"""Healthy images that are learnt from, evenly spread over the training store, and s.

s was chosen by the likelihood of healthy validation images. With .001 · .01 · .1 its logarithm is, per image, -1.19 ·
-.54 · -.78 learnt from 20 photographs of IDRiD, .87 · .79 · -.07 from all 87, -3.31 · -3.25 · -2.89 from 20 films of
NIH ChestX-ray14 and -1.38 · -1.38 · -1.39 from all 234. Planted anomalies cannot tell: an AUROC of .49 to .52 with any.
"""
_LEAST: Final = 1e-6
"""Of a deviation: what never varies among healthy images says nothing until it does."""
_BATCH: Final = 64

Array = npt.NDArray[np.float32]
Figures = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """Figures of healthy images.

    Attributes:
        mean: (F,).
        inverse: (F, F), of the shrunk covariance.
    """

    mean: Figures
    inverse: Figures

    @classmethod
    def of(cls, healthy: Store) -> Self:
        """Learn from the images of a training store.

        Raises:
            IntegrityError: It holds what is no number.
        """
        rows = np.unique(np.linspace(0, len(healthy) - 1, min(IMAGES, len(healthy))).round().astype(int))
        figures = _figures_of(healthy, rows)
        if not np.isfinite(figures).all():
            raise IntegrityError("some of its pixels are NaN or infinite", "finite pixels", "prepare it again")
        mean, deviation = figures.mean(axis=0), np.maximum(figures.std(axis=0), _LEAST)
        normal = (figures - mean) / deviation
        covariance = (1 - _SHRUNK) * (normal.T @ normal) / len(rows) + _SHRUNK * np.eye(len(mean))
        return cls(mean, np.linalg.inv(covariance) / np.outer(deviation, deviation))

    def scores(self, store: Store) -> Figures:
        """Return how far each image of a store lies from healthy ones, (N,) from 0."""
        away = _figures_of(store, np.arange(len(store))) - self.mean
        return np.asarray(np.sqrt(np.einsum("nf,fg,ng->n", away, self.inverse, away)))


def _figures_of(store: Store, rows: npt.NDArray[np.int_]) -> Figures:
    batches = (np.array(store.images[rows[start : start + _BATCH]]) for start in range(0, len(rows), _BATCH))
    return np.concatenate([figures_of(images) for images in batches])


def names_of(channels: int) -> list[str]:
    """Return what the figures of images of so many channels, 1 or 3, are called."""
    colours = ("red", "green", "blue") if channels > 1 else ("brightness",)
    return [
        "foreground",
        *(f"mean {each}" for each in colours),
        *(f"spread of {each}" for each in colours),
        "sharpness",
    ]


def figures_of(images: Array) -> Figures:
    """Return (B, 2 C + 2) figures of images (B, C, H, W); 0 where an image has one value everywhere.

    They are the share of the foreground; of each channel mean and standard deviation in it; and the mean difference of
    neighbouring pixels of it, over channels: how sharp the image is.
    """
    tissue = inside(images, Foreground.ABOVE_MINIMUM)
    count = np.maximum(tissue.sum(axis=(1, 2)), 1)[:, None]
    kept = images * tissue[:, None]
    mean = kept.sum(axis=(2, 3), dtype=np.float64) / count
    square = np.einsum("bchw,bchw->bc", kept, kept, dtype=np.float64) / count
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    grey = images.mean(axis=1, dtype=np.float64)
    return np.column_stack((tissue.mean(axis=(1, 2)), mean, spread, steps_of(grey, tissue)))
