"""An anomaly map as colours over its image.

Dark means ordinary and bright means anomalous, in print and to every eye: lightness alone carries the order, and hue
only helps. The less anomalous a pixel, the more of the image shows through.
"""

from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.errors import UsageError

Array = NDArray[Any]

_ANCHORS: Final = ("#07040f", "#2c0f5c", "#7b1d72", "#bf3457", "#ea6a2d", "#f9a73e", "#fbdc80", "#fdfbe0")
_OPACITY: Final = 0.9
"""Opacity at the top of the scale; the image stays visible even there."""
_TRUTH: Final = np.array((60, 230, 255), dtype=np.float64)
"""Cyan, which the scale never comes near."""
_TRUTH_OPACITY: Final = 0.35
_UNSEEN: Final = 0.25, 0.6
"""How bright the two stripes are under which the image shows where the model did not look."""
_STRIPE: Final = 6
"""Width of a stripe in pixels, along rows and columns."""
_BLOCK: Final = 64
"""Rows that are blended at a time, in float64; a block of an overlay then stays in the processor's cache."""
COLOURED: Final = (0.5, 0.999)
"""Shares of the pixels that lie below the value where colours begin, and below that where they are brightest."""
_SIDE: Final = 192
_GAP: Final = 4

# OKLab: linear sRGB -> cone responses -> cube roots -> (L, a, b). Source: Ottosson, A perceptual color space for image
# processing, 2020.
_TO_CONES: Final = np.array(
    (
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    )
)
_TO_LAB: Final = np.array(
    (
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    )
)


def _lab(colour: str) -> Array:
    encoded = np.array(tuple(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.asarray(_TO_LAB @ np.cbrt(_TO_CONES @ linear))


def _rgb8(lab: Array) -> NDArray[np.uint8]:
    cones = (lab @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * encoded), dtype=np.uint8)


def _lookup_table() -> NDArray[np.uint8]:
    """Return 256 colours whose lightness grows in equal steps; every anchor stands where its own lightness falls."""
    anchors = np.stack([_lab(colour) for colour in _ANCHORS])
    lightness = np.linspace(anchors[0, 0], anchors[-1, 0], 256)
    return _rgb8(np.stack([np.interp(lightness, anchors[:, 0], anchors[:, axis]) for axis in range(3)], axis=1))


_COLOURS: Final = _lookup_table()


def colour_map(values: Array) -> NDArray[np.uint8]:
    """Return the colour of every value, from near black (0) through violet and orange to near white (1).

    Args:
        values: (H, W) in [0, 1]; values outside are clipped, NaN counts as 0.

    Returns:
        (H, W, 3) uint8, sRGB.
    """
    within = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)), 0, 1)
    return np.asarray(_COLOURS[np.rint(255 * within).astype(np.intp)])


def colour_range(calibration: Calibration) -> tuple[float, float]:
    """Return the map values at which overlays begin to colour and are brightest: the same for every image of a model.

    They are the median of healthy pixels, and the value that one healthy pixel in a thousand exceeds.
    """
    low, high = COLOURED
    return calibration.map_values.at(low), calibration.map_values.at(high)


def overlay(image: Array, anomaly_map: Array, low: float, high: float, mask: Array | None = None) -> Image.Image:
    """Return the anomaly map blended over its image.

    Args:
        image: (C, H, W), floats in [0, 1] or uint8, C = 1 or 3.
        anomaly_map: (H, W), higher = more anomalous; where it is NaN, the image is dark and striped: not looked at.
        low: Map value at and below which only the image is seen.
        high: Map value at and above which the colour is brightest and most opaque.
        mask: (H, W), non-zero where the truth is anomalous; drawn as a thin line around those pixels.

    Returns:
        An RGB image of W x H pixels.

    Raises:
        UsageError: The shapes do not agree, or `low` exceeds `high`.
    """
    _check(image, anomaly_map, low, high, mask)
    pixels = np.empty((*anomaly_map.shape, 3), np.uint8)
    for top in range(0, len(pixels), _BLOCK):
        rows = slice(top, top + _BLOCK)
        pixels[rows] = _blended(image[:, rows], anomaly_map[rows], low, high, top)
    return _picture(pixels, mask)


