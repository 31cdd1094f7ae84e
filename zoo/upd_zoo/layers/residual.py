"""How far an image is from what a method would draw instead: residual maps, by the names that settings give them.

    ssim             1 − SSIM with L = 1, the range of pixels in [0, 1]
    ssim-centred     1 − SSIM with L = 2, the range of pixels in [-1, 1]
    ssim-8-bit       1 − SSIM with L = 255, on the same pixels: the study's, in effect a blurred squared error
    absolute         |x − x̂|
    absolute-median  |x − x̂|, then the median of the 5 x 5 pixels around each one, as in the original DAE

Real SSIM calls texture that is not drawn as different as a lesion; L = 255 and the absolute residual forgive it, and
the median forgives edges as well. Source: cards/study.md, section 1.3; Kascenas et al. 2022.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upd_zoo.errors import UsageError, closest
from upd_zoo.layers.similarity import SSIMResidual

_WINDOW = 5
"""Side of the median's window in pixels, the original DAE's."""


class AbsoluteResidual(nn.Module):
    """|x − y|, averaged over channels; higher where images differ more.

    Args:
        window: Side of the window in pixels, an odd number, whose median each pixel gets; 1 leaves all as it is.
    """

    def __init__(self, window: int = 1) -> None:
        super().__init__()
        self.window = window

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32, at least 0, of two batches (B, C, H, W)."""
        difference = (images - others).abs().mean(dim=1, keepdim=True).float()
        return median(difference, self.window) if self.window > 1 else difference


def median(maps: Tensor, window: int) -> Tensor:
    """Return (B, 1, H, W), the median of the square around each pixel; beyond the border its pixels are repeated.

    It is the smallest of the upper half, which every runtime can look for. Beside a map of 128 x 128 pixels that takes
    some 4 MB.
    """
    half, (height, width) = window // 2, maps.shape[-2:]
    padded = F.pad(maps, (half, half, half, half), mode="replicate")
    shifted = [padded[..., i : i + height, j : j + width] for i in range(window) for j in range(window)]
    upper = torch.cat(shifted, dim=1).topk(window**2 // 2 + 1, dim=1).values
    return upper.amin(dim=1, keepdim=True)


_RESIDUALS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "ssim": lambda side: SSIMResidual(1.0, side),
    "ssim-centred": lambda side: SSIMResidual(2.0, side),
    "ssim-8-bit": lambda side: SSIMResidual(255.0, side),
    "absolute": lambda _: AbsoluteResidual(),
    "absolute-median": lambda _: AbsoluteResidual(_WINDOW),
}
RESIDUALS: Final = tuple(_RESIDUALS)


def residual_called(name: str, side: int) -> nn.Module:
    """Return a residual by its name: two batches (B, C, side, side) become a map (B, 1, side, side) float32.

    Raises:
        UsageError: No residual has this name.
    """
    if name not in _RESIDUALS:
        raise UsageError(f"no residual is called '{name}'", closest(name, RESIDUALS))
    return _RESIDUALS[name](side)
