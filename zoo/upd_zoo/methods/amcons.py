"""AMCons: a variational autoencoder whose activations are spread evenly (attention).

Learnt: to encode a healthy image x in 32 numbers z and to reconstruct it, while every pixel of it excites the first
residual stage alike:

    L = Σ BCE(x̂, x) + w · ½ Σ (μ² + σ² − 1 − log σ²) − α H( softmax_p a(p) ),    z = μ + σ ε,  ε ~ N(0, I),

sums over pixels and over z, means over the batch. a is the mean over channels of the first stage's output, upsampled to
the image, and H the entropy of its softmax over the pixels. What is not healthy was never evened out:

    map = a.

Differs from the study (switches):
    maximise_entropy   The study adds α H where the original subtracts it, which draws the activation together instead
                       of spreading it. Here it is subtracted.
    inside_foreground  The study's softmax runs over all pixels; here and in the original over the tissue of brain
                       images. The original erodes the tissue first; nothing is eroded here.

Differs from the study: its batches of fewer than eight images mixed images with each other; here none meets another.

References: section IV-C of the study; Silva-Rodríguez et al. 2022.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.foreground import above_minimum
from upd_zoo.layers.resize import Resize
from upd_zoo.method import Method, register

_STAGES = 4
_EPSILON = 1e-12


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, each normalised, around a shortcut: the basic block of a ResNet.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        change: `down` halves the sides by a stride, `up` doubles them after the convolution, `keep` keeps them.
        bias: Whether the convolutions have one.
    """

    def __init__(self, inputs: int, outputs: int, change: str = "keep", *, bias: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_resizing(inputs, outputs, 3, change, bias=bias),
            nn.ReLU(),
            *_resizing(outputs, outputs, 3, "keep", bias=bias),
        )
        plain = change == "keep" and inputs == outputs
        self.shortcut = nn.Identity() if plain else nn.Sequential(*_resizing(inputs, outputs, 1, change, bias=bias))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H', W') of (B, inputs, H, W)."""
        return F.relu(self.body(features) + self.shortcut(features))


def _resizing(inputs: int, outputs: int, kernel: int, change: str, *, bias: bool) -> list[nn.Module]:
    """Return a convolution that may halve, an enlargement where sides double, and their normalisation."""
    stride = 2 if change == "down" else 1
    before: list[nn.Module] = []
    if kernel == 1 and stride == 2:
        # Every second pixel is taken first: going back over fewer than 16 channels in the layout that training uses,
        # a 1 x 1 convolution of stride 2 writes beyond its memory on the CPU (torch 2.15).
        before, stride = [nn.AvgPool2d(1, stride=2)], 1
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    after = [nn.Upsample(scale_factor=2)] if change == "up" else []
    return [*before, convolution, *after, nn.BatchNorm2d(outputs)]


def _stages(width: int) -> nn.ModuleList:
    """Return the four stages of a ResNet-18, with its initial weights."""
    widths = [width * 2**level for level in range(_STAGES)]
    stages = nn.ModuleList(
        nn.Sequential(ResidualBlock(i, o, "keep" if i == o else "down"), ResidualBlock(o, o))
        for i, o in zip([width, *widths], widths, strict=False)
    )
    for module in stages.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return stages


def _decoder(width: int, side: int, latent: int, channels: int) -> nn.Sequential:
    widths = [4 * width // 2**level for level in range(_STAGES + 1)]
    doublings = [
        nn.Sequential(ResidualBlock(i, o, "up", bias=True), ResidualBlock(o, o, bias=True)) for i, o in pairwise(widths)
    ]
    return nn.Sequential(
        nn.Linear(latent, widths[0] * side**2),
        nn.Unflatten(1, (widths[0], side, side)),
        *doublings,
        nn.Conv2d(widths[-1], channels, 3, padding=1),
    )


def entropy(activation: Tensor, inside: Tensor) -> Tensor:
    """Return H (B,) of the softmax of maps (B, 1, H, W) over the pixels that are inside (B, 1, H, W).

    Between 0, all on one pixel, and the logarithm of the number of pixels, even. An image without any pixel inside
    counts as a whole. Source: Silva-Rodríguez et al. 2022, the Shannon entropy of the attention.
    """
    lowest = torch.finfo(activation.dtype).min
    share = activation.masked_fill(~inside, lowest).flatten(1).softmax(1)
    return -(share * (share + _EPSILON).log()).sum(1)


@register
class AMCons(Method):
    """Variational autoencoder with maximised entropy of its activations.

    Grey images are repeated to three channels before the encoder. Images lie in [0, 1] whatever they show: their pixels
    are the targets of a cross-entropy.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels of the first residual stage; doubled from stage to stage.
        latent: Dimensions of z.
        kl_weight: w, weight of the Kullback-Leibler term.
        entropy_weight: α, weight of the entropy.
        maximise_entropy: Whether the entropy is driven up; down otherwise.
        inside_foreground: Whether the entropy is of the tissue only.
    """

    id = "amcons"
    title = "AMCons"

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int = 64,
        latent: int = 32,
        kl_weight: float = 10.0,
        entropy_weight: float = 0.1,
        maximise_entropy: bool = True,
        inside_foreground: bool = True,
    ) -> None:
        super().__init__()
        self.kl_weight, self.entropy_weight = kl_weight, entropy_weight
        self.maximise_entropy, self.inside_foreground = maximise_entropy, inside_foreground
        self.stem = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.stages = _stages(width)
        code_side = side // 2**_STAGES  # the stem halves, and every stage but the first
        code = 2 ** (_STAGES - 1) * width * code_side**2
        self.to_mean, self.to_log_variance = nn.Linear(code, latent), nn.Linear(code, latent)
        self.decoder = _decoder(width, code_side, latent, channels)
        self.upsample = Resize(side // 2, side, align_corners=True)

    def first_stage(self, images: Tensor) -> Tensor:
        """Return the output (B, width, H / 2, W / 2) of the first residual stage for images (B, C, H, W)."""
        features: Tensor = self.stages[0](self.stem(images.expand(-1, 3, -1, -1)))
        return features

    def deepen(self, features: Tensor) -> Tensor:
        """Return the last stage's output, (B, 8 * width * H * W / 256), of the first's."""
        for stage in self.stages[1:]:
            features = stage(features)
        return features.flatten(1)

    def encode(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return μ and log σ², (B, latent) each, of the first stage's output."""
        code = self.deepen(features)
        return self.to_mean(code), self.to_log_variance(code)

    @override
    def encoders(self) -> Sequence[Encoder]:
        parts = {"stem": self.stem, "stages": self.stages}
        return (Encoder(self.id, parts, lambda images: self.deepen(self.first_stage(images))),)

    def attention(self, features: Tensor) -> Tensor:
        """Return a (B, 1, H, W) of the first stage's output; not negative."""
        attention: Tensor = self.upsample(features.mean(1, keepdim=True))
        return attention

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        features = self.first_stage(images)
        mean, log_variance = self.encode(features)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), images, reduction="sum") / len(images)
        kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / len(images)
        evenness = self.evenness(images, features)
        push = -self.entropy_weight if self.maximise_entropy else self.entropy_weight
        loss = reconstruction + self.kl_weight * kl + push * evenness
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl, "entropy": evenness}

    def evenness(self, images: Tensor, features: Tensor) -> Tensor:
        """Return the mean entropy of the activations of images (B, C, H, W), given their first stage."""
        inside = above_minimum(images)
        inside = inside if self.inside_foreground else torch.ones_like(inside)
        return entropy(self.attention(features), inside).mean()

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        return self.attention(self.first_stage(images))

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        mean, _ = self.encode(self.first_stage(images))
        drawn: Tensor = self.decoder(mean).sigmoid()
        return drawn
