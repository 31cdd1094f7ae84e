"""Toy: the mean of healthy images, and how far an image is from it, smoothed."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.method import Method, register


@register
class Toy(Method):
    """The mean image.

    Args:
        channels: 1 or 3.
        side: Height and width of the images in pixels.
        window: Side of the square over which the map is smoothed, odd.
    """

    id = "toy"
    title = "Toy"

    def __init__(self, channels: int, side: int, *, window: int = 5) -> None:
        super().__init__()
        self.window = window
        self.mean = nn.Parameter(torch.zeros(channels, side, side))

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(self.reconstruct(images), images)}

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        return self.mean.expand_as(images)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        distance = (images - self.mean).abs().mean(1, keepdim=True)  # (B, 1, H, W)
        return F.avg_pool2d(distance, self.window, stride=1, padding=self.window // 2)
