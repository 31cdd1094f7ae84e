"""Trainings compute without numbers below float32's range, and nothing else does."""

import torch

from upd_zoo.fitting.precision import without_subnormals


def test_numbers_below_the_range_of_float32_are_0_in_the_block_alone() -> None:
    """A processor without such a mode computes on, only slower."""
    small = torch.full((8,), 1e-30)
    outside = [float(small[0] * 1e-10)]
    with without_subnormals():
        inside = float(small[0] * 1e-10)
        supported = torch.set_flush_denormal(True)
    outside.append(float(small[0] * 1e-10))
    assert outside[0] == outside[1]
    assert inside == 0 or not supported
