"""Fundus photographs of eyes that do not exist, with and without the lesions of diabetic retinopathy.

Colours are laid over each other as they lie in the eye: pigment and choroid, macula, optic disc, vessels, lesions; then
come the camera's light, field and noise. `draw_*` takes a generator and returns parameters in unit coordinates;
`apply_lesions` and `render_fundus` are deterministic. Lesions change only the pixels they touch.

Source of the lesions: section V-A of the study (DDR: microaneurysms, haemorrhages, hard and soft exudates, combined
into one mask; by far the smallest lesions of the study's data sets).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.drawing import Ellipses, FloatArray, ellipse_coverage, generator, smooth_field
from upd_zoo.phantoms.fundus_anatomy import FundusAnatomy, draw_fundus, field_of_view, illumination, retina

_KIND: Final = 2
"""Sets the generators of fundi apart from those of other phantoms with the same seed and subject."""


class FundusPhantom(NamedTuple):
    """A photograph and its truth.

    Attributes:
        image: (3, size, size) float32 in [0, 1], red, green, blue.
        mask: (size, size) uint8, 1 where a pixel is mainly lesion; all 0 in a healthy eye.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Lesions:
    """The four lesions that DDR outlines; haemorrhages are round blots or flames along the nerve fibres."""

    microaneurysms: Ellipses
    blots: Ellipses
    flames: Ellipses
    hard_exudates: Ellipses
    soft_exudates: Ellipses


def draw_lesions(rng: np.random.Generator, anatomy: FundusAnatomy) -> Lesions:
    """Draw the lesions of a diseased eye, mild more often than severe; there is always at least one blot."""
    severity = 0.25 + rng.beta(1.0, 1.8)
    blots = 1 + rng.poisson(5 * severity)
    return Lesions(
        microaneurysms=_draw_spots(rng, _draw_places(rng, anatomy, rng.poisson(14 * severity)), (0.003, 0.0055), 0.9),
        blots=_draw_blobs(rng, _draw_places(rng, anatomy, blots), (0.009, 0.016)),
        flames=_draw_flames(rng, anatomy, rng.poisson(2 * severity)),
        hard_exudates=_draw_hard_exudates(rng, anatomy, rng.poisson(2.2 * severity)),
        soft_exudates=_draw_blobs(rng, _draw_places(rng, anatomy, rng.poisson(0.9 * severity)), (0.013, 0.025)),
    )


