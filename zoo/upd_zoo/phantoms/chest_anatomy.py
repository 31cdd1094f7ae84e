"""A healthy chest in unit coordinates: its anatomy, drawn at random, and how thick each tissue is along the beam.

The patient faces the viewer: the patient's right is on the left of the image. Pairs are (right, left). Thickness is in
units of the trunk's soft tissue; lengths are in units of the image's side.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from upd_zoo.phantoms.drawing import (
    Curves,
    FloatArray,
    Outset,
    dome,
    draw_curves,
    draw_knots,
    draw_sprouts,
    elliptic_radius,
    pixel_centres,
    smooth_field,
    soft_step,
    stroke_coverage,
)

Pair: TypeAlias = tuple[float, float]

_FILLET: Final = 0.02
"""Radius, in image sides, by which the borders of heart and great vessels are rounded into each other."""


@dataclass(frozen=True, slots=True)
class Pose:
    """How the patient stands before the detector: shift, turn in radians, and size relative to the image."""

    shift: tuple[float, float]
    turn: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Habitus:
    """Body outline and soft tissue. Lengths are in units of the image, thickness in units of the trunk's."""

    torso: float
    neck: float
    shoulder: float
    slope: float
    arm_gap: float
    arm_spread: float
    fat: float
    flare: float
    breast: float
    breast_centre: tuple[float, float]
    breast_axes: tuple[float, float]
    stomach_gas: float
    stomach_centre: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Lungs:
    """The two lung fields: apex and dome heights, widths, and how far the costophrenic angle lies below the dome."""

    apex: Pair
    apex_offset: float
    half_width: Pair
    widest: float
    fullness: float
    dome: Pair
    angle_depth: Pair
    air: float


@dataclass(frozen=True, slots=True)
class Mediastinum:
    """Heart, great vessels and airways, relative to the midline."""

    heart_centre: tuple[float, float]
    heart_axes: tuple[float, float]
    heart_tilt: float
    atrium_axes: tuple[float, float]
    band: Pair
    knob: tuple[float, float, float]
    pulmonary: tuple[float, float, float]
    carina: float
    trachea: float


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Ribs, clavicles, shoulder blades, upper arms and spine."""

    first_rib: float
    rib_pitch: float
    rib_drop: Pair
    rib_rise: float
    rib_half_width: float
    rib_thickness: float
    clavicle: Pair
    clavicle_rise: Pair
    vertebra: float
    bone: float


@dataclass(frozen=True, eq=False, slots=True)
class ChestAnatomy:
    """Everything that makes a healthy chest, and the film it is taken on.

    Attributes:
        vessels: Pulmonary vessels from the trunks to the fine branches.
        warp: (2, 6, 6) knots of the displacement that makes no two chests alike.
        texture: (40, 40) knots of the lung's fine structure.
        tissue: (7, 7) knots of uneven soft tissue.
        grain: (110, 110) knots of film noise.
        film: Exposure, black level, white level and noise of the film.
    """

    pose: Pose
    habitus: Habitus
    lungs: Lungs
    mediastinum: Mediastinum
    skeleton: Skeleton
    vessels: tuple[Curves, ...]
    warp: FloatArray
    texture: FloatArray
    tissue: FloatArray
    grain: FloatArray
    film: tuple[float, float, float, float]


def draw_chest(rng: np.random.Generator) -> ChestAnatomy:
    """Draw the anatomy of a healthy chest."""
    lungs = draw_lungs(rng)
    return ChestAnatomy(
        pose=draw_pose(rng),
        habitus=draw_habitus(rng, lungs),
        lungs=lungs,
        mediastinum=draw_mediastinum(rng, lungs),
        skeleton=draw_skeleton(rng, lungs),
        vessels=draw_vessels(rng, lungs),
        warp=rng.standard_normal((2, 6, 6), dtype=np.float32),
        texture=draw_knots(rng, 40),
        tissue=draw_knots(rng, 7),
        grain=draw_knots(rng, 110),
        film=(rng.uniform(0.85, 1.4), rng.uniform(0.0, 0.06), rng.uniform(0.88, 1.0), rng.uniform(0.006, 0.016)),
    )


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw shift, turn and size."""
    shift = rng.uniform(-0.025, 0.025), rng.uniform(-0.03, 0.03)
    return Pose(shift, rng.normal(0, 0.025), rng.uniform(0.97, 1.16), rng.uniform(0.96, 1.08))


