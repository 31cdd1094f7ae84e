"""CFLOW-AD: conditional normalising flows over positions (feature modelling).

A frozen backbone, trained on photographs, describes each position of an image at three levels by a vector x of C
channels. For each level, an invertible decoder z = f(x; c), which is told the position by a code c, learns the density
of healthy vectors,

    log p(x) = −C/2 · log 2π − ½ ‖z‖² + log |det ∂z/∂x|,    ℓ = log p(x) / C,
    L = Σ_l  mean over images and positions of  −log σ(ℓ_l).

With m_l, the largest ℓ_l of healthy images, the probability relative to theirs makes the map:

    map = 1 − mean_l upsample( exp(ℓ_l − m_l) ).

Decoders share no parameter, so that one step on the sum of their losses moves each as a step on its own would.

Differs from the study (switches):
    first_batch_maximum  The study's m is one number, the largest ℓ of any level in the first batch of training images,
                         or 0 if that is larger; other images exceed it and get negative values, below those of the
                         background. Here each level is divided by its own maximum over all training images, as the
                         original divides by that over the test set, and what exceeds it counts as that likely.
    inside_foreground    The study's m is that of brain MRI's black background, which is the likeliest of all; beside it
                         tissue, and levels where the two lie far apart, hardly count. Here m is that of tissue.
    normalise            The study's backbone gets pixels as they are, in [0, 1] or [−1, 1]; here it gets what its
                         weights learnt with.
    placement            The study resizes levels corner to corner, and so puts what cells say up to half a cell too far
                         right and down. Here it lies where they look.

    share                The study's step looks at all positions of its images. The original's looks at 256 vectors of
                         any of them, so that many more steps are taken; here it can look at some positions of each.

Differs from the study (always): it descends the decoders in turn by one Adam. In the torch of its time the gradients of
those that wait are zeros, not absent, so that momentum moves each decoder in the turns of the others too.

References: section IV-B of the study; Gudovskiy et al. 2022, equations 5 to 8 and section 4; the coupling block is
FrEIA's AllInOneBlock (version 0.2, hard permutation) after Dinh et al. 2017 and Kingma & Dhariwal 2018.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.layers.backbone import STRIDES, FeatureBackbone
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.foreground import above_minimum
from upd_zoo.layers.resize import Grid, Regrid
from upd_zoo.method import Method, register

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer

_CLAMP = 1.9
"""Largest |log scale| of a coupling block."""
_SOFTENING = 0.1
"""What a subnet's output is multiplied by, so that blocks start near the identity."""
_SCALE_OF_ONE = 2 * math.log(math.exp(5) - 1)
"""g for which 0.1 · softplus(g, β = 0.5) = 1."""
_OVERFLOW = 10.0
"""Largest exponent in the study's map, far above what images reach; exp would overflow at 88."""


def positional_code(side: int, channels: int) -> Tensor:
    """Return the code (channels, side²) of every position of a square map, row by row.

    The first half of the channels encodes the column, the second the row; in each half, of D channels, channels 2j and
    2j + 1 are sine and cosine of position · 10 000^(−2j / D).

    Raises:
        UsageError: The channels cannot be divided by 4.
    """
    if channels < 4 or channels % 4:
        raise UsageError(f"a condition of {channels} channels cannot encode rows and columns", "a multiple of 4")
    half = channels // 2
    rate = torch.exp(torch.arange(0, half, 2).double() * (-math.log(1e4) / half))
    angle = torch.arange(side).double() * rate[:, None]
    waves = torch.stack((angle.sin(), angle.cos()), dim=1).flatten(0, 1)
    columns, rows = waves[:, None, :].expand(-1, side, -1), waves[:, :, None].expand(-1, -1, side)
    return cat((columns, rows)).flatten(1).float()


