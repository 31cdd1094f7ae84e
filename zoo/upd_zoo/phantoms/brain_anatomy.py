"""The anatomy of a synthetic brain: an individual grown from the MNI152 tissue templates.

The templates are averages of 152 people: their deep structures are sharp and their cortex is a haze. An individual is
made in three steps, all of them functions of a point in template space:

    warp       a point of the scan -> a point of the template   (size, pose, smooth displacement, ventricle size)
    templates  a point of the template -> log-odds of the tissues
    folds      the nodal lines of a random wave on the head's ellipsoid, extended inwards, become this person's sulci;
               near the surface they take the place of the averaged gyri

Fractions of tissue follow from the log-odds, so boundaries are crisp while voxels that straddle one stay mixed.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.brain_templates import HEAD_CENTRE, HEAD_RADII, Floats, ramp, smooth, templates

VOXEL_SIZE: Final = 1.875
"""Millimetres; SRI24's 240 mm field of view over 128 pixels."""
SHAPE: Final = (128, 128, 94)
_CENTRE: Final = (0.0, -16.5, 6.0)  # of the template's brain, mm
BOX: Final = (slice(17, 111), slice(6, 120), slice(0, 94))
"""The part of the scan that is computed; at most the cut end of a brain stem leaves it."""
_BOX_SHAPE: Final = (94, 114, 94)
_KNOT_SPACING: Final = 18.0


def grid_affine() -> NDArray[np.float64]:
    """Return the (4, 4) matrix from voxel indices to millimetres, RAS+."""
    affine = np.diag([VOXEL_SIZE, VOXEL_SIZE, VOXEL_SIZE, 1.0])
    affine[:3, 3] = np.array(_CENTRE) - VOXEL_SIZE * (np.array(SHAPE) - 1) / 2
    return affine


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What makes one person's brain.

    Attributes:
        linear: (3, 3) rotation and size, from the scan to the template.
        shift: (3,) mm.
        knots: (3, I, J, K) mm, displacement at the knots of a cubic B-spline.
        ventricles: (2,) mm by which the left and the right ventricle's walls move outwards.
        waves: (N, 3) radians per mm, wave vectors of the folds.
        phases: (2, N) radians, of the left and the right hemisphere.
        sulcal_depth: mm.
        sulcal_width: mm of fluid to each side of a sulcus at the surface; age widens it.
        cortex: mm, thickness of grey matter.
    """

    linear: Floats
    shift: Floats
    knots: Floats
    ventricles: Floats
    waves: Floats
    phases: Floats
    sulcal_depth: float
    sulcal_width: float
    cortex: float


def draw_anatomy(generator: np.random.Generator) -> Anatomy:
    """Draw one person."""
    turns = generator.normal(0, np.deg2rad(1.5), 3).clip(-0.06, 0.06)
    sizes = (1 + generator.normal(0, 0.022, 3)).clip(0.95, 1.05)
    age = generator.beta(1.6, 2.2)
    return Anatomy(
        linear=np.asarray(rotation_about_axes(turns) / sizes, np.float32),
        shift=np.asarray(generator.normal(0, 1.0, 3).clip(-2, 2), np.float32),
        knots=_draw_knots(generator),
        ventricles=np.asarray(-0.8 + 4.2 * age + generator.normal(0, 0.4, 2), np.float32),
        waves=draw_waves(generator, 20, 23.0),  # gyri are about 11 mm wide
        phases=np.asarray(generator.uniform(0, 2 * np.pi, (2, 20)), np.float32),
        sulcal_depth=float(generator.uniform(14, 20)),
        sulcal_width=float(0.5 + 0.9 * age),
        cortex=float(generator.uniform(2.5, 3.1)),
    )


def rotation_about_axes(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about x, then y, then z by `turns`, radians."""
    product = np.eye(3)
    for axis, turn in enumerate(turns):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        matrix = np.eye(3)
        matrix[one, one] = matrix[other, other] = np.cos(turn)
        matrix[one, other], matrix[other, one] = -np.sin(turn), np.sin(turn)
        product = matrix @ product
    return product


