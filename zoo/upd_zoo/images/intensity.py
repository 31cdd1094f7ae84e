"""What the values of a brain scan stand for: which is background, which becomes 1, and when that cannot be told.

One place for preparation, training and scoring, as `upd_zoo.images.framing` is for where pixels lie.

Source: section V-B of the study, whose code divides a scan by its largest value.
"""

from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.vocabulary import Scale

Array = npt.NDArray[np.float32]

_HIGH: Final = 0.998
"""Quantile of the tissue that becomes 1 under `Scale.ROBUST`.

Where healthy brains agree best on what their median tissue becomes, and yet little is clipped: over 30 heads of IXI its
coefficient of variation is 0.014 to 0.016 at quantiles from 0.99 to 0.998, 0.023 at 0.999, 0.058 at 0.9995 and 0.15 at
the maximum, which lies 1.4 to 2.3 times as high. Of the lesions of two patients (Open MS, T1 and T2) at most 0.08 % of
the voxels are clipped, of four T2-weighted phantom tumours at most 4.5 %. Below 500 voxels of tissue it is the maximum.
"""

_FUZZ: Final = 0.05
"""Share of the scale by which a value may miss the background and still be fuzz that resampling left there."""
_MOST_BELOW: Final = 0.01
"""Share of what is no background that may lie below it: at most 0.0003 of four scans of patients (Open MS), none of 30
brains of IXI, and 0.37 to 0.62 of the same after z-scoring."""
_FAR: Final = 5.0
"""How many times as high as the nearly largest value the largest may be; 30 brains of IXI reach 2.3, patients 3.5."""


class Intensities:
    """The values of a scan, and what they stand for: each figure is computed once, when it is first asked for.

    Args:
        volume: (X, Y, Z), its values not all one: the input gate refuses such a scan.
    """

    def __init__(self, volume: Array) -> None:
        self.volume = volume

    @cached_property
    def background(self) -> float:
        """The value around the tissue."""
        return background(self.volume)

    @cached_property
    def nearly_largest(self) -> float:
        """The high quantile of what lies above the background."""
        return _nearly_largest(self.volume, self.background)

    def scaled(self, scale: Scale) -> Array:
        """Return the scan scaled to [0, 1], so that its background becomes 0, and what lies below it too.

        The study sets what lies below 1e-4 of the largest value to 0, against the fuzz that resampling leaves around a
        background of 0.

        Args:
            scale: Which value becomes 1; what lies above it becomes 1 too. Where it is robust, voxels that touch no
                other tissue are background: one stray voxel in an empty slice would be an image of its own, of one
                pixel.
        """
        volume, low = self.volume, self.background
        if scale is Scale.MAXIMUM:
            high = float(volume.max())
        else:
            volume = _without_specks(volume, low)
            high = self.nearly_largest if volume is self.volume else _nearly_largest(volume, low)
        scaled: Array = (volume - np.float32(low)) / np.float32(high - low)
        return np.clip(scaled, 0, 1, out=scaled)

    def cautions(self, scale: Scale) -> list[Caution]:
        """Return a caution where the largest values of the scan lie far above the rest of its tissue."""
        low = self.background
        high, largest = self.nearly_largest - low, float(self.volume.max()) - low
        if largest <= _FAR * high:
            return []
        many = int((self.volume > low + _FAR * high).sum())
        so_bright = f"{largest / high:.3g} times as bright as {100 * _HIGH:g} % of its tissue"
        return [Caution(CautionCode.OUTLIER, f"{many} of its voxels are up to {so_bright}. {_MEANT[scale]}")]


_MEANT: Final = {
    Scale.ROBUST: "They are cut off there, and the scale does not follow them.",
    Scale.MAXIMUM: "This model scales by the largest value, as the study does: all of the tissue becomes darker.",
}


def _without_specks(volume: Array, low: float) -> Array:
    """Return a scan (X, Y, Z) in which voxels of tissue without any of their 26 neighbours are background."""
    tissue = volume > low
    near = tissue.astype(np.uint8)
    for axis in range(3):
        along = np.moveaxis(near, axis, 0)
        near = near.copy()
        np.moveaxis(near, axis, 0)[1:] += along[:-1]
        np.moveaxis(near, axis, 0)[:-1] += along[1:]
    alone = tissue & (near == 1)
    return volume if alone.sum() in {0, tissue.sum()} else np.where(alone, np.float32(low), volume)


def check_background(volume: Array, low: float, name: str) -> None:
    """Refuse a scan of which much lies below its background: it would be taken for background.

    Args:
        volume: (X, Y, Z).
        low: What is taken for its background.
        name: How the error calls it.

    Raises:
        InputError: So it is (`implausible`), as where a brain was z-scored inside a mask.
    """
    if volume.min() >= low:
        return
    away = np.abs(volume - np.float32(low))
    fuzz = _FUZZ * float(np.quantile(away[away > 0], _HIGH))
    below, above = int((volume < low - fuzz).sum()), int((volume > low + fuzz).sum())
    if below > _MOST_BELOW * (below + above):
        raise InputError(
            InputErrorCode.IMPLAUSIBLE,
            f"{name}: {100 * below / (below + above):.0f} % of its tissue lies below its background of {low:g}, as "
            "where a brain was z-scored inside a mask",
            "a scan whose background is its lowest value",
            "give the scan before z-scoring, or subtract the smallest value inside of the mask and leave 0 outside",
        )


def _nearly_largest(volume: Array, low: float) -> float:
    """Return the high quantile of what lies above the background."""
    return float(np.quantile(volume[volume > low], _HIGH, method="higher"))


def background(volume: Array) -> float:
    """Return the value around the tissue of a scan (X, Y, Z): that of most corners, else nearly the smallest one.

    As the scale at its upper end, noise at its lower end does not hang on one voxel.
    """
    ends = [np.array((0, size - 1)) for size in volume.shape]
    values, counts = np.unique(volume[np.ix_(*ends)], return_counts=True)
    common = float(values[counts.argmax()])
    if 2 * counts.max() > counts.sum() and common < volume.max():
        return common
    low = float(np.quantile(volume, 1 - _HIGH, method="lower"))
    return low if low < volume.max() else float(volume.min())