def draw_lungs(rng: np.random.Generator) -> Lungs:
    """Draw the lung fields; the right diaphragm is the higher one, the left lung the narrower."""
    u = rng.uniform
    apex, width, dome_level = u(0.10, 0.16), u(0.34, 0.385), u(0.67, 0.8)
    return Lungs(
        apex=(apex, apex + u(-0.008, 0.008)),
        apex_offset=u(0.125, 0.15),
        half_width=(width, width - u(0.0, 0.012)),
        widest=dome_level - u(0.02, 0.06),
        fullness=u(2.0, 2.5),
        dome=(dome_level, dome_level + u(0.015, 0.035)),
        angle_depth=(u(0.075, 0.11), u(0.075, 0.11)),
        air=u(0.66, 0.8),
    )


def draw_habitus(rng: np.random.Generator, lungs: Lungs) -> Habitus:
    """Draw the body around the lungs: a man or a woman, slim to stout."""
    u = rng.uniform
    fat = u(0, 1)
    breast = u(0.2, 0.5) if rng.random() < 0.5 else 0.0
    return Habitus(
        torso=lungs.half_width[0] + 0.04 + 0.07 * fat,
        neck=u(0.10, 0.125) + 0.02 * fat,
        shoulder=u(0.03, 0.1),
        slope=u(0.08, 0.19),
        arm_gap=u(0.005, 0.05),
        arm_spread=u(0.0, 0.25),
        fat=fat,
        flare=u(-0.06, 0.14),
        breast=breast,
        breast_centre=(u(0.2, 0.24), lungs.dome[0] - u(0.05, 0.12)),
        breast_axes=(u(0.14, 0.18), u(0.15, 0.2)),
        stomach_gas=u(0.15, 0.5) if rng.random() < 0.5 else 0.0,
        stomach_centre=(u(0.13, 0.2), lungs.dome[1] + u(0.055, 0.08)),
    )


def draw_mediastinum(rng: np.random.Generator, lungs: Lungs) -> Mediastinum:
    """Draw a heart within the normal half of the chest's width, and the great vessels above it."""
    u = rng.uniform
    floor, top = lungs.dome[1], lungs.apex[1]
    arch = top + u(0.3, 0.36) * (floor - top)
    return Mediastinum(
        heart_centre=(u(0.055, 0.08), floor - u(0.055, 0.085)),
        heart_axes=(u(0.155, 0.185), u(0.1, 0.12)),
        heart_tilt=u(0.6, 1.0),
        atrium_axes=(u(0.085, 0.105), u(0.11, 0.14)),
        band=(u(0.055, 0.07), u(0.055, 0.07)),
        knob=(u(0.04, 0.055), arch, u(0.034, 0.046)),
        pulmonary=(u(0.04, 0.05), arch + u(0.085, 0.1), u(0.042, 0.052)),
        carina=arch + u(0.05, 0.07),
        trachea=u(0.016, 0.021),
    )


def draw_skeleton(rng: np.random.Generator, lungs: Lungs) -> Skeleton:
    """Draw the bones; ten ribs lie between the apex and the angle of the lung."""
    u = rng.uniform
    first = lungs.apex[0] - u(0.0, 0.02)
    return Skeleton(
        first_rib=first,
        rib_pitch=(lungs.dome[0] - first) / u(8.8, 9.8),
        rib_drop=(u(0.03, 0.06), u(0.11, 0.17)),
        rib_rise=u(0.13, 0.19),
        rib_half_width=u(0.0115, 0.0145),
        rib_thickness=u(0.08, 0.15),
        clavicle=(lungs.apex[0] + u(0.07, 0.11), lungs.apex[1] + u(0.07, 0.11)),
        clavicle_rise=(u(0.05, 0.11), u(0.05, 0.11)),
        vertebra=u(0.052, 0.06),
        bone=u(0.8, 1.2),
    )


