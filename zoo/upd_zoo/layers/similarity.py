"""Structural similarity as a residual map.

Source: section 1.3 of the methods reference; Wang et al. 2004, equation 13. With means μ and second moments taken in a
Gaussian window w,

    1 − SSIM = (μx − μy)² / C + A · Var_w(x − y) / (C · D),
    A = 2 μx μy + C1,   C = μx² + μy² + C1,   D = σx² + σy² + C2,

which is the usual formula rearranged so that nothing cancels: the study's constants (dynamic range 255 on images in
[0, 1]) leave differences near 1e-3, below what float32 resolves around 1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SSIMResidual(nn.Module):
    """Map of 1 − SSIM, clamped to [0, 1] and averaged over channels; higher where images differ more.

    Args:
        dynamic_range: L, largest minus smallest possible value. The study used 255 on images in [0, 1], which turns the
            map into a blurred squared error.
        window: Side of the Gaussian window in pixels.
        sigma: Standard deviation of the window in pixels.
    """

    kernel: Tensor

    def __init__(self, dynamic_range: float, window: int = 11, sigma: float = 1.5) -> None:
        super().__init__()
        self.c1, self.c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
        position = torch.arange(window, dtype=torch.float64) - window // 2
        gaussian = torch.exp(-(position**2) / (2 * sigma**2))
        self.register_buffer("kernel", (gaussian / gaussian.sum()).float(), False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Return (B, 1, H, W) in [0, 1] of two batches (B, C, H, W)."""
        mean_x, mean_y = self._mean(images), self._mean(others)
        variance_x = self._mean(images**2) - mean_x**2
        variance_y = self._mean(others**2) - mean_y**2
        difference = images - others
        mean_difference = self._mean(difference)
        variance_difference = (self._mean(difference**2) - mean_difference**2).clamp(min=0)
        a = 2 * mean_x * mean_y + self.c1
        c = mean_x**2 + mean_y**2 + self.c1
        d = (variance_x + variance_y).clamp(min=0) + self.c2
        residual = mean_difference**2 / c + a * variance_difference / (c * d)
        return residual.clamp(0, 1).mean(dim=1, keepdim=True)

    def _mean(self, images: Tensor) -> Tensor:
        """Return the mean in the window around each pixel, zeros beyond the border, as the study has it."""
        channels, half = images.shape[1], self.kernel.shape[0] // 2
        rows = self.kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        columns = self.kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        images = F.conv2d(images, rows, padding=(half, 0), groups=channels)
        return F.conv2d(images, columns, padding=(0, half), groups=channels)
