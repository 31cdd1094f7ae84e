"""RD: reverse distillation (feature modelling).

A frozen teacher E, trained on photographs, describes an image at three levels; a one-class bottleneck squeezes the
three into one code, and a student D, a mirrored teacher, learns to reconstruct the levels from it. For healthy images:

    L = Σ_l  mean over images of  1 − cos( vec E_l, vec D_l )

with the cosine over the whole flattened level. Where the student has never learnt to follow,

    map = Σ_l  upsample( 1 − cos( E_l(p), D_l(p) ) )  ∈ [0, 6],    cosine over channels at each position p.

Any timm backbone with levels of strides 4, 8 and 16 can teach. The bottleneck and the student take their widths from
its channels, so that `wide_resnet50_2` gives the study's networks; lighter teachers get students at least
`_MINIMUM_WIDTH` wide inside their blocks.

Differs from the study:
    placement    Switch. The study resizes distances corner to corner, and so puts them up to half a cell too far right
                 and down. Here they lie where the teacher's cells look.
    linear_ends  Switch. Every level of the study's student ends in a ReLU, as its teacher's do. Those of other networks
                 hold negative numbers, which such a student cannot follow; here it ends linearly there.
    normalise    Switch. The study's teacher gets pixels as they are, in [0, 1] or [−1, 1]; here it gets what its
                 weights learnt with.
    Its unused 1 x 1 convolution 4096 -> 2048 is left out (8.393 M parameters that nothing reads).

References: section IV-B of the study; Deng & Li 2022, equations 1 to 3.
"""

from collections.abc import Iterable, Sequence

from torch import Tensor, cat, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.resize import Grid, Regrid
from upd_zoo.method import Method, register

_MINIMUM_WIDTH = 64
"""Channels inside a block; the narrowest of wide_resnet50_2 has 128."""
_UNSIGNED = (False, False, False)
_DECODER_BLOCKS = (3, 4, 6)
"""Blocks that bring the code to strides 16, 8 and 4: the teacher's, mirrored."""


