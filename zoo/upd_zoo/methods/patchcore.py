"""PatchCore: a memory of healthy patches (feature modelling). Not in the study.

A frozen backbone, trained on photographs, describes an image at several levels. Every level l is averaged over 3 x 3
neighbours and laid over the finest, so that each cell p has a vector f_pl of each; W_l, fitted on training cells, keeps
the directions in which they differ most, in units of their mean variance, and where the cell lies, x_p in shares of the
side, joins them:

    e_p = [ W_l (f_pl − μ_l) for every level l, √(2 D) / window · x_p ].

With D directions of all levels, two healthy cells differ by about √(2 D) in what they look like, so cells that lie
`window` apart are as far from each other as two of any kind: registered brains and centred eyes are compared with what
lies near. Nothing is descended.
Greedy k-centre keeps a memory M of cells of healthy images, and

    map = upsample( min over m in M of ‖ e_p − m ‖ ).

Differs from the original:
    window     The original compares cells wherever they lie; so do we where `window` is 0.
    whitening  The original compares channels as they are. Here levels count by how many directions they have, and
               with more than 0 a level's directions of much variance count less.
    placement  The original resizes levels and map edge to edge, half a cell too far right and down. Here what a cell
               says lies where it looks.
    The score is what the domain's rule makes of the map: the original weights the largest distance by how alone the
    nearest cell is in the memory.
    The memory has a fixed size instead of a share of all cells, and is chosen from some cells of every image.

Reference: Roth et al. 2022, section 3.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.memory import Memory, Whitening, k_centre
from upd_zoo.layers.resize import Grid, Regrid
from upd_zoo.method import Method, register

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer

_PROJECTED = 32
"""Numbers of the random projection in which k-centre compares cells; the authors' code has 128."""


@register
class PatchCore(Method):
    """A memory of healthy patches.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        backbone: timm name of the network that describes images.
        strides: Strides of the levels, ascending; the first is that of the map's cells.
        width: How many directions of a level are kept; all where it has fewer.
        whitening: Power of its own standard deviation by which each direction is divided, from 0, as they are, to 1.
        window: Shares of the side by which cells may lie apart before they differ as much as any two; 0: any place.
        memory: How many cells are remembered.
        candidates: From how many cells, drawn evenly from all training images, these are chosen.
        placement: Where in the image the cells of a level lie: `looked-at`, or `edges` or `corners` of it; see
            `upd_zoo.layers.receptive_field`.
        levels_from: Of the backbone: its `blocks`, or their `expansion` where they end in a linear bottleneck.
        normalise: Whether the backbone takes images in [0, 1] and normalises them as its weights expect.

    Raises:
        UsageError: A setting makes no sense, or the memory would be larger than 20 MB.
    """

    id = "patchcore"
    title = "PatchCore"
    places: Tensor

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the backbone takes 1 or 3
        side: int,
        *,
        backbone: str = "wide_resnet50_2",
        strides: Sequence[int] = (8, 16),
        width: int = 256,
        whitening: float = 0.0,
        window: float = 0.0,
        memory: int = 10_000,
        candidates: int = 40_000,
        placement: str = "looked-at",
        levels_from: str = "blocks",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        _check(width, whitening, window)
        if candidates < memory:
            raise UsageError(f"{memory} cells cannot be chosen from {candidates}", "at least as many candidates")
        self.candidates = candidates
        self.backbone = FeatureBackbone(backbone, side, strides, features=levels_from, normalise=normalise)
        grids, widths = self.backbone.grids(placement), [min(width, level) for level in self.backbone.channels]
        self.lay_over = nn.ModuleList(Regrid(grid, grids[0]) for grid in grids)
        self.whitening = nn.ModuleList(
            Whitening(features, kept, power=whitening)
            for features, kept in zip(self.backbone.channels, widths, strict=True)
        )
        weight = (2 * sum(widths)) ** 0.5 / window if window else 0.0
        shares = (torch.arange(grids[0].side) + 0.5) / grids[0].side
        self.register_buffer("places", weight * torch.cartesian_prod(shares, shares), persistent=False)
        self.memory = Memory(memory, sum(widths) + 2)
        self.upsample = Regrid(grids[0], Grid(side))

    @override
    def encoders(self) -> Sequence[Encoder]:
        return (self.backbone.encoder,)

    def descriptions(self, images: Tensor) -> Tensor:
        """Return (B, P, C), row by row of the P cells of the finest level, of images (B, C, H, W)."""
        levels = zip(self.backbone(images), self.lay_over, strict=True)
        parts = [lay(F.avg_pool2d(level, 3, 1, 1, count_include_pad=False)) for level, lay in levels]
        return cat(parts, dim=1).flatten(2).mT

    def _levels(self, descriptions: Tensor) -> Iterable[tuple[Whitening, Tensor]]:
        """Return each level's whitening, and its share of descriptions (..., C)."""
        levels = torch.split(descriptions, list(self.backbone.channels), dim=-1)
        return zip(cast("Iterable[Whitening]", self.whitening), levels, strict=True)

    def embeddings(self, descriptions: Tensor, places: Tensor) -> Tensor:
        """Return (B, P, D + 2) of descriptions (B, P, C) that lie at `places`, (P, 2)."""
        parts = [whiten(level) for whiten, level in self._levels(descriptions)]
        return cat((*parts, places.expand(descriptions.shape[0], -1, -1)), dim=2)

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        images, seen, drawn, lie = len(batches.store), 0, [], []
        for batch in trainer.visit(self, batches):
            for cells in self.descriptions(batch):
                share = self.candidates * (seen + 1) // images - self.candidates * seen // images
                rows = torch.randperm(len(cells))[:share].to(cells.device)
                drawn.append(cells[rows])
                lie.append(self.places[rows])
                seen += 1
        with torch.no_grad():
            self._remember(cat(drawn), cat(lie), trainer)

    def _remember(self, cells: Tensor, places: Tensor, trainer: "Trainer") -> None:
        """Choose the memory from descriptions (N, C) that lie at `places`, (N, 2)."""
        for whiten, level in self._levels(cells):
            whiten.fit(level)
        vectors = self.embeddings(cells[None], places)[0]
        projection = torch.randn(vectors.shape[1], _PROJECTED) / _PROJECTED**0.5
        kept = k_centre(vectors @ projection.to(vectors), len(self.memory.vectors), trainer.on_progress)
        self.memory.fit(vectors[kept])

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        raise UsageError("PatchCore has no loss to descend", "a memory of the training images", "call fit")

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        distances = self.memory(self.embeddings(self.descriptions(images), self.places))
        side = self.backbone.sides[0]
        anomaly_map: Tensor = self.upsample(distances.reshape(-1, 1, side, side))
        return anomaly_map


def _check(width: int, whitening: float, window: float) -> None:
    """Refuse ways of comparing cells that make no sense."""
    if width < 1:
        raise UsageError(f"{width} directions tell no cells apart", "at least 1")
    if not 0 <= whitening <= 1:
        raise UsageError(f"directions cannot be whitened by a power of {whitening}", "0 to 1")
    if window < 0:
        raise UsageError(f"cells cannot lie {window} sides apart", "0 for any place, or a number above 0 such as 0.2")
