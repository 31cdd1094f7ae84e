"""Which pixels of an image show tissue, for arrays; `upd_zoo.layers.foreground` is the same inside a graph."""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from upd_zoo.vocabulary import Foreground

Masks = npt.NDArray[np.bool_]


def inside(images: npt.NDArray[np.float32], foreground: Foreground, erosion: int = 0) -> Masks:
    """Return (B, H, W), true where a pixel of its image (B, C, H, W) can be anomalous.

    Args:
        images: Whose foreground is asked for.
        foreground: The rule. Source: cards/study.md, section 1.4.
        erosion: Pixels by which tissue is eroded, diagonals included; along the border of the image nothing is lost.
    """
    if foreground is Foreground.EVERYWHERE:
        return np.ones((len(images), *images.shape[2:]), np.bool_)
    tissue = np.asarray((images > images.min(axis=(1, 2, 3), keepdims=True)).any(axis=1))
    return _eroded(_eroded(tissue, erosion, 1), erosion, 2)


def _eroded(masks: Masks, pixels: int, axis: int) -> Masks:
    """Return masks (B, H, W), true where they are true for `pixels` in both directions of an axis."""
    margin = [(pixels, pixels) if dimension == axis else (0, 0) for dimension in range(masks.ndim)]
    padded = np.pad(masks, margin, constant_values=True)
    return np.asarray(sliding_window_view(padded, 2 * pixels + 1, axis).all(axis=-1))
