"""Which pixels of an image show tissue."""

from torch import Tensor
from torch.nn import functional as F


def above_minimum(images: Tensor) -> Tensor:
    """Return (B, 1, H, W), true where any channel lies above the smallest value of its own image (B, C, H, W).

    After skull stripping the background is exactly the minimum, in [0, 1] as in [-1, 1]. Source:
    cards/study.md, section 1.4.
    """
    return images.amax(dim=1, keepdim=True) > images.amin(dim=(1, 2, 3), keepdim=True)


def eroded(foreground: Tensor, pixels: int) -> Tensor:
    """Return a foreground (B, 1, H, W) without its pixels that lie within `pixels` of background, diagonals included.

    Tissue that the border of the image cuts off does not end there: nothing is lost along it.
    """
    background = (~foreground).float()
    return F.max_pool2d(background, 2 * pixels + 1, stride=1, padding=pixels) == 0 if pixels else foreground
