"""Brains with a tumour, which the look-alikes of BraTS and of the Decathlon write out in their own ways."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fake.heads import head


class Patient(NamedTuple):
    """A skull-stripped brain in two contrasts, and where its tumour is.

    Attributes:
        t1: (X, Y, Z) float32, 0 outside the brain.
        t2: Likewise; the tumour is bright.
        labels: 0 healthy, 1 and 2 tumour.
        affine: From voxel to RAS+ millimetres.
    """

    t1: npt.NDArray[np.float32]
    t2: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    affine: npt.NDArray[Any]


def patient(seed: int = 0) -> Patient:
    """Return a patient."""
    each = head(seed)
    middle = np.argwhere(each.brain).mean(axis=0) + np.array([8, 6, 6])
    distance = np.linalg.norm(np.moveaxis(np.indices(each.data.shape), 0, -1) - middle, axis=-1)
    labels = np.where(distance < 3, 2, np.where(distance < 5, 1, 0)).astype(np.uint8) * each.brain
    t1 = each.data * each.brain
    t2 = np.where(labels > 0, 1200, 700 - 0.5 * t1) * each.brain
    return Patient(t1.astype(np.float32), t2.astype(np.float32), labels, each.affine)
