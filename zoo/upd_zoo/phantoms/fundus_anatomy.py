"""A healthy fundus in unit coordinates, drawn at random, and the colours it has in a camera's field.

Every eye is drawn as a right one: optic disc on the right of the image, macula to its left (temporal). The photograph
of a left eye is mirrored when it is taken. Lengths are in units of the image's side.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from upd_zoo.phantoms.drawing import (
    Curves,
    FloatArray,
    Outset,
    draw_curves,
    draw_knots,
    draw_sprouts,
    elliptic_radius,
    pixel_centres,
    smooth_field,
    soft_step,
    stroke_coverage,
)

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[float, float, float]

DISC_TO_FOVEA: Final = 2.5
"""Distance from the centre of the optic disc to the fovea, in disc diameters: about 15 degrees of the visual field."""

_VEIN: Final = np.array([0.25, 0.52, 0.4], dtype=np.float32)
_ARTERY: Final = np.array([0.1, 0.38, 0.34], dtype=np.float32)
"""Share of red, green and blue light that a full vessel takes away: blood is dark in green, in veins also in red."""


@dataclass(frozen=True, slots=True)
class Camera:
    """The field of view, the light in it, and which eye is photographed.

    Attributes:
        centre: Of the circular field.
        radius: Of the field; above 0.5 the image cuts the circle.
        cut: Half height at which the camera's frame cuts the field flat; above `radius` it does not.
        light: Centre of the illumination.
        falloff: Share of light lost at the rim.
        exposure: Factor on all colours.
        left_eye: Whether the photograph is of a left eye.
        noise: Standard deviation of the sensor's noise.
    """

    centre: Point
    radius: float
    cut: float
    light: Point
    falloff: float
    exposure: float
    left_eye: bool
    noise: float


@dataclass(frozen=True, slots=True)
class Disc:
    """The optic disc: where it is, its semi-axes and tilt, its pale cup, and the colours of rim and cup."""

    centre: Point
    semi_axes: tuple[float, float]
    tilt: float
    cup_centre: Point
    cup: float
    rim_colour: Colour
    cup_colour: Colour
    halo: float


@dataclass(frozen=True, slots=True)
class Macula:
    """The macula: its centre (the fovea), width, how dark it is, and the glint of the foveal pit (often none)."""

    fovea: Point
    width: float
    depth: float
    pit: float
    glint: float


class VesselTree(NamedTuple):
    """Arteries or veins, from the trunks to the twigs."""

    trunks: Curves
    branches: Curves
    twigs: Curves


@dataclass(frozen=True, eq=False, slots=True)
class FundusAnatomy:
    """Everything that makes a healthy fundus photograph.

    Attributes:
        pigment: Colour of the retina.
        mottle: (9, 9) and (26, 26) knots of uneven pigment.
        choroid: (17, 17) knots whose zero lines are the choroid's vessels.
        choroid_weight: How much of them shows through.
        hue: (5, 5) knots of slow change between orange and red.
        grain: (3, 100, 100) knots of sensor noise.
    """

    camera: Camera
    disc: Disc
    macula: Macula
    arteries: VesselTree
    veins: VesselTree
    pigment: Colour
    mottle: tuple[FloatArray, FloatArray]
    choroid: FloatArray
    choroid_weight: float
    hue: FloatArray
    grain: FloatArray


def draw_fundus(rng: np.random.Generator) -> FundusAnatomy:
    """Draw the anatomy of a healthy fundus and the camera that takes it."""
    camera = draw_camera(rng)
    fairness = rng.beta(1.2, 2.0)
    disc, macula = draw_landmarks(rng, camera, fairness)
    return FundusAnatomy(
        camera=camera,
        disc=disc,
        macula=macula,
        arteries=draw_vessel_tree(rng, disc, macula, 0.0055),
        veins=draw_vessel_tree(rng, disc, macula, 0.0078),
        pigment=draw_pigment(rng, fairness),
        mottle=(draw_knots(rng, 9), draw_knots(rng, 26)),
        choroid=draw_knots(rng, 17),
        choroid_weight=0.16 * rng.beta(1.0, 1.6),
        hue=draw_knots(rng, 5),
        grain=rng.standard_normal((3, 100, 100), dtype=np.float32),
    )


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: the whole circle in the image, the circle cut above and below, or a square crop of it."""
    u = rng.uniform
    radius = u(0.46, 0.5) if rng.random() < 0.5 else u(0.52, 0.6)
    return Camera(
        centre=(0.5 + u(-0.02, 0.02), 0.5 + u(-0.01, 0.01)),
        radius=radius,
        cut=u(0.40, 0.46) if radius < 0.5 and rng.random() < 0.4 else 1.0,
        light=(0.5 + rng.normal(0, 0.08), 0.5 + rng.normal(0, 0.08)),
        falloff=u(0.15, 0.45),
        exposure=u(0.8, 1.15),
        left_eye=bool(rng.integers(0, 2)),
        noise=u(0.004, 0.012),
    )


