"""Structural similarity, of images as a residual map and of feature maps as a loss.

Source: cards/study.md, section 1.3; Wang et al. 2004, equation 13. With means μ and second moments taken in a Gaussian
window w,

    1 − SSIM = (μx − μy)² / C + A · Var_w(x − y) / (C · D),
    A = 2 μx μy + C1,   C = μx² + μy² + C1,   D = σx² + σy² + C2,

which is the usual formula rearranged so that the study's constants (dynamic range 255 on images in [0, 1], differences
near 1e-3) do not vanish beside 1. The variances still cancel, so images are compared in float64; in float32, two
batch sizes differed by 7e-5, and of products in bfloat16 nothing would be left. Windows are products with a banded
matrix, which every runtime has in float64.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from upd_zoo.layers.precision import full_precision


class Dissimilarity(nn.Module):
    """1 − SSIM at every pixel of every channel, in [0, 2]; higher where two batches of maps differ more.

    Args:
        dynamic_range: L, largest minus smallest possible value.
        side: Height and width of the maps in pixels.
        window: Side of the Gaussian window in pixels.
        sigma: Standard deviation of the window in pixels.
        dtype: In which it is computed and returned.
    """

    matrix: Tensor

    def __init__(
        self, dynamic_range: float, side: int, window: int, sigma: float = 1.5, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        self.c1, self.c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
        self.register_buffer("matrix", window_matrix(side, window, sigma).to(dtype), False)

    def forward(self, maps: Tensor, others: Tensor) -> Tensor:
        """Return (B, C, H, W) of two batches (B, C, H, W)."""
        with full_precision(maps.device):
            return self._compared(maps.to(self.matrix.dtype), others.to(self.matrix.dtype))

    def _compared(self, maps: Tensor, others: Tensor) -> Tensor:
        mean_x, mean_y = self._mean(maps), self._mean(others)
        variance_x, variance_y = self._variance(maps, mean_x), self._variance(others, mean_y)
        difference = maps - others
        mean_difference = self._mean(difference)
        a = 2 * mean_x * mean_y + self.c1
        c = mean_x**2 + mean_y**2 + self.c1
        d = variance_x + variance_y + self.c2
        return mean_difference**2 / c + a * self._variance(difference, mean_difference) / (c * d)

    def _mean(self, maps: Tensor) -> Tensor:
        """Return the mean in the window around each pixel."""
        return self.matrix @ maps @ self.matrix.T

    def _variance(self, maps: Tensor, mean: Tensor) -> Tensor:
        """Return the variance in the window; rounding makes that of large constant values negative in float32."""
        return (self._mean(maps**2) - mean**2).clamp(min=0)


class SSIMResidual(Dissimilarity):
    """Map of 1 − SSIM, clamped to [0, 1] and averaged over channels; higher where images differ more.

    Args:
        dynamic_range: L, largest minus smallest possible value. The study used 255 on images in [0, 1], which turns the
            map into little more than the square of a blurred difference.
        side: Height and width of the images in pixels.
        window: Side of the Gaussian window in pixels.
        sigma: Standard deviation of the window in pixels.
    """

    def __init__(self, dynamic_range: float, side: int, window: int = 11, sigma: float = 1.5) -> None:
        super().__init__(dynamic_range, side, window, sigma)

    @override
    def forward(self, maps: Tensor, others: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32 in [0, 1] of two batches (B, C, H, W)."""
        return super().forward(maps, others).clamp(0, 1).mean(dim=1, keepdim=True).float()


def window_matrix(side: int, window: int, sigma: float) -> Tensor:
    """Return the (side, side) float64 matrix of a Gaussian window; zeros beyond the border, as in the study."""
    offset = torch.arange(side)[None, :] - torch.arange(side)[:, None]
    gaussian = torch.exp(-(offset.double() ** 2) / (2 * sigma**2)).where(offset.abs() <= window // 2, 0.0)
    weights = torch.exp(-((torch.arange(window) - window // 2).double() ** 2) / (2 * sigma**2))
    return gaussian / weights.sum()