def _blended(image: Array, anomaly_map: Array, low: float, high: float, top: int) -> NDArray[np.uint8]:
    """Return (rows, W, 3), some rows of an overlay; the first of them is row `top`, so that stripes go on."""
    strength = _strength(anomaly_map, low, high)
    opacity = _OPACITY * strength[..., None]
    blended = (1 - opacity) * _pixels(image) + opacity * colour_map(strength)
    unseen = np.isnan(anomaly_map)
    if unseen.any():
        diagonal = np.add.outer(np.arange(top, top + len(unseen)), np.arange(unseen.shape[1]))
        blended[unseen] *= np.where(diagonal // _STRIPE % 2, *_UNSEEN)[unseen][:, None]
    return np.rint(blended).astype(np.uint8)


def thumbnail(image: Array, anomaly_map: Array, low: float, high: float, mask: Array | None = None) -> bytes:
    """Return a strip as the bytes of a JPEG file: image, map over image and, where given, the truth.

    Args:
        image: (C, H, W) in [0, 1], C = 1 or 3; resized so that its longer side has 192 pixels.
        anomaly_map: (H, W), higher = more anomalous.
        low: As in `overlay`.
        high: As in `overlay`.
        mask: (H, W), non-zero where the truth is anomalous.

    Raises:
        UsageError: As in `overlay`.
    """
    _check(image, anomaly_map, low, high, mask)
    image = np.stack([_resized(channel, Image.Resampling.BICUBIC) for channel in image])
    anomaly_map = _resized(anomaly_map, Image.Resampling.BILINEAR)
    panels = [_picture(_pixels(image), None)]
    if mask is None:
        panels.append(overlay(image, anomaly_map, low, high))
    else:
        mask = _resized(mask != 0, Image.Resampling.NEAREST) > 0
        panels += [overlay(image, anomaly_map, low, high, mask), _truth(image, mask)]
    return _jpeg(_strip(panels))


def _check(image: Array, anomaly_map: Array, low: float, high: float, mask: Array | None) -> None:
    shapes = {array.shape for array in (anomaly_map, mask) if array is not None}
    if image.ndim != 3 or image.shape[0] not in (1, 3) or shapes != {image.shape[1:]}:
        listed = ", ".join(str(shape) for shape in (image.shape, *sorted(shapes)))
        raise UsageError(f"the shapes {listed} do not belong together", "an image (1 or 3, H, W) and maps (H, W)")
    if not low <= high:
        raise UsageError(f"the colour scale from {low} to {high} runs backwards", "low at most as large as high")


def _strength(anomaly_map: Array, low: float, high: float) -> Array:
    """Return where in [low, high] each value lies, in [0, 1]; a scale without width has only its two ends."""
    values = np.asarray(anomaly_map, dtype=np.float64)
    if low == high:
        return np.asarray((values > high).astype(np.float64))
    return np.clip(np.nan_to_num((values - low) / (high - low)), 0, 1)


def _pixels(image: Array) -> Array:
    """Return (H, W, 3) float64 in [0, 255]."""
    channels = np.broadcast_to(image, (3, *image.shape[1:]))
    if image.dtype == np.uint8:
        return np.moveaxis(channels, 0, -1).astype(np.float64)
    return 255 * np.clip(np.nan_to_num(np.moveaxis(channels, 0, -1).astype(np.float64)), 0, 1)


def _picture(pixels: Array, mask: Array | None) -> Image.Image:
    if mask is not None:
        pixels = np.where(_contour(mask)[..., None], _TRUTH, pixels)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _contour(mask: Array) -> NDArray[np.bool_]:
    """Return the pixels just outside the mask, so that the line hides nothing of a small lesion."""
    inside = np.pad(mask != 0, 1)
    touching = inside[:-2, 1:-1] | inside[2:, 1:-1] | inside[1:-1, :-2] | inside[1:-1, 2:]
    return np.asarray(touching & ~inside[1:-1, 1:-1])


def _truth(image: Array, mask: Array) -> Image.Image:
    opacity = _TRUTH_OPACITY * (mask != 0)[..., None]
    return _picture((1 - opacity) * _pixels(image) + opacity * _TRUTH, mask)


def _resized(plane: Array, how: Image.Resampling) -> Array:
    height, width = plane.shape
    scale = _SIDE / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.asarray(Image.fromarray(np.asarray(plane, dtype=np.float32)).resize(size, how))


def _strip(panels: list[Image.Image]) -> Image.Image:
    width, height = panels[0].size
    strip = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height))
    for place, panel in enumerate(panels):
        strip.paste(panel, (place * (width + _GAP), 0))
    return strip


def _jpeg(picture: Image.Image) -> bytes:
    stream = BytesIO()
    # Full chroma resolution: at half of it a lesion of a few pixels loses its colour.
    picture.save(stream, "JPEG", quality=85, subsampling=0, optimize=True)
    return stream.getvalue()
