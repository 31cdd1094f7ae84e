"""The averaged brain that synthetic ones grow from: the MNI152 tissue templates, and what they say about every point.

nilearn ships the templates inside its package (grey matter, white matter and skull-stripped T1, 1 mm), so making brains
needs no download.

Source: Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011).
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import nibabel
import numpy as np
from numpy.typing import NDArray

from upd_zoo.errors import MissingExtraError

Floats = NDArray[np.float32]

_PURPOSE: Final = "Making brain phantoms"

HEAD_CENTRE: Final = np.array([0.0, -17.0, 4.0], np.float32)
"""Centre, mm, of the ellipsoid that the template's hemispheres fill."""
HEAD_RADII: Final = np.array([68.0, 88.0, 76.0], np.float32)
"""Its radii, mm."""


_MARGIN: Final = 8  # mm around the brain; no deformation reaches further out


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A quantity that is known everywhere in template space.

    Attributes:
        values: (X, Y, Z) float32 on a grid along the axes.
        origin: (3,) mm, the first voxel's place.
        spacing: mm between voxels.
    """

    values: Floats
    origin: Floats
    spacing: int

    def at(self, points: Floats) -> Floats:
        """Return the values at points (3, P) in mm, interpolated linearly; (P,) float32."""
        indices = (points - self.origin[:, None]) / np.float32(self.spacing)
        values = _ndimage().map_coordinates(self.values, indices, output=np.float32, order=1, mode="nearest")
        return np.asarray(values, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """What the averaged brain says about every point.

    Attributes:
        white: Log-odds of white against grey matter; like `fluid` and `detail` every 1 mm.
        fluid: Log-odds of cerebrospinal fluid against tissue.
        detail: T1 intensity that the tissues do not explain, in units of the white-grey contrast.
        depth: Millimetres below the surface of the brain, negative outside; like the following every 2 mm.
        cortical: How far individual folds replace the average here, from 0 (deep structures) to 1.
        growth: Along each axis, the direction in which ventricles swell: of length 1 at their wall and 0 far away.
    """

    white: Field
    fluid: Field
    detail: Field
    depth: Field
    cortical: Field
    growth: tuple[Field, Field, Field]


@cache
def templates() -> Templates:
    """Read the MNI152 templates and derive what individuals are grown from, once per process.

    Raises:
        MissingExtraError: nilearn or SciPy is not installed.
    """
    (grey, white, t1), origin = _read_around_brain("gm", "wm", "t1")
    brain = t1 > 0
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    every_other = (slice(None, None, 2),) * 3
    depth = _signed_distance(brain[every_other])
    axes = np.ogrid[tuple(slice(0, 2 * length, 2) for length in depth.shape)]
    x, y, z = (axis + start for axis, start in zip(axes, origin, strict=True))
    ventricles = _ventricles(fluid[every_other], depth, x, y, z)
    growth_x, growth_y, growth_z = (Field(component, origin, 2) for component in _growth(ventricles))
    return Templates(
        white=Field(_log_odds(white, grey), origin, 1),
        fluid=Field(_log_odds(fluid, grey + white), origin, 1),
        detail=Field(_detail(t1, grey, white, fluid), origin, 1),
        depth=Field(smooth(depth, 0.6), origin, 2),
        cortical=Field(_cortical(depth, ventricles, x, y, z), origin, 2),
        growth=(growth_x, growth_y, growth_z),
    )


@cache
def _ndimage() -> ModuleType:
    """Return scipy.ndimage, looked for when used: the base install imports this file and has no SciPy."""
    try:
        from scipy import ndimage
    except ImportError as error:
        raise MissingExtraError(_PURPOSE, "prepare") from error
    return ndimage  # type: ignore[no-any-return]


def _read_around_brain(*names: str) -> tuple[list[Floats], Floats]:
    """Return templates in [0, 1], 0 outside the brain, with a margin around it, and the first voxel's place in mm.

    The brain is where the last one is above 0.
    """
    images = [nibabel.load(_template_file(name)) for name in names]
    volumes = [np.pad(np.asarray(image.dataobj), _MARGIN) for image in images]
    brain = volumes[-1] > 0
    spans = [np.flatnonzero(brain.any(axis=others))[[0, -1]] for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(first - _MARGIN, last + 1 + _MARGIN) for first, last in spans)
    origin = images[-1].affine[:3, 3] - _MARGIN + [side.start for side in box]
    cropped = [np.where(brain, volume, 0)[box].astype(np.float32) / np.float32(255) for volume in volumes]
    return cropped, np.asarray(origin, np.float32)


def _template_file(name: str) -> Path:
    spec = importlib.util.find_spec("nilearn")  # found, not imported: importing it takes seconds
    if spec is None or spec.origin is None:
        raise MissingExtraError(_PURPOSE, "prepare")
    return Path(spec.origin).parent / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"


def _signed_distance(inside: NDArray[np.bool_]) -> Floats:
    """Return the distance to the border, mm, positive inside, of a shape given every 2 mm."""
    outwards, inwards = (_ndimage().distance_transform_edt(shape, sampling=2.0) for shape in (~inside, inside))
    return np.asarray(inwards - outwards, np.float32)


def _log_odds(one: Floats, other: Floats) -> Floats:
    """Return the log-odds of two probabilities, averaged over about the voxel that they will be sampled for."""
    return np.asarray(np.log((smooth(one, 0.6) + 0.02) / (smooth(other, 0.6) + 0.02)), np.float32)


def _ventricles(fluid: Floats, depth: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    """Return the signed distance to the wall of the lateral and third ventricles, mm, negative inside."""
    central = (depth > 22) & (np.abs(x) < 42) & (y > -60) & (y < 40) & (z > -14) & (z < 34)
    return -_signed_distance((fluid > 0.5) & central)


def _growth(ventricles: Floats) -> Floats:
    """Return vectors (3, X, Y, Z) away from the ventricles' axes, fading over a centimetre outside the wall."""
    direction = np.array(np.gradient(smooth(ventricles, 0.75), 2.0))
    return np.asarray(direction * np.exp(-np.maximum(ventricles, 0) / 9) * ramp(ventricles, -6, -2), np.float32)