def draw_vessels(rng: np.random.Generator, lungs: Lungs) -> tuple[Curves, ...]:
    """Draw the pulmonary vessels of both lungs: trunks from the hila, and two generations of branches."""
    each = 7
    fan: FloatArray = np.tile(np.linspace(-1.2, 1.35, each), 2) + rng.normal(0, 0.15, 2 * each)
    side = np.repeat([-1.0, 1.0], each)
    heading: FloatArray = np.where(side < 0, np.pi - fan, fan)
    level = (lungs.apex[0] + lungs.dome[0]) / 2 + 0.05 * np.sin(fan) + rng.uniform(-0.03, 0.03, 2 * each)
    hilum = np.stack([side * 0.08 + 0.01, level], axis=1)
    reach = (0.12 + 0.13 * np.clip(fan, 0, 1)) * rng.uniform(0.7, 1.2, 2 * each)
    width: FloatArray = rng.uniform(0.003, 0.0055, 2 * each)
    bend = rng.normal(-0.4, 0.4, 2 * each) * side * np.sign(fan)
    trunks = draw_curves(rng, Outset(hilum, heading, reach, width), bend=bend, tortuosity=0.2, taper=0.35)
    start, heading, width = draw_sprouts(rng, trunks, 4, (0.4, 1.0))
    length = rng.uniform(0.05, 0.12, len(start))
    branches = draw_curves(rng, Outset(start, heading, length, 0.7 * width), tortuosity=0.25, taper=0.3, steps=14)
    start, heading, width = draw_sprouts(rng, branches, 2, (0.4, 1.0))
    length = rng.uniform(0.03, 0.07, len(start))
    return (
        trunks,
        branches,
        draw_curves(rng, Outset(start, heading, length, 0.7 * width), tortuosity=0.25, taper=0.3, steps=8),
    )


class View(NamedTuple):
    """Where every pixel looks at the patient, four (size, size) arrays in units of the image's side.

    Attributes:
        u: To the patient's left of the midline.
        v: Downwards.
        across: Distance from the midline.
        left: Share of the patient's left side: 0 on the right, 1 on the left, a ramp behind the spine.
    """

    u: FloatArray
    v: FloatArray
    across: FloatArray
    left: FloatArray

    def pick(self, pair: Pair) -> FloatArray:
        """Return the value of each pixel's own side."""
        return pair[0] + (pair[1] - pair[0]) * self.left


def look(anatomy: ChestAnatomy, size: int) -> View:
    """Return the patient's coordinates of every pixel, after pose and warp."""
    pose, (x, y) = anatomy.pose, pixel_centres(size)
    cosine, sine = np.float32(np.cos(pose.turn)), np.float32(np.sin(pose.turn))
    x, y = x - (0.5 + pose.shift[0]), y - (0.5 + pose.shift[1])
    warp_u, warp_v = (0.006 * smooth_field(knots, size) for knots in anatomy.warp)
    u = (x * cosine + y * sine) / pose.width + warp_u
    v = (y * cosine - x * sine) / pose.height + 0.5 + warp_v
    return View(u, v, np.abs(u), soft_step(u, 0.035))


def posed(curves: Curves, pose: Pose) -> Curves:
    """Take curves from the patient's coordinates to the image's."""
    u, v = curves.points[..., 0] * pose.width, (curves.points[..., 1] - 0.5) * pose.height
    cosine, sine = np.cos(pose.turn), np.sin(pose.turn)
    x = u * cosine - v * sine + 0.5 + pose.shift[0]
    y = v * cosine + u * sine + 0.5 + pose.shift[1]
    return replace(curves, points=np.stack([x, y], axis=-1).astype(np.float32))


class Fields(NamedTuple):
    """The lung fields: lateral border at every height, lowest point at every place, and share of lung in each pixel."""

    border: FloatArray
    floor: FloatArray
    inside: FloatArray