class Coupling(nn.Module):
    """Affine coupling, conditional on the position: the first half of a vector decides how the second is changed.

    Vectors are columns, so that halves and permutations move whole rows of memory: on one CPU core, inference takes 5
    to 30 % less time than with vectors as rows.

    Args:
        channels: C, of the vectors.
        condition: Channels of the positional code.
    """

    permutation: Tensor

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.first, second = channels - channels // 2, channels // 2
        inputs = self.first + condition
        self.widen, self.narrow = nn.Linear(inputs, 2 * inputs), nn.Linear(2 * inputs, 2 * second)
        self.global_scale = nn.Parameter(torch.full((channels,), _SCALE_OF_ONE))
        self.global_offset = nn.Parameter(torch.zeros(channels))
        self.register_buffer("permutation", torch.randperm(channels))

    def coefficients(self, first: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return log scale, softly clamped, and shift, (C // 2, B · P) each: narrow(relu(widen([first, code]))).

        The part of `widen` that reads the code is the same for every image, and computed for one.

        Args:
            first: First halves of the vectors, (C − C // 2, B · P).
            code: (condition, P).
        """
        by_position = self.widen.weight[:, self.first :] @ code + self.widen.bias[:, None]
        by_vector = (self.widen.weight[:, : self.first] @ first).reshape(by_position.shape[0], -1, code.shape[1])
        hidden = F.relu(by_vector + by_position[:, None]).flatten(1)
        weight, bias = _SOFTENING * self.narrow.weight, _SOFTENING * self.narrow.bias
        log_scale, shift = (weight @ hidden + bias[:, None]).chunk(2)
        return _CLAMP * torch.tanh(log_scale), shift

    def forward(self, vectors: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return the changed vectors (C, B · P) and the logarithm of the determinant (B · P,)."""
        first, second = vectors[: self.first], vectors[self.first :]
        log_scale, shift = self.coefficients(first, code)
        global_scale = 0.1 * F.softplus(self.global_scale, beta=0.5)
        changed = cat((first, second * log_scale.exp() + shift)) * global_scale[:, None] + self.global_offset[:, None]
        return changed[self.permutation], log_scale.sum(0) + global_scale.log().sum()


class Decoder(nn.Module):
    """The density of healthy vectors of one level.

    Args:
        channels: C, of the level.
        side: Its height and width.
        condition: Channels of the positional code.
        blocks: Coupling blocks.

    Raises:
        UsageError: There are no blocks, or the condition has a number of channels that is no multiple of 4.
    """

    code: Tensor

    def __init__(self, channels: int, side: int, condition: int, blocks: int) -> None:
        super().__init__()
        if blocks < 1:
            raise UsageError(f"{blocks} coupling blocks learn nothing", "at least 1")
        self.register_buffer("code", positional_code(side, condition), False)
        self.blocks = nn.ModuleList(Coupling(channels, condition) for _ in range(blocks))

    def forward(self, level: Tensor, share: float = 1.0) -> Tensor:
        """Return ℓ (B, P), log-likelihood per channel of each position, of a level (B, C, side, side).

        Args:
            level: What is judged.
            share: Of the side² positions, row by row; below 1, P of them are drawn, the same in all images.
        """
        channels, vectors, code = level.shape[1], level.transpose(0, 1).flatten(2), self.code
        if share < 1:
            drawn = torch.randperm(code.shape[1], device=code.device)[: math.ceil(share * code.shape[1])]
            vectors, code = vectors[:, :, drawn], code[:, drawn]
        z = vectors.flatten(1)
        log_determinant = level.new_zeros(())
        for block in self.blocks:
            z, change = block(z, code)
            log_determinant = log_determinant + change
        log_likelihood: Tensor = log_determinant - (z**2).sum(0) / 2 - channels / 2 * math.log(2 * math.pi)
        return (log_likelihood / channels).reshape(-1, code.shape[1])


@register
class CFlowAD(Method):
    """Conditional normalising flows over positions.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        backbone: timm name of the network that describes positions.
        strides: Strides of the levels.
        padding: Of the backbone: `reflect`, as its own ResNet has it, or `zeros`.
        blocks: Coupling blocks of each decoder.
        condition: Channels of the positional code.
        first_batch_maximum: Whether m is the largest ℓ of any level in the first batch, instead of each level's own
            over all training images.
        inside_foreground: Whether only positions that are at least half tissue count for m.
        share: Of the positions of a level, in (0, 1], that a step of training looks at; drawn anew in each.
        placement: Where in the image the cells of a level lie: `looked-at`, or `edges` or `corners` of it; see
            `upd_zoo.layers.receptive_field`.
        normalise: Whether the backbone takes images in [0, 1] and normalises them as its weights expect.
        levels_from: Of the backbone: its `blocks`, or their `expansion` where they end in a linear bottleneck.

    Raises:
        UsageError: There are no strides or no blocks, `condition` is no multiple of 4, or `share` is no share.
    """

    id = "cflow-ad"
    title = "CFLOW-AD"
    maxima: Tensor

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the backbone takes 1 or 3
        side: int,
        *,
        backbone: str = "wide_resnet50_2",
        strides: Sequence[int] = STRIDES,
        padding: str = "reflect",
        blocks: int = 8,
        condition: int = 128,
        first_batch_maximum: bool = False,
        inside_foreground: bool = False,
        share: float = 1.0,
        placement: str = "corners",
        levels_from: str = "blocks",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise UsageError(f"a share of {share} of the positions cannot be drawn", "above 0, at most 1")
        if not strides:
            raise UsageError("no strides describe nothing", f"at least one, such as {STRIDES}")
        self.first_batch_maximum, self.inside_foreground = first_batch_maximum, inside_foreground
        self.share = share
        self.backbone = FeatureBackbone(
            backbone, side, strides, padding=padding, features=levels_from, normalise=normalise
        )
        self.decoders = nn.ModuleList(
            Decoder(width, level, condition, blocks)
            for width, level in zip(self.backbone.channels, self.backbone.sides, strict=True)
        )
        self.upsample = nn.ModuleList(Regrid(grid, Grid(side)) for grid in self.backbone.grids(placement))
        self.register_buffer("maxima", torch.zeros(len(self.decoders)))

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (self.backbone.encoder,)

    @override
    def described_by(self) -> FeatureBackbone | None:
        return self.backbone

    def log_likelihoods(self, images: Tensor) -> list[Tensor]:
        """Return ℓ (B, positions) of each level of images (B, C, H, W)."""
        return [decoder(level) for decoder, level in zip(self.decoders, self.backbone(images), strict=True)]

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        levels = zip(self.decoders, self.backbone(images), strict=True)
        losses = [-F.logsigmoid(decoder(level, self.share)).mean() for decoder, level in levels]
        named = {f"level_{number}": loss for number, loss in enumerate(losses, start=1)}
        return {"loss": sum(losses, start=losses[0].new_zeros(())), **named}

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        trainer.minimise(self, batches)
        if self.first_batch_maximum:
            highest = self.highest(batches.at(0).to(trainer.device))
            self.maxima.copy_(highest.max().clamp(min=0).expand_as(highest))
            return
        self.maxima.fill_(-math.inf)
        for images in trainer.visit(self, batches, phase="calibration"):
            self.maxima.copy_(torch.maximum(self.maxima, self.highest(images)))

    @torch.no_grad()
    def highest(self, images: Tensor) -> Tensor:
        """Return the largest ℓ of each level (levels,), -inf where a batch shows no tissue."""
        inside = above_minimum(images) if self.inside_foreground else torch.ones_like(images[:, :1])
        maxima = []
        for upsample, log_likelihood in zip(self.upsample, self.log_likelihoods(images), strict=True):
            assert isinstance(upsample, Regrid)  # noqa: S101 - for the types
            tissue = upsample.means(inside).flatten(1)
            maxima.append(log_likelihood.where(tissue >= 0.5, -math.inf).max())
        return torch.stack(maxima)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        limit = _OVERFLOW if self.first_batch_maximum else 0.0
        total = images.new_zeros(())
        for level, log_likelihood in enumerate(self.log_likelihoods(images)):
            probability = (log_likelihood - self.maxima[level]).clamp(max=limit).exp()
            side = self.backbone.sides[level]
            total = total + self.upsample[level](probability.reshape(-1, 1, side, side))
        return 1 - total / len(self.decoders)