def _cortical(depth: Floats, ventricles: Floats, x: Floats, y: Floats, z: Floats) -> Floats:
    """Return where folds belong: a shell of the hemispheres, without cerebellum, brain stem and deep nuclei."""
    tentorium = -4 + 0.4 * np.minimum(y + 45, 0) - 0.25 * np.abs(x) - 0.3 * np.maximum(y + 30, 0)
    scaled = ((axis - centre) / radius for axis, centre, radius in zip((x, y, z), HEAD_CENTRE, HEAD_RADII, strict=True))
    outwards = np.asarray(np.sqrt(sum(offset**2 for offset in scaled)), np.float32)
    shell = ramp(np.minimum(depth, np.abs(x)), 27, 17) * ramp(outwards, 0.4, 0.65)
    above = ramp(np.asarray(z - tentorium, np.float32), 2, 10)
    return smooth(shell * above * ramp(ventricles, 9, 17), 0.75)


def _detail(t1: Floats, grey: Floats, white: Floats, fluid: Floats) -> Floats:
    """Return what distinguishes deep nuclei and brain stem in T1 beyond their mixture of tissues."""
    mixture = np.stack([fluid, grey, white])
    deep = smooth(t1 > 0, 5.0) ** 8  # near 1 from a centimetre below the surface
    known, wanted = mixture[:, deep > 0.5].astype(np.float64), t1[deep > 0.5].astype(np.float64)
    # Normal equations by einsum: a threaded solver's last bit, and so every phantom's, would depend on the threads.
    levels = np.linalg.solve(np.einsum("ip,jp->ij", known, known), np.einsum("ip,p->i", known, wanted))
    residual = (t1 - np.einsum("i,ixyz->xyz", levels, mixture)) / (levels[2] - levels[1])
    return np.asarray(np.clip(residual, -0.8, 0.8) * deep, np.float32)


def ramp(value: Floats, low: float, high: float) -> Floats:
    """Return 0 at `low`, 1 at `high` (which may be the smaller one) and a straight line between."""
    return np.asarray(np.clip((value - low) / (high - low), 0, 1), np.float32)


def smooth(volume: NDArray[Any], sigma: float) -> Floats:
    """Return `volume` blurred by a Gaussian of `sigma` voxels, as float32."""
    return np.asarray(_ndimage().gaussian_filter(volume, sigma, output=np.float32, truncate=3.0), np.float32)