def lung_fields(lungs: Lungs, view: View) -> Fields:
    """Outline the lungs: an oval apex, a nearly straight wall, and the diaphragm's dome below."""
    apex, width = view.pick(lungs.apex), view.pick(lungs.half_width)
    above = np.clip((lungs.widest - view.v) / (lungs.widest - apex), 0, 1)
    oval = np.sqrt(1 - above**lungs.fullness)
    border = lungs.apex_offset + (width - lungs.apex_offset) * oval
    inner = lungs.apex_offset - (lungs.apex_offset - 0.015) * oval
    aside = view.across - 0.16
    from_top = np.minimum(np.abs(aside) / (width - 0.16), 1.7) ** 2.3
    floor = view.pick(lungs.dome) + view.pick(lungs.angle_depth) * from_top * np.where(
        aside < 0, np.float32(0.4), np.float32(1)
    )
    inside = soft_step(border - view.across, 0.007) * soft_step(view.across - inner, 0.012)
    inside *= soft_step(floor - view.v, 0.006) * soft_step(view.v - apex, 0.01)
    return Fields(border, floor, inside)


def silhouette(mediastinum: Mediastinum, view: View, fields: Fields) -> tuple[FloatArray, FloatArray]:
    """Return the shadow of heart and great vessels, in [0, 1], and the thickness of what casts it.

    The parts are joined by a smooth maximum of their distances inside, so that one border runs into the next. What
    reaches below the diaphragm casts no shadow of its own.
    """
    m = mediastinum
    width = view.pick(m.band) * (1 + 0.3 * np.clip((m.knob[1] - 0.06 - view.v) / 0.15, 0, 1))
    thickness = 0.3 * dome(view.across / width)
    overlap = np.exp(np.clip((width - view.across) / _FILLET, -20, 20))
    for x, y, along, across, turn, depth in (
        (*m.heart_centre, *m.heart_axes, m.heart_tilt, 0.5),
        (0.005, m.heart_centre[1] - 0.02, *m.atrium_axes, 0.0, 0.15),
        (m.knob[0], m.knob[1], m.knob[2] * m.band[1] / 0.06, m.knob[2], 0.0, 0.12),
        (m.pulmonary[0], m.pulmonary[1], m.pulmonary[2], m.pulmonary[2] * 1.5, 0.0, 0.1),
    ):
        radius = elliptic_radius(view.u - x, view.v - y, (along, across), turn)
        overlap += np.exp(np.clip((1 - radius) * (min(along, across) / _FILLET), -20, 20))
        thickness += depth * dome(radius)
    shadow = soft_step(_FILLET * np.log(overlap), 0.013)
    shadow *= soft_step(fields.floor + 0.006 - view.v, 0.008)
    return shadow, thickness * shadow + 0.12 * shadow


def body(habitus: Habitus, view: View) -> FloatArray:
    """Return the thickness of trunk, neck, shoulders and arms: 1 in the middle of the trunk, 0 in the air."""
    h = habitus
    beyond = np.clip(view.across - h.neck, 0, None)
    top = h.shoulder - 0.16 + (h.slope + 0.1) * (1 - np.exp(-beyond / 0.055)) + 0.22 * beyond
    top = np.where(view.across < h.neck, view.v - 1, top)
    torso = h.torso + h.flare * (view.v - 0.5) + 0.25 * soft_step(0.33 - view.v, 0.11)
    depth = np.clip((torso - view.across) / 0.22, 0, 1)
    trunk = soft_step(torso - view.across, 0.007) * (0.45 + 0.55 * (1 - (1 - depth) ** 2))
    middle = h.torso + h.arm_gap + 0.075 + h.arm_spread * (view.v - 0.33)
    arm = dome((view.across - middle) / 0.07) * (0.6 + 0.1 * h.fat)
    neck = 0.72 * dome(view.across / (h.neck * 1.05)) * soft_step(0.2 - view.v, 0.1)
    shoulders = np.maximum(trunk * (0.6 + 0.4 * soft_step(view.v - 0.2, 0.16)), arm)
    thickness: FloatArray = np.maximum(shoulders, neck) * (0.9 + 0.3 * h.fat)
    return soft_step(view.v - top, 0.01) * thickness