def draw_landmarks(rng: np.random.Generator, camera: Camera, fairness: float) -> tuple[Disc, Macula]:
    """Draw optic disc and macula, the disc a little above the fovea and nasal of it."""
    u = rng.uniform
    diameter = 0.27 * camera.radius * u(0.92, 1.1)
    apart = diameter * (DISC_TO_FOVEA + u(-0.15, 0.2))
    fovea = camera.centre[0] - u(0.05, 0.55) * apart, camera.centre[1] + u(-0.02, 0.05)
    centre = fovea[0] + apart, fovea[1] - u(0.0, 0.2) * diameter
    pale = 0.3 * u(0, 1) + 0.9 * fairness
    disc = Disc(
        centre=centre,
        semi_axes=(0.5 * diameter * u(0.85, 0.95), 0.5 * diameter * u(0.98, 1.08)),
        tilt=rng.normal(0, 0.15),
        cup_centre=(centre[0] + u(-0.06, 0.06) * diameter, centre[1] + u(-0.04, 0.04) * diameter),
        cup=u(0.25, 0.55),
        rim_colour=(1.1, 0.66 + 0.16 * pale, 0.18 + 0.42 * pale),
        cup_colour=(1.2, 0.98, 0.4 + 0.45 * pale),
        halo=u(0.0, 0.16),
    )
    return disc, Macula(fovea, u(0.55, 0.8) * diameter, u(0.2, 0.42), u(0.1, 0.3), u(0.05, 0.15) * (rng.random() < 0.2))


def draw_pigment(rng: np.random.Generator, fairness: float) -> Colour:
    """Draw the retina's colour, from the orange of dark eyes (`fairness` 0) to the pink of fair ones (1)."""
    red = rng.uniform(0.6, 0.85)
    return red, red * (0.40 + 0.15 * fairness + rng.uniform(-0.03, 0.07)), red * (0.06 + 0.4 * fairness)


def draw_vessel_tree(rng: np.random.Generator, disc: Disc, macula: Macula, half_width: float) -> VesselTree:
    """Draw arteries or veins: four arcades from the disc, three small trunks, and two generations of branches.

    The temporal arcades arch round the macula; nothing grows into the fovea.
    """
    apart = disc.centre[0] - macula.fovea[0]
    up, quarter = np.array([-1.0, 1.0]), np.pi / 2
    temporal, nasal = up * (quarter + rng.normal(0.1, 0.15, 2)), up * (quarter - rng.uniform(0.5, 0.9, 2))
    small = np.array([np.pi + rng.normal(0.5, 0.15), np.pi - rng.normal(0.5, 0.15), rng.normal(0, 0.3)])
    heading = np.concatenate([temporal, nasal, small])
    bend = np.concatenate([up * rng.uniform(1.35, 1.85, 2), up * rng.uniform(-0.3, 0.5, 2), rng.normal(0, 0.3, 3)])
    length = np.concatenate([rng.uniform(2.1, 2.6, 2), rng.uniform(1.2, 1.7, 2), rng.uniform(0.35, 0.65, 3)]) * apart
    width = half_width * np.concatenate([rng.uniform(0.9, 1.1, 2), rng.uniform(0.65, 0.85, 2), np.full(3, 0.4)])
    start = np.array(disc.cup_centre) + rng.normal(0, 0.14, (7, 2)) * disc.semi_axes[0]
    trunks = draw_curves(rng, Outset(start, heading, length, width), bend=bend, tortuosity=0.13, taper=0.45, steps=48)
    branches = _draw_side_branches(rng, trunks, macula, 6)
    return VesselTree(trunks, branches, _draw_side_branches(rng, branches, macula, 3))


def _draw_side_branches(rng: np.random.Generator, parents: Curves, macula: Macula, each: int) -> Curves:
    """Draw a generation of branches, shorter than their parents and too short to reach the fovea."""
    start, heading, width = draw_sprouts(rng, parents, each, (0.45, 1.05))
    room = np.hypot(*(start - np.array(macula.fovea)).T)
    longest = np.linalg.norm(np.diff(parents.points, axis=1), axis=-1).sum(axis=1).repeat(each)
    reach = np.minimum(rng.uniform(0.15, 0.45, len(start)) * longest, 0.8 * room)
    bend = rng.normal(0, 0.4, len(start))
    return draw_curves(rng, Outset(start, heading, reach, 0.68 * width), bend=bend, tortuosity=0.2, taper=0.4, steps=16)


