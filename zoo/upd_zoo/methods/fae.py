"""FAE: a structural feature autoencoder (feature modelling).

A backbone φ, trained on photographs, describes an image by its three shallowest levels, laid over each other at stride
4; an autoencoder learns to reconstruct the features of healthy images,

    L = 1 − mean SSIM( φ(x), φ̂(x) ),    window 5 x 5, σ = 1.5, constants of dynamic range 1, each channel by itself,

where the features, which end in a ReLU, are neither bounded nor scaled. What has not been seen is reconstructed badly:

    map = upsample( mean over channels of  1 − SSIM( φ(x), φ̂(x) ) )  ∈ [0, 2].

Any timm backbone with levels of strides 2, 4 and 8 can describe; `resnet18` gives the study's 256 channels.

Switches:
    placement         The study resizes the deepest level and the map corner to corner, and so puts what cells say up to
                      half a cell too far right and down. Here it lies where they look.
    normalise         The study's backbone gets pixels in [−1, 1]; here it gets what its weights learnt with, of which
                      batch normalisation that adapts leaves little.
    adapt_batch_norm  The study calls its extractor frozen, but batch normalisation trains with the statistics of its
                      batches and re-estimates the running ones on the target domain. This adaptation is kept, for it
                      matters; without it the backbone is frozen indeed.

References: section IV-B of the study; Meissen et al. 2022, "Unsupervised anomaly localization with structural
feature-autoencoders".
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.resize import Grid, Regrid
from upd_zoo.layers.similarity import Dissimilarity
from upd_zoo.method import Method, register

_STRIDES = (2, 4, 8)
_WINDOW = 5


def _normalised(convolution: nn.Module, channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.01), nn.Dropout2d(dropout))


def _encoder(widths: list[int], dropout: float) -> nn.Sequential:
    halvings = [
        _normalised(nn.Conv2d(i, o, 5, stride=2, padding=2, bias=False), o, dropout) for i, o in pairwise(widths)
    ]
    return nn.Sequential(*halvings, nn.Conv2d(widths[-1], widths[-1], 5, padding=2, bias=False))


def _decoder(widths: list[int], dropout: float) -> nn.Sequential:
    outputs = [*widths[-2:0:-1], widths[0]]
    doublings = [
        _normalised(nn.ConvTranspose2d(i, o, 6, stride=2, padding=2, bias=False), o, dropout)
        for i, o in pairwise([widths[-1], *outputs])
    ]
    return nn.Sequential(*doublings, nn.Conv2d(widths[0], widths[0], 1, bias=False))


@register
class FAE(Method):
    """Structural feature autoencoder.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        backbone: timm name of the network whose levels of strides 2, 4 and 8 are reconstructed.
        widths: Channels of the autoencoder after each halving.
        dropout: Share of channels dropped after each halving and doubling, in training.
        adapt_batch_norm: Whether training re-estimates the backbone's running statistics on its own images.
        placement: Where in the image the cells of a level lie: `looked-at`, or `edges` or `corners` of it; see
            `upd_zoo.layers.receptive_field`.
        normalise: Whether the backbone takes images in [0, 1] and normalises them as its weights expect.
        levels_from: Of the backbone: its `blocks`, or their `expansion` where they end in a linear bottleneck.
    """

    id = "fae"
    title = "FAE"

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the backbone takes 1 or 3
        side: int,
        *,
        backbone: str = "resnet18",
        widths: Sequence[int] = (100, 150, 200, 300),
        dropout: float = 0.1,
        adapt_batch_norm: bool = True,
        placement: str = "corners",
        levels_from: str = "blocks",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = FeatureBackbone(
            backbone, side, _STRIDES, adapts=adapt_batch_norm, features=levels_from, normalise=normalise
        )
        _, grid, deep = self.backbone.grids(placement)
        self.enlarge = Regrid(deep, grid)
        all_widths = [sum(self.backbone.channels), *widths]
        self.encoder = _encoder(all_widths, dropout)
        self.decoder = _decoder(all_widths, dropout)
        self.dissimilarity = Dissimilarity(1.0, grid.side, _WINDOW, dtype=torch.float32)
        self.upsample = Regrid(grid, Grid(side))

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (self.backbone.encoder,)

    @override
    def described_by(self) -> FeatureBackbone | None:
        return None if self.backbone.adapts else self.backbone

    def extract(self, images: Tensor) -> Tensor:
        """Return features (B, C', H / 4, W / 4) of images (B, C, H, W)."""
        shallow, middle, deep = self.backbone(images)
        # With this pooling, which a ResNet has after its first convolution, the shallow level is the study's layer 0.
        return cat((F.max_pool2d(shallow, 3, stride=2, padding=1), middle, self.enlarge(deep)), dim=1)

    def difference(self, images: Tensor) -> Tensor:
        """Return 1 − SSIM (B, C', H / 4, W / 4) of the features of images (B, C, H, W) and of what is drawn of them."""
        features = self.extract(images)
        dissimilarity: Tensor = self.dissimilarity(features, self.decoder(self.encoder(features)))
        return dissimilarity

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": self.difference(images).mean()}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        anomaly_map: Tensor = self.upsample(self.difference(images).mean(dim=1, keepdim=True))
        return anomaly_map
