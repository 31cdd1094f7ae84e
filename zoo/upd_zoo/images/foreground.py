"""Which pixels of an image show tissue, for arrays; `upd_zoo.layers.foreground` is the same inside a graph."""

import numpy as np
import numpy.typing as npt

from upd_zoo.vocabulary import Foreground


def inside(images: npt.NDArray[np.float32], foreground: Foreground) -> npt.NDArray[np.bool_]:
    """Return (B, H, W), true where a pixel of its image (B, C, H, W) can be anomalous.

    Source: cards/study.md, section 1.4.
    """
    if foreground is Foreground.EVERYWHERE:
        return np.ones((len(images), *images.shape[2:]), np.bool_)
    return np.asarray((images > images.min(axis=(1, 2, 3), keepdims=True)).any(axis=1))
