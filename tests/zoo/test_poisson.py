"""Poisson blending: the solution of the sparse system, not an approximation to it."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse
import torch
from torch import Tensor

from upd_zoo.layers.poisson import Rectangles, blend

Array = npt.NDArray[np.float64]
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))
SIDE = 26
SIZE = 48
PLACES = {
    "in the middle": (20, 33, 9, 22),
    "as large as can be": (4, 30, 12, 38),
    "oblong": (5, 8, 3, 29),
    "in the upper left corner": (1, 14, 1, 9),
    "in the lower right corner": (40, 47, 21, 47),
    "a single pixel": (10, 11, 46, 47),
}


def solved(near: Array, far: Array, alpha: float, place: tuple[int, int, int, int]) -> Array:
    """Return one channel blended pixel by pixel: the explicit sparse system, solved by elimination."""
    top, bottom, left, right = place
    pixels = [(row, column) for row in range(top, bottom) for column in range(left, right)]
    number = {pixel: position for position, pixel in enumerate(pixels)}
    matrix = scipy.sparse.lil_matrix((len(pixels), len(pixels)))
    right_side = np.zeros(len(pixels))
    for p, position in number.items():
        matrix[position, position] = 4
        for row, column in NEIGHBOURS:
            q = (p[0] + row, p[1] + column)
            own, foreign = (1 - alpha) * (near[p] - near[q]), alpha * (far[p] - far[q])
            right_side[position] += own if abs(own) > abs(foreign) else foreign
            if q in number:
                matrix[position, number[q]] = -1
            else:
                right_side[position] += near[q]
    blended = near.copy()
    blended[top:bottom, left:right] = scipy.sparse.linalg.spsolve(matrix.tocsr(), right_side).reshape(
        bottom - top, right - left
    )
    return blended


def rectangles(*places: tuple[int, int, int, int]) -> Rectangles:
    return Rectangles(*torch.tensor(places).unbind(1))


def images(count: int, channels: int, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_the_sparse_systems_solution(channels: int) -> None:
    places = list(PLACES.values())
    near, far = images(len(places), channels), images(len(places), channels, seed=1)
    alpha = torch.linspace(0.05, 0.95, len(places))
    found = blend(near, far, alpha, rectangles(*places), SIDE)
    for number, place in enumerate(places):
        for channel in range(channels):
            one, other = near[number, channel].double().numpy(), far[number, channel].double().numpy()
            expected = solved(one, other, float(alpha[number]), place)
            np.testing.assert_allclose(found[number, channel].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_float64_images_keep_their_precision(place: tuple[int, int, int, int]) -> None:
    near, far = images(1, 1).double(), images(1, 1, seed=1).double()
    found = blend(near, far, torch.tensor([0.5], dtype=torch.float64), rectangles(place), SIDE)
    assert found.dtype == torch.float64
    expected = solved(near[0, 0].numpy(), far[0, 0].numpy(), 0.5, place)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=0, atol=1e-12)


def test_nothing_changes_outside_of_a_rectangle() -> None:
    near, far, where = images(2, 3), images(2, 3, seed=1), rectangles((1, 27, 1, 20), (30, 47, 40, 47))
    found = blend(near, far, torch.tensor([0.3, 0.9]), where, SIDE)
    inside = where.inside(SIZE, SIZE).expand_as(near)
    assert torch.equal(found[~inside], near[~inside])
    assert (found[inside] != near[inside]).float().mean() > 0.9
    assert inside.sum((1, 2, 3)).tolist() == [3 * 26 * 19, 3 * 17 * 7]


def test_an_image_blended_with_itself_by_half_of_its_gradients_is_its_harmonic_half() -> None:
    """With f' = f both gradients agree and the larger share wins: u − max(α, 1 − α) f is harmonic."""
    near = images(1, 1).double()
    found = blend(near, near, torch.tensor([0.25], dtype=torch.float64), rectangles((5, 25, 5, 25)), SIDE)
    rest = (found - 0.75 * near)[0, 0]
    laplacian = 4 * rest - rest.roll(1, 0) - rest.roll(-1, 0) - rest.roll(1, 1) - rest.roll(-1, 1)
    assert laplacian[5:25, 5:25].abs().max() < 1e-12


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    places = list(PLACES.values())
    near, far, alpha = images(len(places), 3), images(len(places), 3, seed=1), torch.linspace(0.1, 0.9, len(places))
    together = blend(near, far, alpha, rectangles(*places), SIDE)
    for number, place in enumerate(places):
        one = slice(number, number + 1)
        alone = blend(near[one], far[one], alpha[one], rectangles(place), SIDE)
        np.testing.assert_allclose(alone, together[one], rtol=0, atol=2e-7)


def test_the_bound_on_rectangles_changes_nothing() -> None:
    near, far, where = images(1, 1), images(1, 1, seed=1), rectangles((20, 30, 20, 28))
    found = [blend(near, far, torch.tensor([0.6]), where, side) for side in (10, 31, SIZE - 2)]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-7)
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=2e-7)


def test_channels_may_come_last_in_memory() -> None:
    near, far, where = images(2, 3), images(2, 3, seed=1), rectangles((1, 27, 1, 20), (30, 47, 40, 47))
    alpha = torch.tensor([0.3, 0.9])
    expected = blend(near, far, alpha, where, SIDE)
    near, far = near.to(memory_format=torch.channels_last), far.to(memory_format=torch.channels_last)
    assert torch.equal(blend(near, far, alpha, where, SIDE), expected)