def breasts(habitus: Habitus, view: View) -> FloatArray:
    """Return the thickness of the breasts, whose lower edge is sharp and whose upper edge is lost in the chest wall."""
    if not habitus.breast:
        return np.zeros_like(view.u)
    (across, level), axes = habitus.breast_centre, habitus.breast_axes
    radius = elliptic_radius(view.across - across, view.v - level, axes)
    fullness: FloatArray = np.clip((view.v - level) / axes[1] + 0.9, 0, 1.3)
    return habitus.breast * dome(radius) * fullness


def abdomen(anatomy: ChestAnatomy, view: View, fields: Fields, body: FloatArray) -> FloatArray:
    """Return the thickness that liver, spleen and stomach add below the diaphragm, less the gas in the stomach."""
    habitus = anatomy.habitus
    below = soft_step(view.v - fields.floor, 0.006) * soft_step(habitus.torso - 0.03 - view.across, 0.07)
    u, v = habitus.stomach_centre
    gas = habitus.stomach_gas * dome(elliptic_radius(view.u - u, view.v - v, (0.07, 0.035), -0.2))
    return below * body * (0.75 - gas)


def ribs(skeleton: Skeleton, view: View, border: FloatArray) -> FloatArray:
    """Return the thickness of ten pairs of ribs: tilted rings that come from the spine, turn at the wall and descend.

    A ring's upper half is the back of the rib, its lower half the front; cortical bone makes the edges bright.
    """
    s = skeleton
    along = np.clip(view.across / (border + 0.01), 0, 1)
    arc = np.sqrt(1 - along * along)
    drop = s.rib_drop[0] + (s.rib_drop[1] - s.rib_drop[0]) * np.clip((view.v - 0.15) / 0.6, 0, 1)
    slope = np.minimum(along / np.maximum(arc, 0.12), 4.0) / border
    back = _band(view.v - drop * (1 - arc), s, 10, drop * slope) * soft_step(view.across - 0.035, 0.02)
    front = _band(view.v - drop - s.rib_rise * arc, s, 7, s.rib_rise * slope) * soft_step(along - 0.5, 0.12)
    return s.rib_thickness * (back + 0.8 * front) * soft_step(border + 0.012 - view.across, 0.006)


def _band(level: FloatArray, skeleton: Skeleton, count: int, slope: FloatArray) -> FloatArray:
    """Return the cross-section of `count` ribs spaced along `level`, whose lines have `slope`."""
    phase = (level - skeleton.first_rib) / skeleton.rib_pitch
    number = np.clip(np.rint(phase), 0, count - 1)
    across = np.abs(phase - number) * skeleton.rib_pitch / np.sqrt(1 + slope * slope)
    half = skeleton.rib_half_width
    edge: FloatArray = np.clip(1 - np.abs(across - 0.8 * half) / (0.4 * half), 0, 1)
    return 0.8 * soft_step(half - across, 0.004) + 0.4 * edge


def clavicles(skeleton: Skeleton, view: View) -> FloatArray:
    """Return the thickness of the collar bones, an S from the sternum up to the shoulder."""
    along = np.clip((view.across - 0.035) / 0.33, 0, 1)
    middle = view.pick(skeleton.clavicle) - view.pick(skeleton.clavicle_rise) * along**0.8
    middle -= 0.012 * np.sin(2 * np.pi * along)
    half = 0.0115 + 0.007 * np.abs(along - 0.5)
    across = np.abs(view.v - middle) * 0.95
    ends = soft_step(view.across - 0.035, 0.008) * soft_step(0.365 - view.across, 0.012)
    edge: FloatArray = np.clip(1 - np.abs(across - 0.85 * half) / 0.005, 0, 1)
    return (0.2 * soft_step(half - across, 0.005) + 0.08 * edge) * ends


