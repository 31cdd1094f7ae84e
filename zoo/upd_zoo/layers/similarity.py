"""Structural similarity as a residual map.

Source: section 1.3 of the methods reference; Wang et al. 2004, equation 13. With means μ and second moments taken in a
Gaussian window w,

    1 − SSIM = (μx − μy)² / C + A · Var_w(x − y) / (C · D),
    A = 2 μx μy + C1,   C = μx² + μy² + C1,   D = σx² + σy² + C2,

which is the usual formula rearranged so that the study's constants (dynamic range 255 on images in [0, 1], differences
near 1e-3) do not vanish beside 1. The variances still cancel, so everything is computed in float64; in float32, two
batch sizes differed by 7e-5. Windows are products with a banded matrix, which every runtime has in float64.
"""

import torch
from torch import Tensor, nn

from upd_zoo.vocabulary import IMAGE_SIZE


class SSIMResidual(nn.Module):
    """Map of 1 − SSIM, clamped to [0, 1] and averaged over channels; higher where images differ more.

    Args:
        dynamic_range: L, largest minus smallest possible value. The study used 255 on images in [0, 1], which turns the
            map into a blurred squared error.
        side: Height and width of the images in pixels.
        window: Side of the Gaussian window in pixels.
        sigma: Standard deviation of the window in pixels.
    """

    matrix: Tensor

    def __init__(self, dynamic_range: float, side: int = IMAGE_SIZE, window: int = 11, sigma: float = 1.5) -> None:
        super().__init__()
        self.c1, self.c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
        self.register_buffer("matrix", window_matrix(side, window, sigma), False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32 in [0, 1] of two batches (B, C, H, W)."""
        images, others = images.double(), others.double()
        mean_x, mean_y = self._mean(images), self._mean(others)
        variance_x = self._mean(images**2) - mean_x**2
        variance_y = self._mean(others**2) - mean_y**2
        difference = images - others
        mean_difference = self._mean(difference)
        variance_difference = self._mean(difference**2) - mean_difference**2
        a = 2 * mean_x * mean_y + self.c1
        c = mean_x**2 + mean_y**2 + self.c1
        d = variance_x + variance_y + self.c2
        residual = mean_difference**2 / c + a * variance_difference / (c * d)
        return residual.clamp(0, 1).mean(dim=1, keepdim=True).float()

    def _mean(self, images: Tensor) -> Tensor:
        """Return the mean in the window around each pixel."""
        return self.matrix @ images @ self.matrix.T


def window_matrix(side: int, window: int, sigma: float) -> Tensor:
    """Return the (side, side) float64 matrix of a Gaussian window; zeros beyond the border, as in the study."""
    offset = torch.arange(side)[None, :] - torch.arange(side)[:, None]
    gaussian = torch.exp(-(offset.double() ** 2) / (2 * sigma**2)).where(offset.abs() <= window // 2, 0.0)
    weights = torch.exp(-((torch.arange(window) - window // 2).double() ** 2) / (2 * sigma**2))
    return gaussian / weights.sum()
