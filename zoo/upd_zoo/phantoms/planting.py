"""Anomalies planted in healthy images, real or synthetic: the ground on which a choice is made without a test set.

A kind of anomaly has a record, a `draw_*` that takes a generator, and an `apply_*` that is a function of record and
image alone. Sizes are shares of the image's side. A change of colour goes along the axis in which the tissue's own
detail varies most, so that on a fundus photograph it is that of blood and vessels, and its size is counted in standard
deviations of that detail: as conspicuous in a smooth picture as in a rough one.

The lesions of `brain_lesions` grow in the space of a template, which real slices have not; here everything is flat.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from upd_zoo.phantoms.drawing import (
    Ellipses,
    FloatArray,
    draw_knots,
    ellipse_coverage,
    elliptic_radius,
    pixel_centres,
    smooth_field,
    soft_step,
)
from upd_zoo.phantoms.tissue import Image, Palette, palette_of, places_of, smoothed, tissue_of

Mask: TypeAlias = NDArray[np.uint8]

GENERATOR: Final = 2
"""Raised whenever the same seed plants something else."""
NOTICEABLE: Final = 0.03
"""Least change, of pixels in [0, 1], that counts as visible: about eight steps of an 8-bit image."""
_SHARE: Final = 0.3
"""From which coverage on a pixel belongs to the mask; the smallest spot, 1.5 pixels wide, covers its pixel by more."""
_SHOWN: Final = 0.6
"""Least share of the covered pixels that must show; of less, the mask would not be what one sees."""
_MOST: Final = 3
"""Anomalies of one image, at most."""
_TRIES: Final = 12
"""Places that are tried before a kind is given up on an image, as blur is on one without texture."""


class Kind(StrEnum):
    """Kinds of planted anomalies."""

    BRIGHT_BLOB = "bright-blob"
    DARK_BLOB = "dark-blob"
    BRIGHT_SPOTS = "bright-spots"
    """A cluster of spots, 1.5 to 4 pixels wide at a side of 128, like exudates or small plaques."""
    DARK_SPOTS = "dark-spots"
    """The same, like microaneurysms and small haemorrhages."""
    MOVED = "moved"
    """Texture of another place of the same image."""
    BLURRED = "blurred"
    BLENDED = "blended"
    """What lies there in another subject's image, in part."""
    OPACITY = "opacity"
    """Diffuse whitening that hides what is dark, like an infiltrate on a chest film."""
    TUMOUR = "tumour"
    """A bright or dark core in a fainter rim, like tumour and oedema."""


@dataclass(frozen=True, eq=False, slots=True)
class Outline:
    """A soft, irregular region in unit coordinates.

    Attributes:
        centre: x and y.
        semi_axes: Half lengths of the ellipse that it would be, were it regular.
        angle: Of the first axis, radians from x towards y.
        roughness: Standard deviation of its border, as a share of its radius.
        knots: Of the field that makes it irregular.
        softness: Half width of the ramp at its border, as a share of its radius.
    """

    centre: tuple[float, float]
    semi_axes: tuple[float, float]
    angle: float
    roughness: float
    knots: FloatArray
    softness: float

    def coverage(self, size: int) -> FloatArray:
        """Return how much of every pixel it covers, (size, size) in [0, 1]."""
        x, y = pixel_centres(size)
        radius = elliptic_radius(x - self.centre[0], y - self.centre[1], self.semi_axes, self.angle)
        inside = 1 - radius + self.roughness * smooth_field(self.knots, size)
        least = min(self.semi_axes)
        return soft_step(inside * least, max(self.softness * least, 0.5 / size))


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """A region brighter or darker than its surroundings.

    Attributes:
        outline: Where.
        contrast: Change along the main axis in standard deviations of detail; negative is darker.
        hue: The same along the minor axis.
        texture: Knots of its own unevenness.
    """

    outline: Outline
    contrast: float
    hue: float
    texture: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Spots:
    """A cluster of small spots.

    Attributes:
        ellipses: Where.
        contrast: As of a blob.
        hue: As of a blob.
    """

    ellipses: Ellipses
    contrast: float
    hue: float


@dataclass(frozen=True, eq=False, slots=True)
class Moved:
    """A region that shows what lies elsewhere.

    Attributes:
        outline: Where.
        source: x and y of what its centre shows.
        matched: Share of the difference in mean colour that is taken away, in [0, 1].
    """

    outline: Outline
    source: tuple[float, float]
    matched: float