def shoulders(habitus: Habitus, view: View) -> FloatArray:
    """Return the thickness of shoulder blades, heads and shafts of the upper arms."""
    edge = view.across - 0.285 - 0.12 * (view.v - 0.2)
    blade = soft_step(edge, 0.006) * soft_step(0.42 - view.across, 0.03)
    blade *= soft_step(view.v - 0.17, 0.03) * soft_step(0.5 - 0.9 * edge - view.v, 0.02)
    rim = np.clip(1 - np.abs(edge - 0.006) / 0.006, 0, 1)
    joint = habitus.torso + habitus.arm_gap * 0.5 + 0.045
    head = dome(elliptic_radius(view.across - joint, view.v - 0.2, (0.042, 0.048)))
    shaft = view.across - joint - 0.02 - habitus.arm_spread * np.clip(view.v - 0.33, 0, None)
    bone = soft_step(0.021 - np.abs(shaft), 0.004) * soft_step(view.v - 0.21, 0.02)
    wall = np.clip(1 - np.abs(np.abs(shaft) - 0.018) / 0.006, 0, 1) * soft_step(view.v - 0.23, 0.02)
    arm: FloatArray = 0.22 * np.maximum(head, 0.6 * bone) + 0.1 * wall
    return blade * (0.09 + 0.1 * rim) + arm


def spine(skeleton: Skeleton, view: View) -> FloatArray:
    """Return the thickness of the vertebrae, faint between the discs, with their spinous processes."""
    body = soft_step(0.034 - view.across, 0.006)
    wave = np.cos(view.v * (2 * np.pi / skeleton.vertebra))
    process: FloatArray = np.exp(-((view.u / 0.008) ** 2)) * np.clip(wave, 0, 1) * 0.05
    discs: FloatArray = 0.025 * np.clip(wave * 2, -1, 1)
    return body * (0.1 + discs) + process


def airways(mediastinum: Mediastinum, view: View) -> FloatArray:
    """Return how much air the trachea and the main bronchi hold."""
    below = np.clip(view.v - mediastinum.carina, 0, None)
    middle = below * view.pick((1.1, 1.4))
    width = mediastinum.trachea * (1 - 0.25 * np.clip(below / 0.08, 0, 1))
    lumen = dome((view.across - middle) / width) * soft_step(mediastinum.carina + 0.07 - view.v, 0.03)
    return 0.28 * lumen


def solid(anatomy: ChestAnatomy, view: View, fields: Fields, size: int) -> FloatArray:
    """Return the thickness of everything but the lungs, heart and great vessels."""
    habitus, skeleton = anatomy.habitus, anatomy.skeleton
    soft = body(habitus, view)
    bones = clavicles(skeleton, view) + shoulders(habitus, view) + spine(skeleton, view)
    bones = skeleton.bone * bones + ribs(skeleton, view, fields.border)
    inner = abdomen(anatomy, view, fields, soft) + breasts(habitus, view) + bones
    uneven = 1 + 0.035 * smooth_field(anatomy.tissue, size)
    return (soft + inner * np.minimum(1, 4 * soft)) * uneven - airways(anatomy.mediastinum, view)


def air(anatomy: ChestAnatomy, view: View, fields: Fields, size: int) -> FloatArray:
    """Return the thickness of air in the lungs, deepest away from the chest wall, uneven like parenchyma."""
    depth = np.clip((fields.border - view.across) / 0.13, 0, 1)
    filled = 0.62 + 0.38 * depth * (2 - depth)
    uneven = 1 + 0.05 * smooth_field(anatomy.texture, size)
    return anatomy.lungs.air * fields.inside * filled * uneven


def markings(anatomy: ChestAnatomy, view: View, size: int) -> FloatArray:
    """Return the thickness of the pulmonary vessels, which branch from the hila and fade outwards."""
    level = (anatomy.lungs.apex[0] + anatomy.lungs.dome[0]) / 2
    hilum = elliptic_radius(view.across - 0.095, view.v - level, (0.05, 0.08))
    lines = [stroke_coverage(posed(curves, anatomy.pose), size) for curves in anatomy.vessels]
    weighted = (weight * line for weight, line in zip((0.16, 0.14, 0.12), lines, strict=True))
    tree: FloatArray = np.maximum.reduce(list(weighted))
    return tree + 0.2 * np.exp(-(hilum * hilum))