class Bottleneck(nn.Module):
    """Residual block of a Wide-ResNet: 1 x 1, 3 x 3, 1 x 1, each normalised.

    Args:
        inputs: Channels in.
        outputs: Channels out; half of them inside the block.
        change: `down` halves the sides, `up` doubles them by a 2 x 2 transposed convolution, `keep` keeps them.
        linear: Whether no ReLU ends the block.
    """

    def __init__(self, inputs: int, outputs: int, change: str = "keep", *, linear: bool = False) -> None:
        super().__init__()
        self.linear = linear
        width = max(_MINIMUM_WIDTH, outputs // 2)
        self.body = nn.Sequential(
            *_normalised(nn.Conv2d(inputs, width, 1, bias=False), width),
            *_normalised(_spatial(width, change), width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity() if change == "keep" else _shortcut(inputs, outputs, change)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H', W') of (B, inputs, H, W)."""
        total: Tensor = self.body(features) + self.shortcut(features)
        return total if self.linear else F.relu(total)


def _normalised(convolution: nn.Module, channels: int) -> Iterable[nn.Module]:
    return convolution, nn.BatchNorm2d(channels), nn.ReLU()


def _spatial(width: int, change: str) -> nn.Module:
    if change == "up":
        return nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
    return nn.Conv2d(width, width, 3, stride=2 if change == "down" else 1, padding=1, bias=False)


def _shortcut(inputs: int, outputs: int, change: str) -> nn.Sequential:
    convolution = (
        nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
        if change == "up"
        else nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), outputs))


def _stage(inputs: int, outputs: int, blocks: int, change: str, *, linear: bool = False) -> nn.Sequential:
    """Return blocks in a row; `linear` is whether no ReLU ends the last one."""
    between = (Bottleneck(outputs, outputs) for _ in range(blocks - 2))
    return nn.Sequential(Bottleneck(inputs, outputs, change), *between, Bottleneck(outputs, outputs, linear=linear))


class OneClassBottleneck(nn.Module):
    """Squeezes the teacher's three levels into one code at stride 32.

    Args:
        channels: Channels of the three levels, at strides 4, 8 and 16.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        shallow, middle, deep = channels
        self.from_shallow = nn.Sequential(_halving(shallow, middle), _halving(middle, deep))
        self.from_middle = _halving(middle, deep)
        self.squeeze = _stage(3 * deep, 2 * deep, 3, "down")

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return (B, 2 * channels[2], H / 32, W / 32) of the three levels."""
        code: Tensor = self.squeeze(cat((self.from_shallow(levels[0]), self.from_middle(levels[1]), levels[2]), dim=1))
        return code


class Student(nn.Module):
    """Draws the three levels from the code, deepest first.

    Args:
        channels: Channels of the three levels, at strides 4, 8 and 16.
        linear: Which of them end without a ReLU.
    """

    def __init__(self, channels: tuple[int, ...], linear: tuple[bool, ...] = _UNSIGNED) -> None:
        super().__init__()
        shallow, middle, deep = channels
        to_deep, to_middle, to_shallow = _DECODER_BLOCKS
        self.to_deep = _stage(2 * deep, deep, to_deep, "up", linear=linear[2])
        self.to_middle = _stage(deep, middle, to_middle, "up", linear=linear[1])
        self.to_shallow = _stage(middle, shallow, to_shallow, "up", linear=linear[0])

    def forward(self, code: Tensor) -> list[Tensor]:
        """Return the levels in the teacher's order."""
        deep = self.to_deep(code)
        middle = self.to_middle(deep)
        return [self.to_shallow(middle), middle, deep]


@register
class RD(Method):
    """Reverse distillation.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        backbone: timm name of the teacher.
        linear_ends: Whether the student draws signed levels without a ReLU at their end.
        placement: Where in the image the cells of a level lie: `looked-at`, or `edges` or `corners` of it; see
            `upd_zoo.layers.receptive_field`.
        normalise: Whether the backbone takes images in [0, 1] and normalises them as its weights expect.
        levels_from: Of the backbone: its `blocks`, or their `expansion` where they end in a linear bottleneck.
    """

    id = "rd"
    title = "RD"

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the teacher takes 1 or 3
        side: int,
        *,
        backbone: str = "wide_resnet50_2",
        linear_ends: bool = False,
        placement: str = "corners",
        levels_from: str = "blocks",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = FeatureBackbone(backbone, side, features=levels_from, normalise=normalise)
        self.bottleneck = OneClassBottleneck(self.backbone.channels)
        self.student = Student(self.backbone.channels, self.backbone.signed if linear_ends else _UNSIGNED)
        self.upsample = nn.ModuleList(Regrid(grid, Grid(side)) for grid in self.backbone.grids(placement))
        _initialise(self.bottleneck, self.student)

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (self.backbone.encoder,)

    @override
    def described_by(self) -> FeatureBackbone | None:
        return self.backbone

    def levels(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the teacher's and the student's levels of images (B, C, H, W)."""
        taught = self.backbone(images)
        return taught, self.student(self.bottleneck(taught))

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        distances = [
            (1 - F.cosine_similarity(taught.flatten(1).float(), drawn.flatten(1).float())).mean()
            for taught, drawn in zip(*self.levels(images), strict=True)
        ]
        named = {f"level_{number}": distance for number, distance in enumerate(distances, start=1)}
        return {"loss": sum(distances, start=distances[0].new_zeros(())), **named}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        total = images.new_zeros(())
        for upsample, taught, drawn in zip(self.upsample, *self.levels(images), strict=True):
            total = total + upsample(1 - F.cosine_similarity(taught.float(), drawn.float(), dim=1).unsqueeze(1))
        return total


def _initialise(*networks: nn.Module) -> None:
    """Draw convolutions from Kaiming's normal distribution over outputs, as the study does; norms are 1 and 0."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
