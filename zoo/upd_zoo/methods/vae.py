"""VAE: a variational autoencoder with a dense bottleneck (image reconstruction).

Learnt: to encode a healthy image x in a few numbers z and to reconstruct it,

    L = mean (x − x̂)² + w · mean ½ (μ² + σ² − 1 − log σ²),    z = μ + σ ε,  ε ~ N(0, I),

both means over the batch and over pixels or latent dimensions. What is not healthy is not learnt, so

    map = residual(x, x̂).

Differs from the study (switches):
    sample_at_test  The study draws ε at test time too, so that its maps change from run to run. Here z = μ; with the
                    switch one ε, drawn once and stored, serves every image.
    smoothing, erosion  The study takes maps as they are. Here the detector smooths them, and erodes tissue, where that
                    shows planted anomalies better. The residual is the study's in both: 1 − SSIM with the constants of
                    8-bit images (L = 255) on [0, 1].

References: section IV-A of the study; Kingma & Welling 2014, equation 10; Baur et al. 2021 (dense VAE).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.residual import residual_called
from upd_zoo.method import Method, register

_DEPTH = 6
"""Halvings: from 128 px to 2 px."""


def _normalised(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.01))


def _encoder(widths: list[int], bottleneck: int) -> nn.Sequential:
    inputs = [3, *widths[:-1]]
    halvings = [_normalised(nn.Conv2d(i, o, 3, stride=2, padding=1), o) for i, o in zip(inputs, widths, strict=True)]
    return nn.Sequential(*halvings, _normalised(nn.Conv2d(widths[-1], bottleneck, 1), bottleneck))


def _decoder(widths: list[int], bottleneck: int, channels: int) -> nn.Sequential:
    outputs = [*widths[-2::-1], widths[0]]
    doublings = [
        _normalised(nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1), o)
        for i, o in zip(widths[::-1], outputs, strict=True)
    ]
    widen = _normalised(nn.Conv2d(bottleneck, widths[-1], 1), widths[-1])
    return nn.Sequential(widen, *doublings, nn.Conv2d(widths[0], channels, 1))


@register
class VAE(Method):
    """Variational autoencoder with a dense bottleneck.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels after the first convolution; doubled with every halving.
        bottleneck: Channels of the code before the dense layer, 2 x 2 for 128 px.
        latent: Dimensions of z.
        kl_weight: w, weight of the Kullback-Leibler term.
        sample_at_test: Whether z = μ + σ ε at test time, with a fixed ε.
        residual: What the map is; see `upd_zoo.layers.residual`.
    """

    id = "vae"
    title = "VAE"
    noise: Tensor

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int = 16,
        bottleneck: int = 16,
        latent: int = 512,
        kl_weight: float = 1e-3,
        sample_at_test: bool = False,
        residual: str = "ssim",
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(_DEPTH)]
        self.code_side = side // 2**_DEPTH
        self.kl_weight, self.sample_at_test = kl_weight, sample_at_test
        self.encoder = _encoder(widths, bottleneck)
        self.to_latent = nn.Linear(bottleneck * self.code_side**2, 2 * latent, bias=False)
        self.from_latent = nn.Linear(latent, bottleneck * self.code_side**2, bias=False)
        self.decoder = _decoder(widths, bottleneck, channels)
        self.residual = residual_called(residual, side)
        self.register_buffer("noise", torch.randn(1, latent))

    def code(self, images: Tensor) -> Tensor:
        """Return μ and then log σ², (B, 2 * latent), of images (B, C, H, W)."""
        code: Tensor = self.to_latent(self.encoder(images.expand(-1, 3, -1, -1)).flatten(1))
        return code

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (Encoder("vae", {"encoder": self.encoder, "to_latent": self.to_latent}, self.code),)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², (B, latent) each, of images (B, C, H, W)."""
        mean, log_variance = self.code(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Return the image (B, C, H, W) that z (B, latent) decodes to; no output activation."""
        image: Tensor = self.decoder(self.from_latent(z).unflatten(1, (-1, self.code_side, self.code_side)))
        return image

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        mean, log_variance = self.encode(images)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        reconstruction = F.mse_loss(self.decode(z), images)
        kl = (mean**2 + log_variance.exp() - 1 - log_variance).mean() / 2
        return {"loss": reconstruction + self.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return x̂ of images (B, C, H, W), in their own range."""
        mean, log_variance = self.encode(images)
        return self.decode(mean + (log_variance / 2).exp() * self.noise if self.sample_at_test else mean)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        residual: Tensor = self.residual(images, self.reconstruct(images))
        return residual
