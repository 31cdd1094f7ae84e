"""How large lesions are and how bright, image by image: what Figures 1 and 2 of the study are drawn from."""

import numpy as np
import numpy.typing as npt

from upd_zoo.images.foreground import inside
from upd_zoo.vocabulary import Foreground

Floats = npt.NDArray[np.float64]


def lesions_in(images: npt.NDArray[np.float32], lesions: npt.NDArray[np.bool_], rule: Foreground) -> Floats:
    """Return (3, N): of each image its lesion's size, and the mean brightness of the lesion and of the rest.

    Sizes are shares, in (0, 1], of the brain where `rule` knows one, else of the image; brightness lies in [0, 1], that
    of the rest is NaN where there is none. Colours are taken for grey by the mean of their channels.

    Args:
        images: (N, C, H, W) in [0, 1].
        lesions: (N, H, W), true where pathological; in every image somewhere.
        rule: Which pixels of an image are looked at; what is pathological is looked at in any case.
    """
    grey, shown = images.mean(axis=1), inside(images, rule)
    sizes = lesions.sum(axis=(1, 2)) / np.maximum((shown | lesions).sum(axis=(1, 2)), 1)
    return np.stack([sizes, _mean_in(grey, lesions), _mean_in(grey, shown & ~lesions)])


def _mean_in(grey: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> Floats:
    counts = where.sum(axis=(1, 2)).astype(np.float64)
    counts[counts == 0] = np.nan
    return np.asarray((grey * where).sum(axis=(1, 2), dtype=np.float64) / counts)
