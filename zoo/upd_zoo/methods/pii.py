"""PII: Poisson image interpolation (self-supervised).

Learnt: to see in a healthy image x, into which a patch of another healthy image x' was blended by a share α, where the
patch is and how strong,

    L = BCE( σ(f(u)), y ),    u = blend(x, x', α),    y = α where x and x' differ inside the patch, else 0,

where Poisson blending (`upd_zoo.layers.poisson`) leaves no edge to be found by. A lesion is taken for such a patch:

    map = σ(f(x)), mean over channels.

f is a wide residual encoder-decoder of pre-activation blocks. Every training image gets a patch, and a new one at every
step; it is a square of 10 to 40 % of the image's width, cut at the image's border.

Differs from the study (switches):
    divide_by_maximum   The study divides chest X-rays by their maximum after blending, in training only, so that it
                        trains on brighter images than it tests on. Here they stay as they are.
The second image is another one of the batch, whose images are a random draw from the training set; the study draws it
from the whole set. It solves the same sparse system by elimination.

References: section IV-D of the study; Tan et al. 2021; Zagoruyko & Komodakis 2016 (wide residual blocks).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.foreground import above_minimum
from upd_zoo.layers.poisson import Rectangles, blend
from upd_zoo.method import Method, register

_MARGIN = 0.1
"""Share of the image, on each side, in which no patch is centred."""
_WIDTHS = (0.1, 0.4)
"""Width of a patch as a share of the image's, the upper end excluded."""
_SHARES = (0.05, 0.95)
"""Range of the share by which a patch is blended in."""


class Patches(NamedTuple):
    """What is drawn for a batch: one patch for each image.

    Attributes:
        partner: (B,) int64, which image of the batch is blended in.
        row: (B,) int64, centre of the patch.
        column: (B,) int64, centre of the patch.
        width: (B,) int64, of the patch in pixels; halved and rounded down it is what lies on either side of the centre.
        alpha: (B,) float32, α.
    """

    partner: Tensor
    row: Tensor
    column: Tensor
    width: Tensor
    alpha: Tensor

    def rectangles(self, height: int, width: int) -> Rectangles:
        """Return where the patches lie, the outermost pixel of the image left free."""
        half = self.width // 2
        return Rectangles(
            (self.row - half).clamp(min=1),
            (self.row + half).clamp(max=height - 1),
            (self.column - half).clamp(min=1),
            (self.column + half).clamp(max=width - 1),
        )


class Planted(NamedTuple):
    """Images with synthetic anomalies.

    Attributes:
        images: (B, C, H, W), u.
        labels: (B, C, H, W) in [0, 1), y.
    """

    images: Tensor
    labels: Tensor


def draw_patches(images: Tensor, *, inside_foreground: bool, generator: Generator | None = None) -> Patches:
    """Draw a patch for each image of a batch.

    An image alone in its batch is its own partner, as where the study draws an image twice: its patch loses contrast
    and has the label 0.

    Args:
        images: (B, C, H, W), square.
        inside_foreground: Whether a patch is centred on tissue, where its image shows any between the margins.
        generator: On the device of the images; torch's own where it is None.
    """
    batch, width = len(images), images.shape[-1]
    lowest, end = (round(share * width) for share in _WIDTHS)
    ahead = torch.randint(1, max(batch, 2), (batch,), device=images.device, generator=generator)
    row, column = _draw_centres(images, inside_foreground, generator)
    return Patches(
        partner=(torch.arange(batch, device=images.device) + ahead) % batch,
        row=row,
        column=column,
        width=torch.randint(lowest, end, (batch,), device=images.device, generator=generator),
        alpha=torch.empty(batch, device=images.device).uniform_(*_SHARES, generator=generator),
    )