def _draw_knots(generator: np.random.Generator) -> Floats:
    """Draw displacements of about 3 mm that differ over a lobe, and of about 1.5 mm that differ over a gyrus."""
    white = generator.standard_normal((2, 3, *(_basis(axis).shape[1] for axis in range(3))))
    lobes = np.stack([smooth(component, 1.3) for component in white[0]])
    return np.asarray((3.0 / lobes.std()) * lobes + 1.5 * white[1], np.float32)


def draw_waves(generator: np.random.Generator, count: int, wavelength: float) -> Floats:
    """Draw (count, 3) wave vectors, radians per mm, of random directions and about one wavelength (mm)."""
    directions = generator.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = 2 * np.pi / (wavelength * generator.uniform(0.8, 1.25, (count, 1)))
    return np.asarray(directions * lengths, np.float32)


def project(points: Floats, direction: Floats) -> Floats:
    """Return the scalar products, (P,), of points (3, P) with one vector; without BLAS, see `_warp`."""
    x, y, z = direction
    return np.asarray(x * points[0] + y * points[1] + z * points[2], np.float32)


def sum_of_waves(points: Floats, waves: Floats, phases: Floats) -> Floats:
    """Return a smooth random field of mean 0 and variance 1 at `points` (3, P); waves (N, 3), phases (N,)."""
    total = np.zeros(points.shape[1], np.float32)
    for wave, phase in zip(waves, phases, strict=True):
        total += np.cos(project(points, wave) + phase)
    return total * np.float32(np.sqrt(2 / len(waves)))