@dataclass(frozen=True, eq=False, slots=True)
class Blurred:
    """A region without fine detail.

    Attributes:
        outline: Where.
        width: Standard deviation of the Gaussian, as a share of the side.
    """

    outline: Outline
    width: float


@dataclass(frozen=True, eq=False, slots=True)
class Blended:
    """A region that shows another subject's image.

    Attributes:
        outline: Where.
        opacity: Weight of the other image, in (0, 1].
    """

    outline: Outline
    opacity: float


@dataclass(frozen=True, eq=False, slots=True)
class Opacity:
    """A whitened region.

    Attributes:
        outline: Where.
        density: How far it goes towards the tissue's light, in (0, 1].
        texture: Knots of its unevenness.
    """

    outline: Outline
    density: float
    texture: FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class Tumour:
    """A core in a rim.

    Attributes:
        core: Where the core lies.
        rim: Where core and rim lie.
        contrast: Of the core, as of a blob.
        rim_share: Contrast of the rim as a share of the core's.
        texture: Knots of the core's unevenness.
    """

    core: Outline
    rim: Outline
    contrast: float
    rim_share: float
    texture: FloatArray


Anomaly: TypeAlias = Blob | Spots | Moved | Blurred | Blended | Opacity | Tumour


class Planted(NamedTuple):
    """An image with an anomaly.

    Attributes:
        image: (C, H, W) float32 in [0, 1].
        mask: (H, W) uint8, 1 where it visibly changed; 0 everywhere where hardly any of the anomaly shows.
    """

    image: Image
    mask: Mask


# Drawing


def draw_anomaly(rng: np.random.Generator, kind: Kind, places: FloatArray) -> Anomaly:
    """Draw one anomaly.

    Args:
        rng: Where chance comes from.
        kind: What it is.
        places: (N, 2) x and y in unit coordinates where one may have its centre.
    """
    return _DRAW[kind](rng, places)


def draw_blob(rng: np.random.Generator, places: FloatArray, sign: int) -> Blob:
    """Draw a blob of 3 to 13 % of the side in radius, darker where `sign` is negative."""
    radius = _draw_size(rng, 0.03, 0.13)
    contrast = sign * _draw_size(rng, 0.8, 3.2)
    return Blob(_draw_outline(rng, _draw_place(rng, places), radius), contrast, _draw_hue(rng), _draw_texture(rng))


def draw_spots(rng: np.random.Generator, places: FloatArray, sign: int) -> Spots:
    """Draw 2 to 9 spots within 9 % of the side of each other, darker where `sign` is negative."""
    count = int(rng.integers(2, 10))
    spread = rng.normal(0, _draw_size(rng, 0.02, 0.06), (count, 2)).clip(-0.09, 0.09)
    radius = np.exp(rng.uniform(np.log(0.006), np.log(0.016), (count, 1)))
    ellipses = Ellipses(
        np.asarray(_draw_place(rng, places) + spread, np.float32),
        np.asarray(radius * rng.uniform(0.75, 1, (count, 2)), np.float32),
        np.asarray(rng.uniform(0, np.pi, count), np.float32),
    )
    return Spots(ellipses, sign * _draw_size(rng, 2, 6), _draw_hue(rng))


def draw_moved(rng: np.random.Generator, places: FloatArray) -> Moved:
    """Draw a moved region of 5 to 14 % of the side in radius."""
    x, y = _draw_place(rng, places)
    outline = _draw_outline(rng, _draw_place(rng, places), _draw_size(rng, 0.05, 0.14))
    return Moved(outline, (float(x), float(y)), float(rng.uniform(0.5, 1)))


def draw_blurred(rng: np.random.Generator, places: FloatArray) -> Blurred:
    """Draw a blurred region of 6 to 16 % of the side in radius; the blur is 1 to 4 pixels wide at a side of 128."""
    outline = _draw_outline(rng, _draw_place(rng, places), _draw_size(rng, 0.06, 0.16))
    return Blurred(outline, _draw_size(rng, 0.008, 0.03))


def draw_blended(rng: np.random.Generator, places: FloatArray) -> Blended:
    """Draw a blended region of 5 to 14 % of the side in radius."""
    outline = _draw_outline(rng, _draw_place(rng, places), _draw_size(rng, 0.05, 0.14))
    return Blended(outline, float(rng.uniform(0.4, 1)))


