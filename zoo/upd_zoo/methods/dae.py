"""DAE: a denoising autoencoder (self-supervised).

Learnt: to remove from a healthy image x coarse noise n, which looks like blobs of wrong brightness,

    L = mean (f(x + n) − x)²,    n = roll( upsample( N(m, s²) on 16 x 16 ) ), 0 outside of tissue.

A lesion is removed as if it were noise, so with the image as it is, and no noise at test time,

    map = residual(x, f(x)).

f is a U-Net of weight-standardised convolutions, each followed by swish and then by group normalisation.

Differs from the study (switches):
    noise_mean      On centred images, which fundus photographs are, the study centres the noise too: m = −1. The
                    network then learns to brighten, and brightens images without noise. Here m = 0 everywhere.
    shared_shift    The study rolls the noise of a whole batch by one shift. Here each image has its own.
    keep_background  The study counts background in loss and residual, though noise never falls on it. Here, on brains,
                    it is taken as it is, as in the original, so that all that is learnt is learnt of tissue.
    clip            As in the original, long gradients are shortened: amsgrad divides by the longest it has met, and
                    those of the first steps are a hundred times as long as the last.
    smoothing       As for the VAE. The original takes `absolute-median`, on an eroded brain.
Also left out is a linear layer of 268.437 M parameters that nothing reads.

References: section IV-D of the study; Kascenas et al. 2022.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, cat, nn
from typing_extensions import override

from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.foreground import above_minimum
from upd_zoo.layers.residual import residual_called
from upd_zoo.layers.resize import Resize
from upd_zoo.method import Method, register

_EPSILON = 1e-5
"""Added to the standard deviation of a filter."""


class Noise(NamedTuple):
    """What is drawn of the noise of a batch.

    Attributes:
        coarse: (B, C, side, side) float32 in units of the pixels.
        shift: (B, 2) int64, or (1, 2) for the whole batch: rows and columns by which the upsampled noise is rolled.
    """

    coarse: Tensor
    shift: Tensor


def draw_noise(
    images: Tensor,
    side: int,
    mean: float,
    std: float,
    *,
    shared_shift: bool = False,
    generator: Generator | None = None,
) -> Noise:
    """Draw noise for a batch.

    Args:
        images: (B, C, H, W), of which batch, channels, height, width and device are read.
        side: Side of the coarse noise in pixels.
        mean: Of the noise, in units of the pixels.
        std: Standard deviation of the coarse noise, in units of the pixels.
        shared_shift: Whether one shift serves the whole batch.
        generator: On the device of the images; torch's own where it is None.
    """
    batch, channels, height, _ = images.shape
    coarse = images.new_empty(batch, channels, side, side).normal_(mean, std, generator=generator)
    shifts = (1 if shared_shift else batch, 2)
    return Noise(coarse, torch.randint(height, shifts, device=images.device, generator=generator))


def spread_noise(noise: Noise, upsample: Resize) -> Tensor:
    """Return noise (B, C, H, W) at the size of the images, rolled by its shifts.

    Rolling what is upsampled is rolling the rows of the matrices that upsample it.
    """
    size = len(upsample.matrix)
    source = (torch.arange(size, device=noise.shift.device) - noise.shift.unsqueeze(-1)) % size
    rows, columns = upsample.matrix[source].unsqueeze(2).unbind(1)
    return rows @ noise.coarse @ columns.mT


def apply_noise(images: Tensor, noise: Noise, upsample: Resize, *, inside_foreground: bool) -> Tensor:
    """Return images (B, C, H, W) with noise added, on tissue only where `inside_foreground`; nothing is clipped."""
    spread = spread_noise(noise, upsample)
    return images + (spread * above_minimum(images) if inside_foreground else spread)


class StandardisedConv2d(nn.Conv2d):
    """3 x 3 convolution, reflection at the borders, each filter brought to mean 0 and standard deviation 1.

    Source: Qiao et al. 2019, equation 1.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, padding_mode="reflect")

    @override
    def forward(self, input: Tensor) -> Tensor:
        filters = self.weight.flatten(1)
        filters = (filters - filters.mean(1, keepdim=True)) / (filters.std(1, keepdim=True) + _EPSILON)
        features: Tensor = self._conv_forward(input, filters.view_as(self.weight), self.bias)
        return features


