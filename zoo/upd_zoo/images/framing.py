"""How an image of any size becomes the square a detector takes, and how a map goes back.

One place for training and scoring: a model sees at test time what it saw in training. A rectangle of the source, the
*window*, is resized to the side of the model's image; it may reach beyond the source, where the source's minimum
(background) is put. Resizing is Pillow's, in float32, with its support widened when shrinking: nothing aliases.

Source: section V-B of the study. Slices are resized linearly, photographs by Lanczos' filter, as in its code.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.vocabulary import Framing, Protocol, Side

Array = npt.NDArray[np.float32]

_FILTERS = {
    Framing.SQUARE_SLICES: Image.Resampling.BILINEAR,
    Framing.STRETCH: Image.Resampling.LANCZOS,
    Framing.CENTRE_CROP: Image.Resampling.LANCZOS,
}


_STUDY_SHARE = 0.4
"""Above which the study calls a pixel of a shrunken mask pathological."""
_MOST_ANISOTROPIC = 20
"""How many times longer than wide a pixel may be; scans reformatted from thick slices reach 10."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the source image, in pixels: rows [top, top + height), columns [left, left + width)."""

    top: int
    left: int
    height: int
    width: int


def window(framing: Framing, height: int, width: int, spacing: tuple[float, float] = (1.0, 1.0)) -> Window:
    """Return the part of an image of `height` x `width` pixels that is resized to the square.

    Args:
        framing: The rule.
        height: Rows of the image.
        width: Columns of the image.
        spacing: Size of a pixel along rows and columns, in mm or any common unit.

    Raises:
        InputError: `geometry`, the sides of a pixel are too unlike for its square to be made.
    """
    if framing is Framing.STRETCH:
        return Window(0, 0, height, width)
    if framing is Framing.CENTRE_CROP:
        side = min(height, width)
        return Window((height - side) // 2, (width - side) // 2, side, side)
    if not 1 / _MOST_ANISOTROPIC <= spacing[0] / spacing[1] <= _MOST_ANISOTROPIC:
        raise InputError(
            InputErrorCode.GEOMETRY,
            f"its pixels are {spacing[0]:g} x {spacing[1]:g} mm large",
            f"one side at most {_MOST_ANISOTROPIC} times the other",
        )
    side_mm = max(height * spacing[0], width * spacing[1])
    tall, wide = round(side_mm / spacing[0]), round(side_mm / spacing[1])
    return Window((height - tall) // 2, (width - wide) // 2, tall, wide)


def caution_of_coarseness(part: Window, side: Side) -> list[Caution]:
    """Return the caution for an image that must be enlarged, and so shows less than the images that a model knows."""
    if min(part.height, part.width) >= side:
        return []
    message = (
        f"The model looks at {side} x {side} pixels and finds {part.height} x {part.width}: details are "
        "missing, and the score may be lower or higher for it. Score the original, not a reduced copy."
    )
    return [Caution(CautionCode.COARSE, message)]


def frame(image: Array, framing: Framing, side: Side, spacing: tuple[float, float] = (1.0, 1.0)) -> Array:
    """Bring an image to the square.

    Args:
        image: (C, H, W) float32 in [0, 1].
        framing: The rule.
        side: Of the square in pixels.
        spacing: Size of a pixel along H and W.

    Returns:
        (C, side, side) float32 in [0, 1].
    """
    part = window(framing, image.shape[1], image.shape[2], spacing)
    cut = _cut(image, part, float(image.min()))
    square = np.stack([_resize(channel, side, side, _FILTERS[framing]) for channel in cut])
    return np.clip(square, 0, 1, out=square)


def frame_mask(
    mask: npt.NDArray[np.generic],
    framing: Framing,
    side: Side,
    spacing: tuple[float, float] = (1.0, 1.0),
    protocol: Protocol = Protocol.SOUND,
) -> npt.NDArray[np.uint8]:
    """Bring a truth mask to the square: a pixel is set where at least half of its area was.

    Under the protocol `study`, a pixel of a slice is set where linear interpolation gives more than 0.4, and one of a
    photograph that is cropped where its centre was. The first takes a tenth from a disc 3 mm wide in a slice of 217 mm,
    and a hundredth from one of 32 mm; the second loses small lesions or keeps them by chance.

    Args:
        mask: (H, W), anything not zero is pathological.
        framing: The rule used for the image.
        side: Of the square in pixels.
        spacing: Size of a pixel along H and W.
        protocol: Whose rule.

    Returns:
        (side, side) uint8, 0 or 1.
    """
    binary = (mask != 0).astype(np.float32)
    part = window(framing, binary.shape[0], binary.shape[1], spacing)
    cropped = _cut(binary[None], part, 0.0)[0]
    if protocol is Protocol.SOUND or framing is Framing.STRETCH:
        return (_resize(cropped, side, side, Image.Resampling.BOX) >= 0.5).astype(np.uint8)
    if framing is Framing.SQUARE_SLICES:
        return (_resize(cropped, side, side, Image.Resampling.BILINEAR) > _STUDY_SHARE).astype(np.uint8)
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in cropped.shape)
    sampled: npt.NDArray[np.uint8] = cropped[np.ix_(rows, columns)].astype(np.uint8)
    return sampled


def grids_differ(name: str, shape: tuple[int, ...], image: tuple[int, ...]) -> InputError:
    """Return the error for a mask that does not lie on the grid of its image."""
    return InputError(
        InputErrorCode.GEOMETRY, f"{name} has shape {shape}", f"the shape of its image, {image}", "fetch both again"
    )


def unframe(
    anomaly_map: Array, framing: Framing, height: int, width: int, spacing: tuple[float, float] = (1.0, 1.0)
) -> Array:
    """Bring a map back to the image it belongs to.

    Args:
        anomaly_map: (side, side) float32, of whatever side the model's image has.
        framing: The rule used for the image.
        height: Rows of the image.
        width: Columns of the image.
        spacing: Size of a pixel along rows and columns.

    Returns:
        (height, width) float32; NaN where the model never looked, for any number would call those pixels something.
    """
    part = window(framing, height, width, spacing)
    full = _resize(anomaly_map, part.height, part.width, Image.Resampling.BILINEAR)
    whole = Window(-part.top, -part.left, height, width)
    restored: Array = _cut(full[None], whole, np.nan)[0]
    return restored


def _cut(image: Array, part: Window, beyond: float) -> Array:
    """Return the window of a (C, H, W) image, with the value `beyond` where the window reaches beyond it."""
    _, height, width = image.shape
    top, left = max(part.top, 0), max(part.left, 0)
    bottom, right = min(part.top + part.height, height), min(part.left + part.width, width)
    inside = image[:, top:bottom, left:right]
    if inside.shape[1:] == (part.height, part.width):
        return inside
    result = np.full((image.shape[0], part.height, part.width), beyond, np.float32)
    row, column = top - part.top, left - part.left
    result[:, row : row + inside.shape[1], column : column + inside.shape[2]] = inside
    return result


def _resize(channel: Array, height: int, width: int, resampling: Image.Resampling) -> Array:
    if channel.shape == (height, width):
        return channel
    picture = Image.fromarray(np.ascontiguousarray(channel, dtype=np.float32))
    return np.asarray(picture.resize((width, height), resampling), dtype=np.float32)
