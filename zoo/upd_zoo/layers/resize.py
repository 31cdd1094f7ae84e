"""Linear interpolation of square maps as two matrix products.

Resize operators differ between runtimes by up to 0.98 of a pixel value in their corner cases; products with constant
matrices agree everywhere to float32 rounding.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from upd_zoo.layers.precision import full_precision


class Grid(NamedTuple):
    """Where the cells of a square map lie in an image; without more than a side, the image's own pixels.

    Attributes:
        side: Cells in a row.
        first: Pixel at which the first cell of a row lies, from 0 at the centre of the first pixel.
        stride: Pixels from one cell to the next.
    """

    side: int
    first: float = 0.0
    stride: float = 1.0


class Interpolation(nn.Module):
    """Linear interpolation of square maps along both axes.

    Args:
        matrix: (target, source), what each row of the result takes of each row of the input.
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (..., target, target) of (..., source, source)."""
        with full_precision(maps.device):
            return self.matrix @ maps.to(self.matrix.dtype) @ self.matrix.T

    def means(self, maps: Tensor) -> Tensor:
        """Return means (..., source, source) of (..., target, target) around each cell, weighted as they take of it."""
        weights = self.matrix / self.matrix.sum(0)
        return weights.T @ maps.to(weights.dtype) @ weights


class Resize(Interpolation):
    """Bilinear resizing of square maps, without anti-aliasing, to a square of fixed size.

    Args:
        source: Side of the input in pixels.
        target: Side of the output in pixels.
        align_corners: Whether the centres of the corner pixels keep their place (else the outer edges do).
    """

    def __init__(self, source: int, target: int, *, align_corners: bool) -> None:
        super().__init__(interpolation_matrix(source, target, align_corners=align_corners))


class Regrid(Interpolation):
    """Bilinear interpolation of maps on one grid at the cells of another, constant beyond the outermost cells.

    Args:
        source: Where the cells of the input lie.
        target: Where those of the output lie.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        super().__init__(placement_matrix(source, target))


def interpolation_matrix(source: int, target: int, *, align_corners: bool) -> Tensor:
    """Return the (target, source) float32 matrix of linear interpolation; its rows sum to 1."""
    position = torch.arange(target, dtype=torch.float64)
    if align_corners:
        return _linear(position * ((source - 1) / max(target - 1, 1)), source)
    return _linear((position + 0.5) * (source / target) - 0.5, source)


def placement_matrix(source: Grid, target: Grid) -> Tensor:
    """Return the (target, source) float32 matrix of linear interpolation between grids; its rows sum to 1."""
    pixel = target.first + target.stride * torch.arange(target.side, dtype=torch.float64)
    return _linear((pixel - source.first) / source.stride, source.side)


def _linear(position: Tensor, source: int) -> Tensor:
    """Return the float32 matrix that interpolates at positions (target,), in cells, of a row of `source` cells."""
    position = position.clamp(0, source - 1)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=source - 1)
    weight = position - lower
    matrix = torch.zeros(len(position), source, dtype=torch.float64)
    rows = torch.arange(len(position))
    matrix[rows, lower] += 1 - weight
    matrix[rows, upper] += weight
    return matrix.float()
