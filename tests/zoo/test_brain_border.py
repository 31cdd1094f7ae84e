"""The border of a brain, on balls of which it is known where brain ends and bone begins."""

import numpy as np
import pytest

from upd_zoo.brains.border import Reach, bordered, evened, rim
from upd_zoo.brains.grid import Bools, Floats
from upd_zoo.brains.shapes import dice

SIDE, RADIUS = 64, 20
PLACES = np.indices((SIDE,) * 3).astype(np.float32)
UP = np.array([0.0, 0.0, 1.0])


def ball(radius: float, up: float = 0.0) -> Bools:
    """Return a ball around the middle, or somewhat above it."""
    middle = np.array([SIDE / 2, SIDE / 2, SIDE / 2 + up]).reshape(3, 1, 1, 1)
    return np.asarray(((PLACES - middle) ** 2).sum(axis=0) <= radius**2)


def head_of(bone: float = 0.1, thickness: float = 3.0, falling: float = 1.0) -> Floats:
    """Return a ball of white matter under cortex, fluid, bone and skin.

    Args:
        bone: Its brightness, as a share of that of white matter.
        thickness: Of bone, in voxels.
        falling: Brightness at the upper end, as a share of that at the lower.
    """
    brightness = np.zeros((SIDE,) * 3, np.float32)
    layers = {RADIUS + thickness + 5: 0.9, RADIUS + thickness: bone, RADIUS: 0.65, RADIUS - 4: 1.0}
    for radius, value in layers.items():
        brightness[ball(radius)] = value
    return np.asarray(500 * brightness * np.linspace(1, falling, SIDE), np.float32)


@pytest.mark.parametrize("expected", [ball(16), ball(20, 3), ball(23)], ids=["small", "high", "large"])
@pytest.mark.parametrize("falling", [1.0, 0.25])
def test_the_border_goes_to_where_bone_begins_in_dim_parts_as_well(expected: Bools, falling: float) -> None:
    found = bordered(head_of(falling=falling), expected, Reach(4, 6))
    assert dice(expected, ball(RADIUS)) < 0.9
    assert dice(found, ball(RADIUS)) > 0.95


def test_thin_bone_that_is_not_dark_ends_a_brain_too() -> None:
    found = bordered(head_of(bone=0.3, thickness=1.5), ball(18), Reach(4, 6))
    assert dice(found, ball(RADIUS)) > 0.9


def test_where_there_is_no_bone_the_border_stays() -> None:
    expected = ball(18)
    found = bordered(np.full((SIDE,) * 3, 500, np.float32), expected, Reach(4, 6))
    assert dice(found, expected) > 0.98


def test_sulci_between_gyri_do_not_pull_the_border_inwards() -> None:
    head = head_of()
    head[(PLACES[0] % 8 < 1.5) & ball(RADIUS) & ~ball(RADIUS - 6)] = 100
    assert dice(bordered(head, ball(18), Reach(4, 6)), ball(RADIUS)) > 0.93  # of each alone, 0.87


def test_an_evened_brain_is_equally_bright_everywhere_and_dark_outside() -> None:
    brain = evened(head_of(falling=0.25), ball(RADIUS))
    white = ball(RADIUS - 5) & ~ball(RADIUS - 10)
    low, high = (brain[white & half] for half in (PLACES[2] < SIDE / 2, PLACES[2] > SIDE / 2))
    assert 0.8 < low.mean() / high.mean() < 1.25
    assert 0.8 < brain[white].mean() < 1.3
    assert (brain[~ball(RADIUS)] == 0).all()


def test_what_goes_on_above_a_brain_is_seen() -> None:
    head, whole = head_of(falling=0.5), ball(RADIUS)
    cut = whole & (PLACES[2] < SIDE / 2 + 10)
    assert rim(head, whole, UP) < 0.05
    assert rim(head, cut, UP) > 0.5
    assert rim(np.where(cut, head, 0), cut, UP) == 0