def draw_opacity(rng: np.random.Generator, places: FloatArray) -> Opacity:
    """Draw an opacity of 9 to 26 % of the side in radius, with a border that has no clear place."""
    outline = _draw_outline(rng, _draw_place(rng, places), _draw_size(rng, 0.09, 0.26), softness=0.8)
    return Opacity(outline, float(rng.uniform(0.2, 0.75)), _draw_texture(rng))


def draw_tumour(rng: np.random.Generator, places: FloatArray) -> Tumour:
    """Draw a core of 3 to 10 % of the side in radius, in a rim of 1.3 to 2 times that."""
    centre, radius = _draw_place(rng, places), _draw_size(rng, 0.03, 0.10)
    return Tumour(
        core=_draw_outline(rng, centre, radius),
        rim=_draw_outline(rng, centre, radius * rng.uniform(1.3, 2), softness=0.3),
        contrast=float(rng.choice((-1, 1))) * _draw_size(rng, 0.8, 4.0),
        rim_share=float(rng.uniform(0.3, 0.7)),
        texture=_draw_texture(rng),
    )


_DRAW: Final[dict[Kind, Callable[[np.random.Generator, FloatArray], Anomaly]]] = {
    Kind.BRIGHT_BLOB: lambda rng, places: draw_blob(rng, places, 1),
    Kind.DARK_BLOB: lambda rng, places: draw_blob(rng, places, -1),
    Kind.BRIGHT_SPOTS: lambda rng, places: draw_spots(rng, places, 1),
    Kind.DARK_SPOTS: lambda rng, places: draw_spots(rng, places, -1),
    Kind.MOVED: draw_moved,
    Kind.BLURRED: draw_blurred,
    Kind.BLENDED: draw_blended,
    Kind.OPACITY: draw_opacity,
    Kind.TUMOUR: draw_tumour,
}


