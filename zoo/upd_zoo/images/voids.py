"""Voids: voxels that a program left without a number.

SPM and others write NaN where they masked a brain. Outside the tissue such voxels mean background, 0; inside it, or
infinite, they mean that something went wrong.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode

Array = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_ROUNDS: Final = 16
"""How often all axes are swept: 3 times reach all that is outside of 30 brains of IXI; mazes are no brains."""


def filled(data: Array) -> tuple[Array, Caution]:
    """Return a volume whose voids are background, 0, and what to say of it.

    Args:
        data: (X, Y, Z), some of it not finite.

    Raises:
        InputError: Voxels are infinite, or NaN inside of tissue: not linked to the border through NaN and 0, or a whole
            plane between others that show something (`not-finite`).
    """
    voids = np.isnan(data)
    if np.isinf(data).any():
        raise _refusal("some voxels are infinite or beyond float32", "find out what wrote them, and export it again")
    result = np.where(voids, np.float32(0), data)
    lost = int((voids & ~_outside(result == 0)).sum()) + _lost_planes(result != 0, voids)
    if lost:
        raise _refusal(f"{lost} voxels are NaN inside of the tissue", "set them to numbers, or export it again")
    return result, Caution(
        CautionCode.NOT_FINITE,
        f"{100 * float(voids.mean()):.2g} % of its voxels are NaN. They lie outside the tissue and are taken for "
        "background, 0.",
    )


def _refusal(problem: str, next_step: str) -> InputError:
    accepted = "numbers everywhere; NaN where all around a brain is masked"
    return InputError(InputErrorCode.NOT_FINITE, problem, accepted, next_step)


def _outside(free: Bools) -> Bools:
    """Return what of `free` (X, Y, Z) is linked to the border through faces of voxels that are free."""
    reached = np.zeros_like(free)
    for axis in range(3):
        for end in (0, -1):
            border = tuple(end if each == axis else slice(None) for each in range(3))
            reached[border] = free[border]
    for _ in range(_ROUNDS):
        before = int(reached.sum())
        for axis in range(3):
            reached = _along(reached, free, axis)
            reached = np.flip(_along(np.flip(reached, axis), np.flip(free, axis), axis), axis)
        if int(reached.sum()) == before:
            break
    return reached


def _along(reached: Bools, free: Bools, axis: int) -> Bools:
    """Return what is free and follows, along an axis and with nothing between that is not, on what is reached."""
    places = np.arange(1, free.shape[axis] + 1, dtype=np.int32).reshape(
        [-1 if each == axis else 1 for each in range(3)]
    )
    wall = np.maximum.accumulate(np.where(free, 0, places), axis)
    return np.asarray(np.maximum.accumulate(np.where(reached, places, 0), axis) > wall)


def _lost_planes(tissue: Bools, voids: Bools) -> int:
    """Return the voids in planes, along any axis, that show nothing between planes that show something."""
    lost = 0
    for axis in range(3):
        shown = np.asarray(tissue.any(axis=tuple(each for each in range(3) if each != axis)))
        between = np.maximum.accumulate(shown) & np.maximum.accumulate(shown[::-1])[::-1] & ~shown
        lost += int(np.moveaxis(voids, axis, 0)[between].sum())
    return lost
