"""PaDiM: patch distribution modelling (feature modelling).

A frozen backbone, trained on photographs, describes an image at three levels; laid over each other at stride 4 they
give every position p of 32 x 32 an embedding, of which d randomly chosen channels are kept, e_p. Nothing is descended:
one pass over the healthy images gives each position the mean μ_p and the covariance Σ_p of its embeddings, and

    map = upsample( sqrt( (e_p − μ_p)ᵀ (Σ_p + 0.01 · I)⁻¹ (e_p − μ_p) ) ).

Any timm backbone with levels of strides 4, 8 and 16 can describe; `wide_resnet50_2` gives the study's 1792 channels.
Chosen channels are gathered before they are upsampled, which is the same and cheaper.

Differs from the study:
    share   Switch. The study's statistics of brain MRI see the first 18 % of the images, for want of memory; here they
            are gathered as the images pass by, and all are seen.
    placement  Switch. The study resizes levels and map edge to edge, and so puts what cells say up to half a cell too
            far right and down. Here it lies where they look.
    normalise  Switch. The study's backbones get pixels as they are, in [0, 1] or [−1, 1]; here they get what their
            weights learnt with.
    The chosen channels are stored; the study draws them again from the seed of the run.
    The whitening factors are stored in 16 bits a number; `tests/zoo/test_gaussian.py` bounds what that changes.
    The backbone's convolutions are stored in float16 and compute in float32.
    As in the study, and unlike the original, maps are not smoothed (the original: a Gaussian of σ = 4 pixels).

References: section IV-B of the study; Defard et al. 2021, section III.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, cat, nn
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.layers.backbone import STRIDES, FeatureBackbone
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.gaussian import ROUNDED_BITS, Gaussian, Moments
from upd_zoo.layers.resize import Grid, Regrid
from upd_zoo.method import Method, register

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer


class HalfStoredConv2d(nn.Conv2d):
    """A convolution that computes in float32 with weights stored in float16."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        convolved: Tensor = self._conv_forward(input, self.weight.float(), self.bias)
        return convolved


def _store_in_half(network: nn.Module) -> None:
    """Round the weights of a network's plain convolutions, almost all that it has, to float16."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = HalfStoredConv2d
            module.weight.data = module.weight.data.half()


@register
class PaDiM(Method):
    """Patch distribution modelling.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        backbone: timm name of the network that describes images.
        features: d, how many channels are kept; all where the backbone has fewer.
        strides: Strides of the levels, ascending; positions lie at the first.
        share: Which part of the training images, from the first, the statistics see, in (0, 1].
        ridge: Added to the diagonal of every covariance.
        factor_bits: In how many bits a number of the whitening factors is stored, 16 or 32.
        backbone_bits: In how many bits a weight of the backbone's convolutions is stored, 16 or 32.
        placement: Where in the image the cells of a level lie: `looked-at`, or `edges` or `corners` of it; see
            `upd_zoo.layers.receptive_field`.
        normalise: Whether the backbone takes images in [0, 1] and normalises them as its weights expect.
        levels_from: Of the backbone: its `blocks`, or their `expansion` where they end in a linear bottleneck.

    Raises:
        UsageError: `features` or `share` chooses nothing, or there is no such number of bits, placement or expansion.
    """

    id = "padim"
    title = "PaDiM"
    chosen: Tensor

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the backbone takes 1 or 3
        side: int,
        *,
        backbone: str = "wide_resnet50_2",
        features: int = 550,
        strides: Sequence[int] = STRIDES,
        share: float = 1.0,
        ridge: float = 0.01,
        factor_bits: int = ROUNDED_BITS,
        backbone_bits: int = 16,
        placement: str = "edges",
        levels_from: str = "blocks",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if features < 1:
            raise UsageError(f"{features} features describe nothing", "at least 1")
        if not 0 < share <= 1:
            raise UsageError(f"{share} is no share of the images", "a number above 0, at most 1")
        if backbone_bits not in (16, 32):
            raise UsageError(f"weights cannot be stored in {backbone_bits} bits", "16 or 32")
        self.share = share
        self.backbone = FeatureBackbone(backbone, side, strides, features=levels_from, normalise=normalise)
        if backbone_bits == 16:
            _store_in_half(self.backbone)
        available, grids = sum(self.backbone.channels), self.backbone.grids(placement)
        self.register_buffer("chosen", torch.randperm(available)[:features].sort().values)
        self.register_load_state_dict_post_hook(PaDiM._locate)  # type: ignore[no-untyped-call]
        self._locate()
        self.lay_over = nn.ModuleList(Regrid(grid, grids[0]) for grid in grids)
        self.density = Gaussian(grids[0].side ** 2, len(self.chosen), ridge=ridge, bits=factor_bits)
        self.upsample = Regrid(grids[0], Grid(side))

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (self.backbone.encoder,)

    def _locate(self, *_: object) -> None:
        """Find where each level begins among the chosen channels; again when others have been loaded."""
        if self.chosen.is_meta:  # nothing can be found among channels of which there is but a shape
            return
        self.first = tuple(accumulate(self.backbone.channels, initial=0))
        """First channel of each level, and their number."""
        self.bounds = tuple(
            torch.searchsorted(self.chosen, torch.tensor(self.first, device=self.chosen.device)).tolist()
        )
        """Where these would stand among the chosen ones."""

    def embeddings(self, images: Tensor) -> Tensor:
        """Return (B, P, d), row by row of the positions of the finest level, of images (B, C, H, W)."""
        levels = zip(self.backbone(images), self.lay_over, self.first, pairwise(self.bounds), strict=False)
        parts = [lay(level.index_select(1, self.chosen[a:b] - first)) for level, lay, first, (a, b) in levels if a < b]
        return cat(parts, dim=1).flatten(2).mT

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        positions, features = self.density.mean.shape
        moments = Moments(positions, features, trainer.device)
        for images in trainer.visit(self, batches, share=self.share):
            moments.update(self.embeddings(images))
        self.density.fit(moments)

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        raise UsageError("PaDiM has no loss to descend", "statistics of the training images", "call fit")

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        distances = self.density(self.embeddings(images))
        side = self.backbone.sides[0]
        anomaly_map: Tensor = self.upsample(distances.reshape(-1, 1, side, side))
        return anomaly_map
