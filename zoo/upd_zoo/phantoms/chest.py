"""Synthetic frontal chest radiographs, with and without the study's three findings.

An image is made as a radiograph is: tissue thickness is added up along the beam (body, heart, vessels, bone; the lungs
take away), and a film curve 1 - exp(-exposure x thickness) turns it into grey. `draw_*` takes a generator and returns
parameters in unit coordinates; `apply_*` and `render_chest` are deterministic. A finding changes thickness only where
it lies, so the rest of the image is bit-identical with and without it.

Source of the findings: section V-A of the study (CheXpert: pleural effusion, opacity, enlarged cardiomediastinum).
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.chest_anatomy import (
    ChestAnatomy,
    Fields,
    Lungs,
    Mediastinum,
    Pair,
    View,
    air,
    draw_chest,
    look,
    lung_fields,
    markings,
    silhouette,
    solid,
)
from upd_zoo.phantoms.drawing import FloatArray, draw_knots, elliptic_radius, generator, smooth_field, soft_step

_KIND: Final = 1
"""Sets the generators of chests apart from those of other phantoms with the same seed and subject."""


class Finding(StrEnum):
    """What can be wrong with a chest phantom."""

    EFFUSION = "effusion"
    OPACITY = "opacity"
    ENLARGED = "enlarged"
    """Heart or mediastinum wider than the subject's own."""


class ChestPhantom(NamedTuple):
    """A radiograph and its truth.

    Attributes:
        image: (size, size) float32 in [0, 1]; bone is bright.
        mask: (size, size) uint8, 1 where the finding is; all 0 in a healthy chest.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Effusion:
    """Fluid at the base of one lung or both.

    Attributes:
        height: Level of the fluid above the tip of the costophrenic angle, (right, left); 0 where there is none.
        meniscus: How much higher the fluid stands at the chest wall than in the middle.
        thickness: Of the fluid, in units of the trunk's.
        density: Share of the air that it replaces.
    """

    height: Pair
    meniscus: float
    thickness: float
    density: float = 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Opacity:
    """Patches of lung in which fluid has replaced air.

    Attributes:
        patches: (n, 5) float32: centre (u, v), semi-axes and turn of each patch.
        ragged: (22, 22) knots of what makes the borders ill-defined.
        density: Share of the air that is replaced, in (0, 1].
        thickness: What swelling adds, in units of the trunk's.
    """

    patches: FloatArray
    ragged: FloatArray
    density: float
    thickness: float = 0.05


@dataclass(frozen=True, slots=True)
class Enlargement:
    """Factors on the subject's own heart and on the band of great vessels above it; 1 changes nothing."""

    heart: float
    band: float


def draw_effusion(rng: np.random.Generator, anatomy: ChestAnatomy) -> Effusion:
    """Draw fluid on one side (two thirds) or both, from a blunted angle to half a lung."""
    depth = max(anatomy.lungs.angle_depth)
    right, left = (float(depth * rng.uniform(0.7, 1.2) + 0.3 * rng.beta(1.0, 2.2)) for _ in range(2))
    sides = int(rng.integers(0, 3))
    height = (0.0 if sides == 1 else right, 0.0 if sides == 0 else left)
    return Effusion(height, rng.uniform(0.05, 0.13), rng.uniform(0.25, 0.6))


def draw_opacity(rng: np.random.Generator, anatomy: ChestAnatomy) -> Opacity:
    """Draw one to three patches of consolidation in one lung, within a lobe of each other."""
    side, lungs = int(rng.integers(0, 2)), anatomy.lungs
    low, high = lungs.apex[side] + 0.12, lungs.dome[side] - 0.06
    centre = np.array([rng.uniform(0.17, 0.24) + 0.03 * side, rng.uniform(low, high)])
    count = int(rng.integers(1, 4))
    spots = centre + rng.normal(0, 0.035, (count, 2))
    spots[:, 0] *= (-1.0, 1.0)[side]
    axes = rng.uniform(0.06, 0.125, (count, 2))
    patches = np.column_stack([spots, axes, rng.uniform(0, np.pi, count)]).astype(np.float32)
    return Opacity(patches, draw_knots(rng, 22), rng.uniform(0.55, 0.9))


def draw_enlargement(rng: np.random.Generator) -> Enlargement:
    """Draw an enlarged heart (half of the time), wider great vessels (a quarter), or both."""
    heart, band = rng.uniform(1.28, 1.65), rng.uniform(1.4, 1.9)
    which = rng.random()
    return Enlargement(heart if which < 0.75 else 1.0, band if which >= 0.5 else 1.0)


def apply_enlargement(mediastinum: Mediastinum, enlargement: Enlargement) -> Mediastinum:
    """Return the mediastinum with its heart and band enlarged, the heart's right border nearly where it was."""
    heart, band = enlargement.heart, enlargement.band
    (x, y), axes, atrium = mediastinum.heart_centre, mediastinum.heart_axes, mediastinum.atrium_axes
    return replace(
        mediastinum,
        heart_centre=(x + 0.35 * (heart - 1) * axes[0], y - 0.1 * (heart - 1) * axes[0]),
        heart_axes=(axes[0] * heart, axes[1] * heart),
        atrium_axes=(atrium[0] * (0.6 + 0.4 * heart), atrium[1]),
        band=(mediastinum.band[0] * band, mediastinum.band[1] * band),
    )


