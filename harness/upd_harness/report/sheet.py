"""A sheet of labelled pictures: what lays out panels beside and below each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from upd_harness.report.overlay import overlay

_LABEL: Final = 110
_HEAD: Final = 18
_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sheet: its label and its panels, all of one size."""

    label: str
    panels: Sequence[Image.Image]


def panel(image: npt.NDArray[np.floating], mask: npt.NDArray[np.uint8] | None = None) -> Image.Image:
    """Return an image (C, H, W) in [0, 1] as a picture; the outline of a mask (H, W) is drawn where there is one."""
    pixels = np.clip(image, 0, 1).astype(np.float32)
    return overlay(pixels, np.zeros_like(pixels[0]), 1, 2, mask)


def sheet(heads: Sequence[str], lines: Sequence[Line]) -> Image.Image:
    """Return lines below each other; `heads` stand above the columns, and again where there are more columns."""
    width, height = lines[0].panels[0].size
    columns = max(len(line.panels) for line in lines)
    drawn = Image.new("RGB", (_LABEL + (width + _GAP) * columns, _HEAD + (height + _GAP) * len(lines)), "black")
    pen = ImageDraw.Draw(drawn)
    for column in range(columns):
        pen.text((_LABEL + (width + _GAP) * column + 4, 3), heads[column % len(heads)], fill="white")
    for number, line in enumerate(lines):
        top = _HEAD + (height + _GAP) * number
        pen.text((4, top + height // 2 - 6), line.label, fill="white")
        for column, picture in enumerate(line.panels):
            drawn.paste(picture, (_LABEL + (width + _GAP) * column, top))
    return drawn