@cache
def _basis(axis: int) -> Floats:
    """Return the cubic B-splines of the box's knots along one axis, (voxels, knots)."""
    length = _BOX_SHAPE[axis]
    step = _KNOT_SPACING / VOXEL_SIZE
    knots = np.arange(-1, np.ceil((length - 1) / step) + 2)
    distance = np.abs(np.arange(length)[:, None] / step - knots[None])
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
    return np.asarray(np.where(distance < 1, near, far), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Where the voxels of one scan's brain lie; P of them, in the order of the box.

    Attributes:
        brain: (X, Y, Z) bool, the brain in the whole scan.
        points: (3, P) float32 mm in template space.
        depth: (P,) float32 mm below the brain's surface.
    """

    brain: NDArray[np.bool_]
    points: Floats
    depth: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """What the voxels of a brain are made of; fractions sum to one; all (P,) float32.

    Attributes:
        fluid: Fraction of cerebrospinal fluid.
        grey: Fraction of grey matter.
        white: Fraction of white matter.
        detail: Shade of deep nuclei and brain stem, in units of the white-grey contrast.
    """

    fluid: Floats
    grey: Floats
    white: Floats
    detail: Floats

    def take(self, voxels: NDArray[np.intp]) -> "Tissue":
        """Return what the given voxels are made of."""
        return Tissue(self.fluid[voxels], self.grey[voxels], self.white[voxels], self.detail[voxels])


def apply_anatomy(anatomy: Anatomy) -> Head:
    """Place one person's brain in the scan."""
    points = _warp(anatomy).reshape(3, -1)
    depth = templates().depth.at(points)
    skin = np.flatnonzero(np.abs(depth) < 2)  # no skull stripping is as smooth as an average of many
    depth[skin] += np.float32(0.6) * sum_of_waves(points[:, skin], anatomy.waves, anatomy.phases[0])
    inside = depth > 0
    brain = np.zeros(SHAPE, bool)
    brain[BOX] = inside.reshape(_BOX_SHAPE)
    return Head(brain, points[:, inside], depth[inside])


def _warp(anatomy: Anatomy) -> Floats:
    """Return the template's point, mm, for every voxel of the box: (3, X, Y, Z)."""
    centre = np.array(_CENTRE, np.float32)
    axes = [
        VOXEL_SIZE * (np.arange(side.start, side.stop, dtype=np.float32) - (length - 1) / 2)
        for side, length in zip(BOX, SHAPE, strict=True)
    ]
    x, y, z = (anatomy.linear[:, axis, None] * axes[axis] for axis in range(3))
    points = (x + (centre + anatomy.shift)[:, None])[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    # einsum, not BLAS: the sum's order, and so its last bit, must not depend on the number of threads.
    displacement = np.einsum("cijk,xi->cxjk", anatomy.knots, _basis(0))
    displacement = np.einsum("cxjk,yj->cxyk", displacement, _basis(1))
    for knot, weight in enumerate(_basis(2).T):
        points += displacement[..., knot, None] * weight
    return np.asarray(points, np.float32)


def tissue_at(anatomy: Anatomy, points: Floats, depth: Floats) -> Tissue:
    """Return the tissues of one person at points (3, P) of template space, mm.

    Args:
        anatomy: The person.
        points: Where; a mass effect is a displacement of these.
        depth: (P,) mm below the brain's surface.
    """
    atlas = templates()
    points = points - _swelling(anatomy, points)
    white, fluid = 1.4 * atlas.white.at(points), 1.4 * atlas.fluid.at(points)
    cortical = atlas.cortical.at(points)
    folded = np.flatnonzero(cortical > 0.01)
    white_folds, fluid_folds = _folds(anatomy, points[:, folded], depth[folded])
    share = cortical[folded]
    averaged = white[folded]
    white[folded] += share * (np.minimum(averaged + 1, white_folds) - averaged)
    fluid[folded] = np.maximum(fluid[folded], share * fluid_folds - 4 * (1 - share))
    wet, bright = sigmoid(fluid), sigmoid(white)
    return Tissue(wet, (1 - wet) * (1 - bright), (1 - wet) * bright, atlas.detail.at(points))


def _swelling(anatomy: Anatomy, points: Floats) -> Floats:
    """Return how far, (3, P) mm, the walls of this person's ventricles lie outside the template's."""
    left, right = anatomy.ventricles
    size = left + (right - left) * ramp(points[0], -8, 8)
    return np.stack([size * component.at(points) for component in templates().growth])


def _folds(anatomy: Anatomy, points: Floats, depth: Floats) -> tuple[Floats, Floats]:
    """Return the log-odds of white matter and of fluid that this person's sulci imply.

    Sulci are the nodal lines of a random wave on an ellipsoid, extended towards its centre: they wind, and lie about
    half a wavelength apart, a gyrus between two of them. The midline counts as surface, for the medial cortex.
    """
    ray = (points - HEAD_CENTRE[:, None]) / HEAD_RADII[:, None]
    radius = np.linalg.norm(ray, axis=0)
    ray *= HEAD_RADII[:, None] * (np.float32(0.75) / radius + np.float32(0.25))  # a quarter astray: sheets bend
    depth = np.minimum(depth, np.abs(points[0]))
    distance = np.empty(points.shape[1], np.float32)
    right = points[0] > 0
    for side, phases in zip((~right, right), anatomy.phases, strict=True):
        distance[side] = _distance_to_node(ray[:, side], anatomy.waves, phases)
    distance *= np.clip(radius, 0.4, 1.2)
    fundus = ramp(depth, anatomy.sulcal_depth + 4, anatomy.sulcal_depth - 2)
    banks = distance + 6 * (1 - fundus) - anatomy.cortex * fundus
    white = np.minimum(banks, depth - anatomy.cortex - 1.5) * np.float32(2.0)
    width = anatomy.sulcal_width * ramp(depth, anatomy.sulcal_depth, 0) + 1.2 * ramp(depth, 6, 0) - 0.1
    fluid = (width - distance) * np.float32(3.0)
    return white.clip(-5, 5), fluid.clip(-5, 3)


def _distance_to_node(points: Floats, waves: Floats, phases: Floats) -> Floats:
    """Return about how far, mm, the points (3, P) lie from where the sum of waves is zero: |b| / |grad b|."""
    wave, slope = np.zeros(points.shape[1], np.float32), np.zeros(points.shape, np.float32)
    for vector, phase in zip(waves, phases, strict=True):
        angle = project(points, vector) + phase
        wave += np.cos(angle)
        slope += vector[:, None] * np.sin(angle)
    typical = np.sqrt((waves**2).sum() / 2)
    return np.asarray(np.abs(wave) / np.maximum(np.linalg.norm(slope, axis=0), 0.4 * typical), np.float32)


def sigmoid(log_odds: Floats) -> Floats:
    """Return the probability that log-odds stand for."""
    return np.asarray(1 / (1 + np.exp(-log_odds.clip(-30, 30))), np.float32)