def _draw_places(rng: np.random.Generator, anatomy: FundusAnatomy, count: int) -> FloatArray:
    """Draw (count, 2) places around the macula, inside field and image and off the optic disc.

    There are eight candidates for each place, which was enough in all of 1000 eyes; else fewer places come back.
    """
    away = 0.42 * np.sqrt(rng.uniform(0.01, 1, 8 * count + 8))
    angle = rng.uniform(0, 2 * np.pi, len(away))
    places = np.array(anatomy.macula.fovea) + away[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    camera, disc = anatomy.camera, anatomy.disc
    inside = np.hypot(*(places - camera.centre).T) < 0.92 * camera.radius
    inside &= np.abs(places[:, 1] - camera.centre[1]) < camera.cut - 0.04
    inside &= (np.abs(places - 0.5) < 0.47).all(axis=1)
    inside &= np.hypot(*(places - disc.centre).T) > 1.4 * disc.semi_axes[1]
    chosen: FloatArray = places[inside][:count].astype(np.float32)
    return chosen


def _draw_spots(
    rng: np.random.Generator, centres: FloatArray, radius: tuple[float, float], roundness: float
) -> Ellipses:
    """Draw ellipses at `centres`, their shorter axis at least `roundness` of the longer one."""
    count = len(centres)
    semi_axes = rng.uniform(*radius, (count, 1)) * np.stack([np.ones(count), rng.uniform(roundness, 1, count)], axis=1)
    angles = rng.uniform(0, np.pi, count)
    return Ellipses(centres, semi_axes.astype(np.float32), angles.astype(np.float32))


def _draw_blobs(rng: np.random.Generator, centres: FloatArray, radius: tuple[float, float]) -> Ellipses:
    """Draw irregular patches at `centres`: a full ellipse each, and two smaller ones that bulge out of it."""
    whole = _draw_spots(rng, centres, radius, 0.7)
    reach = np.repeat(whole.semi_axes[:, :1], 2, axis=0)
    bulges = np.repeat(centres, 2, axis=0) + (0.55 * reach * rng.standard_normal((len(reach), 2))).astype(np.float32)
    smaller = (reach * rng.uniform(0.4, 0.7, (len(reach), 2))).astype(np.float32)
    angles = rng.uniform(0, np.pi, len(reach)).astype(np.float32)
    return Ellipses(
        np.concatenate([whole.centres, bulges]),
        np.concatenate([whole.semi_axes, smaller]),
        np.concatenate([whole.angles, angles]),
    )


def _draw_flames(rng: np.random.Generator, anatomy: FundusAnatomy, count: int) -> Ellipses:
    """Draw flame haemorrhages: slender and along the nerve fibres, which fan out from the disc."""
    centres = _draw_places(rng, anatomy, count)
    away = centres - np.array(anatomy.disc.centre, dtype=np.float32)
    angles = np.arctan2(away[:, 1], away[:, 0]) + rng.normal(0, 0.25, len(centres))
    semi_axes = np.stack([rng.uniform(0.016, 0.032, len(centres)), rng.uniform(0.005, 0.009, len(centres))], axis=1)
    return Ellipses(centres, semi_axes.astype(np.float32), angles.astype(np.float32))


def _draw_hard_exudates(rng: np.random.Generator, anatomy: FundusAnatomy, clusters: int) -> Ellipses:
    """Draw clusters of waxy dots; one in three is circinate, a ring about a leak."""
    groups = [np.zeros((0, 2))]
    for centre in _draw_places(rng, anatomy, clusters):
        count = int(rng.integers(5, 18))
        scatter = rng.normal(0, rng.uniform(0.008, 0.022), (count, 2))
        if rng.random() < 1 / 3:
            angle = rng.uniform(0, rng.uniform(3, 6), count)
            scatter = 0.3 * scatter + rng.uniform(0.03, 0.055) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        groups.append(centre + scatter)
    return _draw_spots(rng, np.concatenate(groups).astype(np.float32), (0.003, 0.0085), 0.5)


def apply_lesions(colours: FloatArray, lesions: Lesions, anatomy: FundusAnatomy) -> tuple[FloatArray, FloatArray]:
    """Lay lesions over a retina: blood takes light away, exudates cover what lies below.

    Args:
        colours: (3, size, size), before light and field.
        lesions: What to lay over it.
        anatomy: Gives exudates their brightness relative to the retina.

    Returns:
        The colours with lesions, and the share of every pixel that is lesion, (size, size) in [0, 1].
    """
    size = colours.shape[-1]
    spots, blots = ellipse_coverage(lesions.microaneurysms, size), ellipse_coverage(lesions.blots, size, 0.003)
    blood = np.maximum.reduce([spots, blots, ellipse_coverage(lesions.flames, size, 0.003)])
    wax, wool = ellipse_coverage(lesions.hard_exudates, size), ellipse_coverage(lesions.soft_exudates, size, 0.008)
    red, green, _ = anatomy.pigment
    pale, yellow = np.array([red, green, 0.65 * green]), np.array([red, green, 0.35 * green])
    colours = colours * (1 - _column(0.34, 0.64, 0.48) * blood)
    colours = colours + 0.8 * wool * (_column(*(0.25 + 0.9 * pale)) * _column(1.0, 1.35, 1.3) - colours)
    colours = colours + 0.92 * wax * (_column(*(0.2 + yellow)) * _column(1.1, 1.6, 0.9) - colours)
    return colours.astype(np.float32), np.maximum.reduce([blood, wool, wax])


def _column(red: float, green: float, blue: float) -> FloatArray:
    """Return a colour that broadcasts over (3, size, size)."""
    return np.array([red, green, blue], dtype=np.float32)[:, None, None]


def render_fundus(anatomy: FundusAnatomy, lesions: Lesions | None = None, size: int = 128) -> FundusPhantom:
    """Take the photograph of a fundus, healthy or diseased.

    Args:
        anatomy: The healthy fundus and the camera.
        lesions: What is wrong with it, or None.
        size: Height and width in pixels.

    Raises:
        UsageError: `size` is too small.
    """
    colours, share = retina(anatomy, size), np.zeros((size, size), dtype=np.float32)
    if lesions is not None:
        colours, share = apply_lesions(colours, lesions, anatomy)
    camera, field = anatomy.camera, field_of_view(anatomy.camera, size)
    grain = np.stack([smooth_field(knots, size) for knots in anatomy.grain])
    image = colours * illumination(camera, size) * field + camera.noise * grain * (0.2 + 0.8 * field)
    mask = ((share > 0.5) & (field > 0.5)).astype(np.uint8)
    image = np.clip(image, 0, 1).astype(np.float32, copy=False)
    step = -1 if camera.left_eye else 1
    return FundusPhantom(np.ascontiguousarray(image[..., ::step]), np.ascontiguousarray(mask[:, ::step]))


def fundus_phantom(seed: int, subject: int, diseased: bool = False, size: int = 128) -> FundusPhantom:
    """Make the fundus photograph of a subject, healthy or with diabetic retinopathy.

    Args:
        seed: Which population of phantoms.
        subject: Which of its people; the same eye is drawn whether or not it is diseased.
        diseased: Whether there are lesions.
        size: Height and width in pixels; changes the resolution, not the anatomy.

    Raises:
        UsageError: `seed` or `subject` is negative, or `size` is too small.
    """
    anatomy = draw_fundus(generator(seed, subject, _KIND, 0))
    lesions = draw_lesions(generator(seed, subject, _KIND, 1), anatomy) if diseased else None
    return render_fundus(anatomy, lesions, size)