class GroupNorm(nn.GroupNorm):
    """Group normalisation; the number of groups is the middle divisor of that of channels, the upper one of two."""

    def __init__(self, channels: int) -> None:
        divisors = [number for number in range(1, channels + 1) if channels % number == 0]
        super().__init__(divisors[len(divisors) // 2], channels)

    @override
    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        # Row by row: other runtimes sum all 131 072 values of a group one after the other, which is off by 4e-5.
        rows = input.reshape(input.shape[0], self.num_groups, -1, input.shape[-1])
        centred = rows - rows.mean(3, keepdim=True).mean(2, keepdim=True)
        variance = centred.square().mean(3, keepdim=True).mean(2, keepdim=True)
        normalised = (centred * (variance + self.eps).rsqrt()).view_as(input)
        return normalised * self.weight[:, None, None] + self.bias[:, None, None]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolutions = (StandardisedConv2d(inputs, outputs), StandardisedConv2d(outputs, outputs))
    return nn.Sequential(*(nn.Sequential(each, nn.SiLU(), GroupNorm(outputs)) for each in convolutions))


class UNet(nn.Module):
    """U-Net.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        width: Channels of the first level; doubled from level to level.
        depth: Levels.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        self.down = nn.ModuleList(_block(i, o) for i, o in zip([inputs, *widths], widths, strict=False))
        upward = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in upward)
        self.up = nn.ModuleList(_block(2 * o, o) for _, o in upward)
        self.to_image = nn.Conv2d(width, outputs, 1)
        self.shrink = nn.AvgPool2d(2)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Return the levels, (B, width · 2^l, H / 2^l, W / 2^l) for l = 0 to depth − 1, of images (B, inputs, H, W)."""
        levels = [self.down[0](images)]
        for block in self.down[1:]:
            levels.append(block(self.shrink(levels[-1])))
        return levels

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of images (B, inputs, H, W); no output activation."""
        *skips, features = self.encode(images)
        for enlarge, block, skip in zip(self.enlarge, self.up, reversed(skips), strict=True):
            features = block(cat((enlarge(features), skip), dim=1))
        image: Tensor = self.to_image(features)
        return image


@register
class DAE(Method):
    """Denoising autoencoder.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels of the first level of the U-Net; doubled from level to level.
        depth: Levels of the U-Net.
        noise_side: Side of the coarse noise in pixels.
        noise_std: s, standard deviation of the coarse noise in units of the pixels.
        noise_mean: m, mean of the noise in units of the pixels.
        shared_shift: Whether the noise of a whole batch is rolled by one shift.
        inside_foreground: Whether noise falls on tissue only.
        keep_background: Whether what is not tissue stays as it is, so that it has no part in loss and residual.
        residual: What the map is; see `upd_zoo.layers.residual`.
    """

    id = "dae"
    title = "DAE"

    def __init__(
        self,
        channels: int,
        side: int,
        *,
        width: int = 64,
        depth: int = 4,
        noise_side: int = 16,
        noise_std: float = 0.2,
        noise_mean: float = 0.0,
        shared_shift: bool = False,
        inside_foreground: bool = True,
        keep_background: bool = False,
        residual: str = "ssim",
    ) -> None:
        super().__init__()
        self.noise_side, self.noise_std, self.noise_mean = noise_side, noise_std, noise_mean
        self.shared_shift, self.inside_foreground = shared_shift, inside_foreground
        self.keep_background = keep_background
        self.network = UNet(3, channels, width, depth)
        self.upsample = Resize(noise_side, side, align_corners=True)
        self.residual = residual_called(residual, side)

    def corrupt(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) with new noise."""
        noise = draw_noise(images, self.noise_side, self.noise_mean, self.noise_std, shared_shift=self.shared_shift)
        return apply_noise(images, noise, self.upsample, inside_foreground=self.inside_foreground)

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (Encoder(self.id, {"down": self.network.down}, self.describe),)

    def describe(self, images: Tensor) -> Tensor:
        """Return the deepest level of the network, flattened, of images (B, C, H, W)."""
        return self.network.encode(images.expand(-1, 3, -1, -1))[-1].flatten(1)

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.restore(self.corrupt(images), images) - images).square().mean()}

    def restore(self, noisy: Tensor, images: Tensor) -> Tensor:
        """Return what the network makes of noisy images (B, C, H, W), on the background that images may have."""
        restored: Tensor = self.network(noisy.expand(-1, 3, -1, -1))
        return torch.where(above_minimum(images), restored, images) if self.keep_background else restored

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        return self.restore(images, images)

    @override
    def synthetic(self, images: Tensor) -> dict[str, Tensor]:
        return {"noisy": self.corrupt(images)}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        residual: Tensor = self.residual(images, self.reconstruct(images))
        return residual