def _draw_centres(images: Tensor, inside_foreground: bool, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Return (B,) rows and columns between the margins, every eligible pixel as likely as any other."""
    batch, _, height, width = images.shape
    top, left = int(_MARGIN * height), int(_MARGIN * width)
    between = (slice(top, height - top), slice(left, width - left))
    tissue = above_minimum(images)[:, 0, *between].flatten(1)
    eligible = tissue | ~tissue.any(dim=1, keepdim=True) if inside_foreground else torch.ones_like(tissue)
    # The n-th eligible pixel, n uniform: 13 times as fast as torch.multinomial.
    counted = eligible.cumsum(dim=1)
    share = torch.rand(batch, 1, dtype=torch.float64, device=images.device, generator=generator)
    place = torch.searchsorted(counted, (share * counted[:, -1:]).long(), right=True).squeeze(1)
    return place // (width - 2 * left) + top, place % (width - 2 * left) + left


def apply_patches(
    images: Tensor, patches: Patches, *, inside_foreground: bool, divide_by_maximum: bool = False
) -> Planted:
    """Blend a patch of its partner into each image, within the image's own range.

    Args:
        images: (B, C, H, W), square.
        patches: What was drawn for them.
        inside_foreground: Whether pixels at the minimum of their image keep their value and the label 0.
        divide_by_maximum: Whether to divide each blended image by its maximum, as the study does; for images in [0, 1].
    """
    height, width = images.shape[-2:]
    rectangles = patches.rectangles(height, width)
    partners = images[patches.partner]
    blended = blend(images, partners, patches.alpha, rectangles, side=round(_WIDTHS[1] * width))
    blended = blended.clamp(images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True))
    changed = rectangles.inside(height, width) & (images != partners)
    if inside_foreground:
        foreground = above_minimum(images)
        blended, changed = blended.where(foreground, images), changed & foreground
    if divide_by_maximum:
        blended = blended / blended.amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(blended.dtype).tiny)
    return Planted(blended, patches.alpha[:, None, None, None] * changed)


def _twice(images: Tensor) -> Tensor:
    """Return (B, C, 2 H, 2 W) of (B, C, H, W), each pixel repeated: nearest resizing differs between runtimes."""
    return images[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).flatten(4).flatten(2, 3)


class Block(nn.Module):
    """Pre-activation residual block of two 3 x 3 convolutions without bias.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        stride: Of the first convolution.
        up: Whether to double height and width between the two.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.stride, self.up = stride, up
        self.normalise = nn.BatchNorm2d(inputs)
        self.convolve = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.normalise_again = nn.BatchNorm2d(outputs)
        self.convolve_again = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.project = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H', W') of (B, inputs, H, W)."""
        active = self.normalise(features).relu()
        inner = self.convolve(active)
        if self.project is None:
            past = F.avg_pool2d(features, self.stride)
        else:
            # A 1 x 1 convolution of stride 2, but oneDNN's gradient of that one writes beyond its buffer where channels
            # come last and are few: 3 to 8 of them end the process.
            past = self.project(active[:, :, :: self.stride, :: self.stride])
        if self.up:
            inner, past = _twice(inner), _twice(past)
        result: Tensor = past + self.convolve_again(self.normalise_again(inner).relu())
        return result


def _encoder(width: int, factor: int) -> nn.Sequential:
    """Return the way from 3 x H x W to 4 · factor · width x H / 8 x W / 8."""
    wide = factor * width
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        Block(width, wide),
        Block(wide, 2 * wide, stride=2),
        Block(2 * wide, 4 * wide, stride=2),
        Block(4 * wide, 4 * wide, stride=2),
    )


def _decoder(width: int, factor: int, channels: int) -> nn.Sequential:
    """Return the way back to channels x H x W."""
    wide = factor * width
    return nn.Sequential(Block(4 * wide, wide, up=True), Block(wide, width, up=True), Block(width, channels, up=True))


@register
class PII(Method):
    """Poisson image interpolation.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels of the first convolution.
        factor: k, by which the blocks are wider than the first convolution.
        inside_foreground: Whether patches are centred on tissue and change tissue only.
        divide_by_maximum: Whether blended images are divided by their maximum, as the study does with chest X-rays.
    """

    id = "pii"
    title = "PII"

    def __init__(
        self,
        channels: int,
        side: int,  # noqa: ARG002 - convolutions take any
        *,
        width: int = 16,
        factor: int = 4,
        inside_foreground: bool = True,
        divide_by_maximum: bool = False,
    ) -> None:
        super().__init__()
        self.inside_foreground, self.divide_by_maximum = inside_foreground, divide_by_maximum
        self.encoder = _encoder(width, factor)
        self.decoder = _decoder(width, factor, channels)

    def plant(self, images: Tensor) -> Planted:
        """Return images (B, C, H, W) with new synthetic anomalies, and their labels."""
        patches = draw_patches(images, inside_foreground=self.inside_foreground)
        return apply_patches(
            images, patches, inside_foreground=self.inside_foreground, divide_by_maximum=self.divide_by_maximum
        )

    def describe(self, images: Tensor) -> Tensor:
        """Return features (B, 16 * k * width), the encoder's means over quarters of images (B, C, H, W)."""
        return F.adaptive_avg_pool2d(self.encoder(images.expand(-1, 3, -1, -1)), 2).flatten(1)

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (Encoder(self.id, {"encoder": self.encoder}, self.describe),)

    def logits(self, images: Tensor) -> Tensor:
        """Return f(x), (B, C, H, W), of images (B, C, H, W)."""
        result: Tensor = self.decoder(self.encoder(images.expand(-1, 3, -1, -1)))
        return result

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        planted = self.plant(images)
        return {"loss": F.binary_cross_entropy_with_logits(self.logits(planted.images), planted.labels)}

    @override
    def synthetic(self, images: Tensor) -> dict[str, Tensor]:
        return {"blended": self.plant(images).images}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        return self.logits(images).sigmoid().mean(dim=1, keepdim=True)