def field_of_view(camera: Camera, size: int) -> FloatArray:
    """Return the share of every pixel that lies in the camera's field, (size, size) in [0, 1]."""
    x, y = pixel_centres(size)
    x, y = x - camera.centre[0], y - camera.centre[1]
    return soft_step(camera.radius - np.hypot(x, y), 0.006) * soft_step(camera.cut - np.abs(y), 0.005)


def illumination(camera: Camera, size: int) -> FloatArray:
    """Return the light at every pixel, (size, size): 1 where the lamp points, less towards the rim."""
    x, y = pixel_centres(size)
    away: FloatArray = np.hypot(x - camera.light[0], y - camera.light[1]) / camera.radius
    return camera.exposure * (1 - camera.falloff * away * away / (0.5 + 0.5 * away))


def retina(anatomy: FundusAnatomy, size: int) -> FloatArray:
    """Return the colours of a healthy fundus before light and field, (3, size, size)."""
    colours = _background(anatomy, size)
    colours = _with_macula(colours, anatomy.macula)
    colours = _with_disc(colours, anatomy.disc)
    return _with_vessels(colours, anatomy, size)


def _background(anatomy: FundusAnatomy, size: int) -> FloatArray:
    """Return pigment, its mottling, and the choroid's vessels, which show most far from the macula."""
    coarse, fine = (smooth_field(knots, size) for knots in anatomy.mottle)
    mottle = 1 + 0.035 * coarse + 0.025 * fine
    x, y = pixel_centres(size)
    fovea = anatomy.macula.fovea
    remote = np.clip(np.hypot(x - fovea[0], y - fovea[1]) / 0.45, 0, 1)
    lines = np.exp(-((smooth_field(anatomy.choroid, size) / 0.35) ** 2)) - 0.4
    stripes = anatomy.choroid_weight * remote * lines
    hue = 0.03 * smooth_field(anatomy.hue, size)
    shades = np.stack([mottle + stripes, mottle + 0.6 * stripes + hue, mottle - 0.4 * stripes + 2 * hue])
    return np.asarray(np.array(anatomy.pigment, dtype=np.float32)[:, None, None] * shades, dtype=np.float32)


def _with_macula(colours: FloatArray, macula: Macula) -> FloatArray:
    """Darken the macula, most of all its pit, and set the pit's glint where there is one."""
    x, y = pixel_centres(colours.shape[-1])
    away = np.hypot(x - macula.fovea[0], y - macula.fovea[1]) / macula.width
    shade = macula.depth * np.exp(-(away**2)) + macula.pit * np.exp(-((away / 0.3) ** 2))
    glint = macula.glint * np.exp(-((away / 0.1) ** 2))
    absorbed = np.array([0.75, 1.0, 0.9], dtype=np.float32)[:, None, None] * shade.astype(np.float32)
    return np.asarray(colours * (1 - absorbed) + glint, dtype=np.float32)


def _with_disc(colours: FloatArray, disc: Disc) -> FloatArray:
    """Lay the optic disc with its pale cup over the retina, and the sheen of the nerve fibres around it."""
    x, y = pixel_centres(colours.shape[-1])
    radius = elliptic_radius(x - disc.centre[0], y - disc.centre[1], disc.semi_axes, disc.tilt)
    halo = 1 + disc.halo * np.exp(-((radius / 2.6) ** 2))
    here = soft_step(1 - radius, 0.14)
    axes = disc.semi_axes[0] * disc.cup, disc.semi_axes[1] * disc.cup
    pale = elliptic_radius(x - disc.cup_centre[0], y - disc.cup_centre[1], axes, disc.tilt)
    inner = soft_step(1 - pale, 0.5)
    rim, cup = (np.array(c, dtype=np.float32)[:, None, None] for c in (disc.rim_colour, disc.cup_colour))
    return np.asarray(colours * halo * (1 - here) + 0.85 * here * (rim + inner * (cup - rim)), dtype=np.float32)


def _with_vessels(colours: FloatArray, anatomy: FundusAnatomy, size: int) -> FloatArray:
    """Lay veins and then arteries over the retina, with the light reflex along the arteries' trunks."""
    for tree, absorbed in ((anatomy.veins, _VEIN), (anatomy.arteries, _ARTERY)):
        strengths = zip((1.0, 0.9, 0.7), tree, strict=True)
        cover = np.maximum.reduce([s * stroke_coverage(curves, size) for s, curves in strengths])
        colours = colours * (1 - absorbed[:, None, None] * cover)
    trunks = anatomy.arteries.trunks
    reflex = stroke_coverage(replace(trunks, half_widths=trunks.half_widths * 0.3), size)
    return np.asarray(colours * (1 + 0.18 * reflex), dtype=np.float32)