def apply_effusion(effusion: Effusion, lungs: Lungs, view: View, fields: Fields) -> FloatArray:
    """Return the share of every pixel that fluid fills: all below the meniscus, wherever there is lung."""
    tip = view.pick(lungs.dome) + view.pick(lungs.angle_depth)
    height = view.pick(effusion.height)
    wall = np.clip(view.across / fields.border, 0, 1) ** 4
    level = tip - height - effusion.meniscus * wall
    return soft_step(view.v - level, 0.03) * (height > 0) * fields.inside


def apply_opacity(opacity: Opacity, view: View, fields: Fields, size: int) -> FloatArray:
    """Return the share of every pixel that is consolidated: ragged patches, wherever there is lung."""
    heap = np.zeros_like(view.u)
    for u, v, along, across, turn in opacity.patches:
        radius = elliptic_radius(view.u - u, view.v - v, (along, across), turn)
        heap = np.maximum(heap, np.exp(-0.7 * radius * radius))
    ragged = heap * (1 + 0.35 * smooth_field(opacity.ragged, size))
    return soft_step(ragged - 0.46, 0.38) * fields.inside


def draw_finding(rng: np.random.Generator, finding: Finding, anatomy: ChestAnatomy) -> Effusion | Opacity | Enlargement:
    """Draw the parameters of a finding in a given chest."""
    if finding is Finding.EFFUSION:
        return draw_effusion(rng, anatomy)
    return draw_opacity(rng, anatomy) if finding is Finding.OPACITY else draw_enlargement(rng)


def render_chest(
    anatomy: ChestAnatomy, condition: Effusion | Opacity | Enlargement | None = None, size: int = 128
) -> ChestPhantom:
    """Take the radiograph of a chest, healthy or with one finding.

    Args:
        anatomy: The healthy chest.
        condition: The finding's parameters, or None.
        size: Height and width in pixels.

    Raises:
        UsageError: `size` is too small.
    """
    view = look(anatomy, size)
    fields = lung_fields(anatomy.lungs, view)
    shadow, heart = silhouette(anatomy.mediastinum, view, fields)
    cover, density, added = np.zeros_like(view.u), 0.0, 0.0
    mask = np.zeros((size, size), dtype=np.bool_)
    if isinstance(condition, Enlargement):
        healthy, (shadow, heart) = shadow, silhouette(apply_enlargement(anatomy.mediastinum, condition), view, fields)
        mask = (shadow > 0.5) & (healthy <= 0.5) & (fields.inside > 0.5)
    elif condition is not None:
        cover = _cover(condition, anatomy, view, fields, size)
        density, added = condition.density, condition.thickness
        mask = cover * (1 - shadow) > 0.5
    clear = (1 - shadow) * (1 - density * cover)
    lung = air(anatomy, view, fields, size) - markings(anatomy, view, size) * fields.inside
    thickness = solid(anatomy, view, fields, size) + heart - lung * clear + added * cover * (1 - shadow)
    return ChestPhantom(_develop(thickness, anatomy), mask.astype(np.uint8))


def _cover(condition: Effusion | Opacity, anatomy: ChestAnatomy, view: View, fields: Fields, size: int) -> FloatArray:
    """Return the share of every pixel that fluid or consolidation fills."""
    if isinstance(condition, Effusion):
        return apply_effusion(condition, anatomy.lungs, view, fields)
    return apply_opacity(condition, view, fields, size)


def _develop(thickness: FloatArray, anatomy: ChestAnatomy) -> FloatArray:
    """Turn thickness into grey by the film's curve, and add its grain."""
    exposure, black, white, noise = anatomy.film
    grey = black + (white - black) * (1 - np.exp(-exposure * np.clip(thickness, 0, None)))
    grain = smooth_field(anatomy.grain, len(thickness))
    return np.asarray(np.clip(grey + noise * grain, 0, 1), dtype=np.float32)


def chest_phantom(seed: int, subject: int, finding: Finding | None = None, size: int = 128) -> ChestPhantom:
    """Make the chest radiograph of a subject, healthy or with one finding.

    Args:
        seed: Which population of phantoms.
        subject: Which of its people; the same person is drawn whatever the finding.
        finding: What is wrong, or None for a healthy chest.
        size: Height and width in pixels; changes the resolution, not the anatomy.

    Raises:
        UsageError: `seed` or `subject` is negative, or `size` is too small.
    """
    anatomy = draw_chest(generator(seed, subject, _KIND, 0))
    if finding is None:
        return render_chest(anatomy, None, size)
    rng = generator(seed, subject, _KIND, 1 + list(Finding).index(finding))
    return render_chest(anatomy, draw_finding(rng, finding, anatomy), size)
