"""Lesions of synthetic brains: tumours that push tissue aside, and strokes that replace it with fluid.

Sizes and intensities follow the study's Fig. 1. Tumours (BraTS) are large, bright in T2 though no brighter than fluid,
and of the same mean as normal tissue in T1, where texture and displaced anatomy give them away. Strokes (ATLAS) are
small and dark in T1. A lesion is defined in template space, so that it takes part in a person's deformation.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.brain_anatomy import (
    Head,
    Tissue,
    draw_waves,
    project,
    rotation_about_axes,
    sigmoid,
    sum_of_waves,
)
from upd_zoo.phantoms.brain_signal import Contrast, Weighting
from upd_zoo.phantoms.brain_templates import HEAD_CENTRE, Floats, ramp, templates


class Lesion(StrEnum):
    """Kinds of pathology."""

    TUMOUR = "tumour"
    """Glioma: core with necrosis, rim and oedema, mass effect."""
    STROKE = "stroke"
    """Old infarct: a cortical wedge or a lacune."""


@dataclass(frozen=True, slots=True, eq=False)
class Roughness:
    """A random field that makes an outline irregular.

    Attributes:
        waves: (N, 3) radians per mm.
        phases: (N,) radians.
    """

    waves: Floats
    phases: Floats

    def at(self, points: Floats) -> Floats:
        """Return the field, of mean 0 and variance 1, at points (3, P)."""
        return sum_of_waves(points, self.waves, self.phases)


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """A glioma.

    Attributes:
        centre: (3,) mm in template space.
        shape: (3, 3) from mm to mm on the sphere that the tumour would be, were it round.
        radius: mm, of core and oedema together.
        core: Radius of the core as a fraction of `radius`.
        necrosis: Radius of the necrosis as a fraction of the core's.
        push: Greatest relative compression of the tissue around it, in [0, 1).
        lobes: Coarse irregularity of the outline.
        fingers: Fine irregularity.
        texture: Heterogeneity inside.
        levels: (4,) factors on the intensities of oedema, core, rim and necrosis.
    """

    centre: Floats
    shape: Floats
    radius: float
    core: float
    necrosis: float
    push: float
    lobes: Roughness
    fingers: Roughness
    texture: Roughness
    levels: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """An old infarct.

    Attributes:
        centre: (3,) mm in template space; of a wedge, the middle of its base on the cortex.
        axis: (3,) unit vector, from the base of a wedge to its tip, or along a lacune.
        length: mm along the axis.
        width: mm, half the extent across it.
        wedge: Whether the infarct narrows from a base on the cortex; else it is a lacune.
        softening: Share of tissue that fluid has replaced, in [0, 1].
        outline: Irregularity.
    """

    centre: Floats
    axis: Floats
    length: float
    width: float
    wedge: bool
    softening: float
    outline: Roughness


# Each part of a tumour as (opacity, fractions of fluid's, grey and white matter's intensity).
_PARTS: Final[dict[Weighting, dict[str, tuple[float, tuple[float, float, float]]]]] = {
    Weighting.T1: {
        "oedema": (0.80, (0.12, 0.68, 0.20)),
        "core": (0.95, (0.08, 0.62, 0.30)),
        "rim": (0.65, (0.00, 0.25, 0.75)),
        "necrosis": (0.95, (0.50, 0.45, 0.05)),
    },
    Weighting.T2: {
        "oedema": (0.80, (0.55, 0.30, 0.15)),
        "core": (0.95, (0.40, 0.40, 0.20)),
        "rim": (0.60, (0.15, 0.60, 0.25)),
        "necrosis": (0.95, (0.85, 0.10, 0.05)),
    },
}


def draw_lesion(generator: np.random.Generator, kind: Lesion) -> Tumour | Stroke:
    """Draw one lesion of a kind."""
    return draw_tumour(generator) if kind is Lesion.TUMOUR else draw_stroke(generator)


def draw_tumour(generator: np.random.Generator) -> Tumour:
    """Draw a glioma centred in the white matter of a hemisphere."""
    radius = float(np.clip(generator.lognormal(np.log(21), 0.33), 11, 38))
    stretch = generator.lognormal(0, 0.15, 3)
    rotation = rotation_about_axes(generator.uniform(0, np.pi, 3))
    return Tumour(
        centre=_draw_place(generator, "white"),
        shape=np.asarray(rotation / (stretch / stretch.prod() ** (1 / 3)), np.float32),
        radius=radius,
        core=float(generator.uniform(0.45, 0.75)),
        necrosis=float(generator.uniform(0.35, 0.8)),
        push=float(generator.uniform(0.3, 0.55)),
        lobes=_draw_roughness(generator, 1.7 * radius),
        fingers=_draw_roughness(generator, 0.6 * radius),
        texture=_draw_roughness(generator, 9.0),
        levels=np.asarray(generator.normal(1, 0.06, 4), np.float32),
    )


def draw_stroke(generator: np.random.Generator) -> Stroke:
    """Draw an infarct: three in five are wedges on the cortex, the others lacunes around the ventricles."""
    wedge = bool(generator.random() < 0.6)
    centre = _draw_place(generator, "cortex" if wedge else "deep")
    inwards = np.array([0.35, 0.6, 0.6]) * (HEAD_CENTRE - centre) if wedge else np.zeros(3)
    axis = inwards / max(float(np.linalg.norm(inwards)), 1.0) + generator.normal(0, 0.3, 3)
    length, width = ((20, 8) if wedge else (9, 3.5)) * generator.lognormal(0, 0.3, 2).clip(0.55, 1.9)
    return Stroke(
        centre=centre,
        axis=np.asarray(axis / np.linalg.norm(axis), np.float32),
        length=float(length),
        width=float(width),
        wedge=wedge,
        softening=float(generator.uniform(0.5, 0.9)),
        outline=_draw_roughness(generator, 12.0 if wedge else 7.0),
    )


def _draw_roughness(generator: np.random.Generator, wavelength: float) -> Roughness:
    waves = draw_waves(generator, 10, wavelength)
    return Roughness(waves, np.asarray(generator.uniform(0, 2 * np.pi, 10), np.float32))


def _draw_place(generator: np.random.Generator, region: str) -> Floats:
    """Draw a point, mm in template space, from one of the regions where lesions arise."""
    places = _places()[region]
    place = places[generator.integers(len(places))] + generator.uniform(-1, 1, 3)
    return np.asarray(place, np.float32)


@cache
def _places() -> dict[str, Floats]:
    """Return the template's points, (N, 3) mm, where each kind of lesion may have its centre."""
    atlas = templates()
    indices = np.indices(atlas.depth.values.shape, dtype=np.float32).reshape(3, -1)
    points = atlas.depth.spacing * indices + atlas.depth.origin[:, None]
    points = points[:, (atlas.depth.at(points) > 2) & (points[2] > -8) & (points[2] < 56) & (np.abs(points[0]) > 12)]
    depth, solid = atlas.depth.at(points), atlas.fluid.at(points) < -1
    wall = np.linalg.norm([component.at(points) for component in atlas.growth], axis=0)
    regions = {
        "white": (atlas.white.at(points) > 1) & solid & (depth > 12),
        "cortex": (np.abs(depth - 4) < 1) & (atlas.cortical.at(points) > 0.9) & (np.abs(points[0]) > 20),
        "deep": solid & (wall > 0.15) & (depth > 22),
    }
    return {name: points[:, region].T for name, region in regions.items()}


