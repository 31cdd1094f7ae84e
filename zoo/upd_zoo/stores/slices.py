"""The one cutter of volumes into slices: training and scoring see the same images of a scan."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from upd_zoo.images.axial import SliceGeometry, axial_geometry, axial_slices
from upd_zoo.images.framing import frame, frame_mask, grids_differ
from upd_zoo.images.intensity import Intensities
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import SCALES, Framing, Protocol, Scale, Side

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """The axial slices of a brain scan as a model sees them, from feet to head; empty ones are left out.

    Attributes:
        images: (N, 1, side, side) float32 in [0, 1].
        positions: Number of each of them, counted from the lowest slice of the scan.
        depth: Number of slices, the empty ones included.
    """

    images: Array
    positions: list[int]
    depth: int


def cut(intensities: Intensities, geometry: SliceGeometry, scale: Scale, side: Side) -> Slices:
    """Return the axial slices of a brain scan at model size.

    Args:
        intensities: Of a volume (X, Y, Z) float32 of any range, the background constant and lowest.
        geometry: How its slices lie.
        scale: Which of its values becomes 1.
        side: Of the model's image in pixels.
    """
    slices = axial_slices(intensities.scaled(scale), geometry)
    positions = [index for index in range(len(slices)) if slices[index].any()]
    images = np.empty((len(positions), 1, side, side), np.float32)
    for row, position in enumerate(positions):
        images[row] = frame(slices[position][None], Framing.SQUARE_SLICES, side, geometry.spacing)
    return Slices(images, positions, len(slices))


def slices_of(
    volume: Array,
    affine: npt.NDArray[np.float64],
    subject: str,
    mask: npt.NDArray[np.uint8] | None = None,
    *,
    protocol: Protocol,
    side: Side,
) -> list[Sample]:
    """Return the slices of a brain scan, as `cut` makes them, with what is known of each.

    A slice is anomalous where its mask at model size has a pixel set (study, section V-B).

    Args:
        volume: (X, Y, Z) float32 of any range, the background constant and lowest.
        affine: (4, 4) from voxel to RAS+ millimetres.
        subject: Whose scan it is.
        mask: (X, Y, Z), anything not zero is pathological; None if it is not known or the scan is healthy.
        protocol: How the scan is scaled, and its mask brought to model size.
        side: Of the model's image in pixels.

    Raises:
        InputError: The mask has another shape than the volume (`geometry`).
    """
    if mask is not None and mask.shape != volume.shape:
        raise grids_differ(f"the mask of {subject}", mask.shape, volume.shape)
    geometry = axial_geometry((volume.shape[0], volume.shape[1], volume.shape[2]), affine)
    slices = cut(Intensities(volume), geometry, SCALES[protocol], side)
    truth = axial_slices(np.zeros(volume.shape, np.bool_) if mask is None else mask != 0, geometry)
    masks = [
        frame_mask(truth[position], Framing.SQUARE_SLICES, side, geometry.spacing, protocol)
        for position in slices.positions
    ]
    return [
        Sample(image, bool(diseased.any()), subject, position, mask=diseased)
        for image, diseased, position in zip(slices.images, masks, slices.positions, strict=True)
    ]