def _draw_size(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a size as likely to be in the lower as in the upper half of the range's octaves."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_place(rng: np.random.Generator, places: FloatArray) -> FloatArray:
    return np.asarray(places[rng.integers(len(places))])


def _draw_hue(rng: np.random.Generator) -> float:
    return float(rng.normal(0, 0.5))


def _draw_texture(rng: np.random.Generator) -> FloatArray:
    return draw_knots(rng, 24)


def _draw_outline(
    rng: np.random.Generator, centre: FloatArray, radius: float, softness: float | None = None
) -> Outline:
    stretch = float(rng.uniform(1, 1.7)) ** 0.5
    bumps = int(np.ceil(1.6 / radius)) + 3  # the border's irregularities grow with the region
    return Outline(
        centre=(float(centre[0]), float(centre[1])),
        semi_axes=(radius * stretch, radius / stretch),
        angle=float(rng.uniform(0, np.pi)),
        roughness=float(rng.uniform(0.1, 0.3)),
        knots=draw_knots(rng, bumps),
        softness=float(rng.uniform(0.12, 0.5)) if softness is None else softness,
    )


# Applying


def apply_anomaly(anomaly: Anomaly, image: Image, tissue: NDArray[np.bool_], donor: Image) -> Planted:
    """Return an image with an anomaly; what is not tissue stays as it is.

    Args:
        anomaly: What is planted.
        image: (C, H, W) float32 in [0, 1].
        tissue: (H, W) where it may change.
        donor: (C, H, W) float32 in [0, 1], the image of another subject.
    """
    size, palette = image.shape[-1], palette_of(image, tissue)
    match anomaly:
        case Blob():
            coverage, changed = apply_blob(anomaly, image, palette)
        case Spots():
            coverage = ellipse_coverage(anomaly.ellipses, size)
            changed = image + coverage * _colour(anomaly.contrast, anomaly.hue, palette)
        case Moved():
            coverage, changed = apply_moved(anomaly, image)
        case Blurred():
            coverage = anomaly.outline.coverage(size)
            changed = image + coverage * (smoothed(image, tissue, anomaly.width) - image)
        case Blended():
            coverage, changed = apply_blended(anomaly, image, tissue, donor)
        case Opacity():
            coverage, changed = apply_opacity(anomaly, image, palette)
        case Tumour():
            coverage, changed = apply_tumour(anomaly, image, palette)
    result = np.where(tissue, np.clip(changed, palette.floor, 1), image).astype(np.float32)
    return Planted(result, _visible(result - image, coverage, tissue))


def apply_blob(blob: Blob, image: Image, palette: Palette) -> tuple[FloatArray, FloatArray]:
    """Return where a blob lies, (H, W) in [0, 1], and the image with it."""
    coverage = blob.outline.coverage(image.shape[-1])
    uneven = 1 + 0.15 * smooth_field(blob.texture, image.shape[-1])
    return coverage, image + coverage * uneven * _colour(blob.contrast, blob.hue, palette)


def apply_moved(moved: Moved, image: Image) -> tuple[FloatArray, FloatArray]:
    """Return where a moved region lies, (H, W) in [0, 1], and the image with it."""
    size = image.shape[-1]
    coverage = moved.outline.coverage(size)
    columns, rows = (
        np.clip(np.arange(size) + round((source - to) * size), 0, size - 1)
        for to, source in zip(moved.outline.centre, moved.source, strict=True)
    )
    shown = image[:, rows[:, None], columns]
    difference = ((shown - image) * coverage).sum(axis=(1, 2), keepdims=True) / max(float(coverage.sum()), 1e-6)
    return coverage, image + coverage * (shown - image - moved.matched * difference)


def apply_blended(
    blended: Blended, image: Image, tissue: NDArray[np.bool_], donor: Image
) -> tuple[FloatArray, FloatArray]:
    """Return where a blended region lies, (H, W) in [0, 1], and the image with it.

    The donor is brought to the image's mean colour, and its background is left out: both would give it away.
    """
    donated = tissue_of(donor)
    coverage = blended.outline.coverage(image.shape[-1]) * donated
    means = [each[:, where].mean(axis=1)[:, None, None] for each, where in ((image, tissue), (donor, donated))]
    return coverage, image + coverage * blended.opacity * (donor - means[1] + means[0] - image)


def apply_opacity(opacity: Opacity, image: Image, palette: Palette) -> tuple[FloatArray, FloatArray]:
    """Return where an opacity lies, (H, W) in [0, 1], and the image with it."""
    coverage = opacity.outline.coverage(image.shape[-1])
    uneven = np.clip(1 + 0.2 * smooth_field(opacity.texture, image.shape[-1]), 0, None)
    return coverage, image + coverage * uneven * opacity.density * np.clip(palette.light - image, 0, None)


def apply_tumour(tumour: Tumour, image: Image, palette: Palette) -> tuple[FloatArray, FloatArray]:
    """Return where core and rim lie, (H, W) in [0, 1], and the image with them."""
    size = image.shape[-1]
    core, rim = tumour.core.coverage(size), tumour.rim.coverage(size)
    strength = np.maximum(core * (1 + 0.15 * smooth_field(tumour.texture, size)), tumour.rim_share * rim)
    return np.maximum(core, rim), image + strength * _colour(tumour.contrast, 0, palette)


def _colour(contrast: float, hue: float, palette: Palette) -> Image:
    return contrast * palette.main + hue * palette.minor


def _visible(change: Image, coverage: FloatArray, tissue: NDArray[np.bool_]) -> Mask:
    """Return the pixels that an anomaly covers and that, or whose neighbours, changed visibly; none if few."""
    noticed = np.pad(np.abs(change).max(axis=0) > NOTICEABLE, 1)
    near = np.lib.stride_tricks.sliding_window_view(noticed, (3, 3)).any(axis=(-2, -1))
    covered = (coverage >= _SHARE) & tissue
    shown = covered & near
    return np.asarray(shown & (shown.sum() >= _SHOWN * covered.sum()), np.uint8)


def plant(rng: np.random.Generator, kind: Kind, image: Image, donor: Image) -> Planted | None:
    """Plant one to three anomalies of a kind in a healthy image, each where it shows.

    Args:
        rng: Where chance comes from.
        kind: What is planted.
        image: (C, H, W) float32 in [0, 1].
        donor: (C, H, W) float32 in [0, 1], the image of another subject.

    Returns:
        The image and its truth; None where there is too little tissue, or nowhere a change that one would see.
    """
    tissue = tissue_of(image)
    places = places_of(tissue)
    if not len(places):
        return None
    wanted, found = int(rng.integers(1, _MOST + 1)), Planted(image, np.zeros(tissue.shape, np.uint8))
    for _ in range(_TRIES):
        one = apply_anomaly(draw_anomaly(rng, kind, places), found.image, tissue, donor)
        if one.mask.any():
            found, wanted = Planted(one.image, found.mask | one.mask), wanted - 1
        if not wanted:
            break
    return found if found.mask.any() else None