def apply_mass_effect(tumour: Tumour, head: Head) -> Floats:
    """Return the points (3, P), mm in template space, whose tissue the tumour has pushed to each voxel.

    Tissue moves away from the centre and is squeezed around the core. The brain's surface, held by the skull, stays.
    """
    offset = head.points - tumour.centre[:, None]
    reach = tumour.radius * (0.6 + 0.6 * tumour.core)
    squeeze = np.exp(-np.square(np.linalg.norm(offset, axis=0) / reach))
    return np.asarray(head.points - tumour.push * squeeze * ramp(head.depth, 0, 12) * offset, np.float32)


def apply_lesion(
    lesion: Tumour | Stroke, head: Head, tissue: Tissue, signal: Floats, contrast: Contrast, weighting: Weighting
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the intensities of a brain with a lesion, (P,) float32, and which voxels are pathological, (P,) bool.

    Args:
        lesion: The lesion.
        head: Where the voxels lie.
        tissue: What they were made of, mass effect included.
        signal: (P,) their intensity before.
        contrast: Intensities of the pure tissues in this scan.
        weighting: The scan's weighting.
    """
    near = np.flatnonzero(np.linalg.norm(head.points - lesion.centre[:, None], axis=0) < _reach(lesion))
    points, before = head.points[:, near], signal[near]
    if isinstance(lesion, Tumour):
        after, share = _grow(lesion, points, tissue.take(near), before, contrast, weighting)
    else:
        share = _infarct(lesion, points)
        after = before + share * lesion.softening * (contrast.fluid - before)
    signal, inside = signal.copy(), np.zeros(signal.shape, bool)
    signal[near], inside[near] = after, share > 0.5
    return signal, inside


def _reach(lesion: Tumour | Stroke) -> float:
    return 2.5 * lesion.radius if isinstance(lesion, Tumour) else 2 * lesion.length + 2 * lesion.width + 6


def _grow(
    tumour: Tumour, points: Floats, tissue: Tissue, signal: Floats, contrast: Contrast, weighting: Weighting
) -> tuple[Floats, Floats]:
    """Return the intensities with the tumour, and how far each voxel belongs to it, both (P,)."""
    texture = tumour.texture.at(points)
    memberships = _memberships(tumour, points, tissue, texture)
    for (name, (opacity, fractions)), level in zip(_PARTS[weighting].items(), tumour.levels, strict=True):
        heterogeneity = 1 + np.float32(0.05 if name == "oedema" else 0.10) * texture
        share = np.float32(opacity) * memberships[name]
        signal = signal + share * (level * np.float32(contrast.mix(*fractions)) * heterogeneity - signal)
    return signal, np.maximum(memberships["oedema"], memberships["core"])


def _memberships(tumour: Tumour, points: Floats, tissue: Tissue, texture: Floats) -> dict[str, Floats]:
    """Return how far each voxel belongs to each part of the tumour, (P,) in [0, 1].

    Oedema creeps along white matter, stops at the cortex and spares fluid; the core grows through everything.
    """
    offset = points - tumour.centre[:, None]
    distance = np.linalg.norm([project(offset, row) for row in tumour.shape], axis=0)
    distance += tumour.radius * (np.float32(0.12) * tumour.lobes.at(points))
    distance += np.maximum(0, -np.sign(tumour.centre[0]) * points[0])  # the falx holds back what would cross
    fingers = tumour.fingers.at(points)
    preference = 5 * (tissue.white - 0.6) - 12 * tissue.fluid
    core_radius = tumour.core * tumour.radius
    wall = np.float32(0.05) * tumour.radius * fingers
    necrosis = tumour.necrosis * core_radius - distance + 2 * wall + np.float32(0.8) * texture
    core = core_radius - distance + wall
    return {
        "oedema": sigmoid((tumour.radius - distance + 2 * wall + preference) / np.float32(0.9)),
        "core": sigmoid(core / np.float32(0.7)),
        "rim": sigmoid(core / np.float32(0.7)) * np.exp(-np.square((necrosis + 2) / np.float32(2.0))),
        "necrosis": sigmoid(necrosis / np.float32(0.7)),
    }


def _infarct(stroke: Stroke, points: Floats) -> Floats:
    """Return how far each voxel belongs to the infarct, (P,) in [0, 1]."""
    offset = points - stroke.centre[:, None]
    along = project(offset, stroke.axis)
    across = np.linalg.norm(offset - stroke.axis[:, None] * along, axis=0)
    if stroke.wedge:
        margin = np.minimum(stroke.width * (1.1 - along / stroke.length) - across, along + 7)
    else:
        margin = stroke.width * (1 - np.hypot(2 * along / stroke.length, across / stroke.width))
    irregular = margin + np.float32(0.22 * stroke.width) * stroke.outline.at(points)
    return sigmoid(irregular / np.float32(0.7))
