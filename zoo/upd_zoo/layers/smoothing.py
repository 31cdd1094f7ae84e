"""Gaussian smoothing as two matrix products, which agree everywhere to float32 rounding."""

import torch
from torch import Tensor, nn

from upd_zoo.layers.precision import full_precision

_REACH = 4.0
"""Standard deviations after which the Gaussian ends, as in SciPy; what lies beyond has 6e-5 of its weight."""


class Smoothing(nn.Module):
    """Gaussian mean of the pixels around each one.

    Args:
        side: Height and width of the maps in pixels.
        sigma: Standard deviation in pixels, above 0.
    """

    matrix: Tensor

    def __init__(self, side: int, sigma: float) -> None:
        super().__init__()
        self.register_buffer("matrix", smoothing_matrix(side, sigma), False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (..., side, side) of the same shape, float32."""
        with full_precision(maps.device):
            return self.matrix @ maps.to(self.matrix.dtype) @ self.matrix.T


def smoothing_matrix(side: int, sigma: float) -> Tensor:
    """Return the (side, side) float32 matrix of a Gaussian mean.

    Each row sums to 1: beside the border the mean is that of the pixels that there are, and a constant stays constant.
    """
    offset = (torch.arange(side)[None, :] - torch.arange(side)[:, None]).double()
    gaussian = torch.exp(-(offset**2) / (2 * sigma**2)).where(offset.abs() <= _REACH * sigma, 0.0)
    return (gaussian / gaussian.sum(1, keepdim=True)).float()
