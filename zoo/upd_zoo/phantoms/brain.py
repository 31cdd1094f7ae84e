"""Synthetic brains: many healthy people, and people with a tumour or a stroke, as skull-stripped MR scans.

A scan is the product of independent draws, so that the same person can be seen in T1 and in T2, with and without a
lesion:

    anatomy (brain_anatomy)     of the seed and the subject alone
    contrast, acquisition       of the weighting too                  (brain_signal)
    lesion (brain_lesions)      of the kind of lesion, not of the weighting

Source of what lesions look like: the study, section V-A and Fig. 1.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from upd_zoo.errors import UsageError
from upd_zoo.phantoms.brain_anatomy import apply_anatomy, draw_anatomy, grid_affine, tissue_at
from upd_zoo.phantoms.brain_lesions import Lesion, Tumour, apply_lesion, apply_mass_effect, draw_lesion
from upd_zoo.phantoms.brain_signal import (
    Weighting,
    apply_acquisition,
    apply_contrast,
    draw_acquisition,
    draw_contrast,
)

__all__ = ["BrainPhantom", "Lesion", "Weighting", "brain_phantom"]

_ANATOMY: Final = "anatomy"
_STREAMS: Final = (_ANATOMY, *Weighting, *Lesion)  # the order is part of every phantom's identity: append only


@dataclass(frozen=True, slots=True, eq=False)
class BrainPhantom:
    """One synthetic scan.

    Attributes:
        image: (X, Y, Z) float32 in [0, 1]; exactly 0 outside the brain and above 0 inside.
        mask: (X, Y, Z) uint8, 1 where tissue is pathological (of a tumour: core and oedema).
        affine: (4, 4) float64 from voxel indices to millimetres, RAS+.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]


def brain_phantom(weighting: Weighting, seed: int, subject: int, lesion: Lesion | None = None) -> BrainPhantom:
    """Make one scan of one person; the same arguments give the same bits.

    Args:
        weighting: T1 or T2; the person's anatomy does not depend on it, nor does the lesion.
        seed: Chooses the population, 0 or more.
        subject: Chooses the person in it, 0 or more.
        lesion: Kind of pathology, or None for a healthy scan of the same person.

    Returns:
        A scan of 128 x 128 x 94 voxels of 1.875 mm, the brain filling about three quarters of an axial slice.

    Raises:
        MissingExtraError: SciPy or nilearn is not installed.
        UsageError: `seed` or `subject` is negative.
    """
    weighting = Weighting(weighting)
    anatomy = draw_anatomy(_generator(seed, subject, _ANATOMY))
    scanner = _generator(seed, subject, weighting)
    contrast, acquisition = draw_contrast(scanner, weighting), draw_acquisition(scanner)
    growth = None if lesion is None else draw_lesion(_generator(seed, subject, lesion), lesion)

    head = apply_anatomy(anatomy)
    points = apply_mass_effect(growth, head) if isinstance(growth, Tumour) else head.points
    tissue = tissue_at(anatomy, points, head.depth)
    signal = apply_contrast(contrast, tissue)
    mask = np.zeros(head.brain.shape, np.uint8)
    if growth is not None:
        signal, inside = apply_lesion(growth, head, tissue, signal, contrast, weighting)
        mask[head.brain] = inside
    return BrainPhantom(apply_acquisition(acquisition, head, signal), mask, grid_affine())


def _generator(seed: int, subject: int, stream: str) -> np.random.Generator:
    if seed < 0 or subject < 0:
        raise UsageError(f"seed {seed} and subject {subject} choose no phantom", "whole numbers from 0 for both")
    return np.random.default_rng([seed, subject, _STREAMS.index(stream)])
