"""Which pictures a model can take: large enough, and in the colours that it knows.

One place for the images that it learns from and those that it scores.
"""

from typing import Any, Final

import numpy.typing as npt

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.vocabulary import Side

_LEAST_SIDE: Final = 32
"""Reduced to 32 pixels and brought to a model's 128, 95 % of 150 radiographs (NIH ChestX-ray14) and of 80 healthy
photographs (IDRiD) keep over half of their detail, the variance about their own averages over 16 x 16 fields; reduced
to 16, half of them keep less than a quarter. Of 100 of each brought to 192 or 256, at least 98 keep over half."""
_GREY_IN_COLOUR: Final = Caution(CautionCode.CHANNELS, "stored in colour, but grey: one channel is used")


def check_size(stored: npt.NDArray[Any], side: Side, name: str) -> None:
    """Refuse an image with too few pixels to show what a model looks for."""
    _, height, width = stored.shape
    if min(height, width) < _LEAST_SIDE:
        problem = f"{name}: it has {height} x {width} pixels"
        accepted = f"at least {_LEAST_SIDE} along each side, as the model looks at {side} x {side}"
        raise InputError(InputErrorCode.IMPLAUSIBLE, problem, accepted, "score the original, not an icon or a preview")


def channels_taken(stored: npt.NDArray[Any], channels: int, name: str) -> tuple[int, list[Caution]]:
    """Return how many of the channels the model takes, and a caution where the image had others."""
    if len(stored) == channels:
        return channels, []
    if channels == 1 and all((channel == stored[0]).all() for channel in stored[1:]):
        return 1, [_GREY_IN_COLOUR]
    kinds = {1: "grey", 3: "colour"}
    raise InputError(
        InputErrorCode.CHANNELS,
        f"{name}: it is a {kinds[len(stored)]} image",
        f"{kinds[channels]} images for this model",
        "look for another model with upd-zoo list",
    )
