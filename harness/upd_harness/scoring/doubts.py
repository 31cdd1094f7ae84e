"""Reasons to doubt that a volume is what a brain model knows: a straight, skull-stripped brain on a dark background.

Heads that are prepared are asked other questions, where brains are looked for.
"""

from typing import Final

from nibabel.affines import voxel_sizes

from upd_zoo.brains.extraction import LARGEST, SMALLEST
from upd_zoo.brains.scans import litres_shown
from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.axial import tilt_of
from upd_zoo.images.intensity import Intensities, check_background
from upd_zoo.images.nifti import Volume

_TILTED: Final = 10.0
"""Degrees from which a turned grid is said."""
_MOST_TILTED: Final = 30.0
"""Degrees from which it is refused: beyond 45, the slices that are nearest to axial ones are coronal or sagittal."""
_LEAST_LITRES: Final = 1e-5
_MOST_LITRES: Final = 100.0
"""Of tissue: less than any brain has, or more than a whole person, is a matter of wrong units."""


def doubts_of(volume: Volume, intensities: Intensities, name: str) -> list[Caution]:
    """Return what the user should know of a volume that is scored as it is.

    Args:
        volume: As it was read.
        intensities: Its values.
        name: How errors call it.

    Raises:
        InputError: It cannot be a straight brain with its background lowest (`implausible`).
    """
    check_background(volume.data, intensities.background, name)
    return [*_skull(volume, intensities.background, name), *_tilt(volume, name)]


def _skull(volume: Volume, background: float, name: str) -> list[Caution]:
    litres = litres_shown(volume, background)
    if not _LEAST_LITRES < litres < _MOST_LITRES:
        sizes = " x ".join(f"{size:.3g}" for size in voxel_sizes(volume.affine))
        raise InputError(
            InputErrorCode.IMPLAUSIBLE,
            f"{name}: its voxels have {sizes} mm by its header, which makes {litres:.2g} l of tissue",
            "a brain",
            "correct the unit of length in its header (xyzt_units)",
        )
    if litres < LARGEST:
        return []
    return [
        Caution(
            CautionCode.SKULL,
            f"It shows {litres:.1f} l above its background, where a brain has {SMALLEST} to {LARGEST}: the skull may "
            "still be on, and the model has seen brains only. Add --prepare, which removes it.",
        )
    ]


def _tilt(volume: Volume, name: str) -> list[Caution]:
    degrees = round(tilt_of(volume.affine), 1)  # the header's float32 makes 29.999 of 30
    problem = f"its axes are turned by {degrees:.0f} degrees against the patient's, by its header"
    if degrees >= _MOST_TILTED:
        raise InputError(
            InputErrorCode.IMPLAUSIBLE,
            f"{name}: {problem}",
            f"less than {_MOST_TILTED:.0f} degrees, better less than {_TILTED:.0f}",
            "add --prepare, or resample it to a straight grid",
        )
    if degrees < _TILTED:
        return []
    told = f"{problem[0].upper()}{problem[1:]}; the model knows straight slices."
    return [Caution(CautionCode.TILTED, f"{told} Add --prepare, or resample it to a straight grid.")]
