"""Which pixels of an image show tissue."""

from torch import Tensor


def above_minimum(images: Tensor) -> Tensor:
    """Return (B, 1, H, W), true where any channel lies above the smallest value of its own image (B, C, H, W).

    After skull stripping the background is exactly the minimum, in [0, 1] as in [-1, 1]. Source:
    cards/study.md, section 1.4.
    """
    return images.amax(dim=1, keepdim=True) > images.amin(dim=(1, 2, 3), keepdim=True)
