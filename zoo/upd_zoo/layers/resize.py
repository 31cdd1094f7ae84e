"""Bilinear resizing as two matrix products.

Resize operators differ between runtimes by up to 0.98 of a pixel value in their corner cases; products with constant
matrices agree everywhere to float32 rounding.
"""

import torch
from torch import Tensor, nn

from upd_zoo.layers.precision import full_precision


class Resize(nn.Module):
    """Bilinear resizing of square maps, without anti-aliasing, to a square of fixed size.

    Args:
        source: Side of the input in pixels.
        target: Side of the output in pixels.
        align_corners: Whether the centres of the corner pixels keep their place (else the outer edges do).
    """

    matrix: Tensor

    def __init__(self, source: int, target: int, *, align_corners: bool) -> None:
        super().__init__()
        self.register_buffer("matrix", interpolation_matrix(source, target, align_corners=align_corners), False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (..., target, target) of (..., source, source)."""
        with full_precision(maps.device):
            return self.matrix @ maps.to(self.matrix.dtype) @ self.matrix.T


def interpolation_matrix(source: int, target: int, *, align_corners: bool) -> Tensor:
    """Return the (target, source) float32 matrix of linear interpolation; its rows sum to 1."""
    position = torch.arange(target, dtype=torch.float64)
    if align_corners:
        position = position * ((source - 1) / max(target - 1, 1))
    else:
        position = ((position + 0.5) * (source / target) - 0.5).clamp(0, source - 1)
    lower = position.floor().clamp(max=source - 1).long()
    upper = (lower + 1).clamp(max=source - 1)
    weight = position - lower
    matrix = torch.zeros(target, source, dtype=torch.float64)
    rows = torch.arange(target)
    matrix[rows, lower] += 1 - weight
    matrix[rows, upper] += weight
    return matrix.float()
