"""Fundus photographs and the masks of their lesions, whichever data set they come from."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.framing import grids_differ
from upd_zoo.images.gate import read_photograph


def read_in_colour(path: Path) -> npt.NDArray[np.float32]:
    """Return the pixels (3, H, W) in [0, 1] of a photograph.

    Raises:
        InputError: The file cannot be read, or is grey (`channels`).
    """
    image = read_photograph(path).data
    if len(image) != 3:
        raise InputError(InputErrorCode.CHANNELS, f"{path.name} is grey", "a photograph in colour")
    return image


def outlined_in_any(masks: Iterable[Path], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return where any mask outlines a lesion, (H, W).

    A palette's colours are read as colours, so a pixel counts as lesion where any channel is not 0: the masks of IDRiD
    use the palette entries 0, black, and 76, red.

    Args:
        masks: Files of the masks of one photograph.
        shape: Its height and width.

    Raises:
        InputError: A mask cannot be read, or has another shape (`geometry`).
    """
    union = np.zeros(shape, np.bool_)
    for path in masks:
        outlined = read_photograph(path, constant_ok=True).data.any(axis=0)
        if outlined.shape != shape:
            raise grids_differ(f"{path.parent.name}/{path.name}", outlined.shape, shape)
        union |= outlined
    return union
