"""CutPaste: two classifiers of cut and pasted images, and the density of what they see (self-supervised).

One network learns from whole images, one from crops of them, to tell healthy views from two kinds of damage,

    L = mean  −log p( k | view k ),    k = untouched, cut-paste, scar.

A cut-paste moves a jittered rectangle to another place; a scar moves a thin, jittered and rotated strip. Neither looks
like a lesion, but what tells them from healthy tissue describes it well. With e the features below the classifier's
head, and Gaussian densities (μ, Σ) of the untouched training images,

    d(e) = sqrt( (e − μ)ᵀ (Σ + 0.01 · I)⁻¹ (e − μ) ),
    score = d(e of the image),    map = place( d_p(e of window p) at each window p ).

Differs from the study (switches):
    window            The study learns from crops of 32 px and looks through windows of 16 px; here both are 32 px wide,
                      a quarter of the image, as in the original.
    place_at_centres  The study stretches the grid of distances over the image, although the centres of its windows span
                      120 of 128 pixels only. Here each distance lies at the centre of its window.
    share             The study takes the windows' densities from the first 18 % of brain slices; here from all.
    static            The study damages each fundus image once and learns from the same views for ever.
    [schedule]        The study's learning rate stays, because its cosine is never stepped; the recipe's falls.

Differs from the study (always):
    Pixels are real numbers in [0, 1] throughout; the study rounds them to 8 bits on the way.
    Whitening factors of windows are stored in 16 bits a number; `tests/zoo/test_gaussian.py` bounds what that changes.
    Images are framed as for every other method; the study squeezes radiographs and fundus images to a square here.

References: section IV-D of the study; Li et al. 2021.
"""

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.errors import UsageError
from upd_zoo.fitting.learner import Turn
from upd_zoo.layers.backbone import WholeNetwork
from upd_zoo.layers.colour import Jitter, apply_jitter, jitter_of
from upd_zoo.layers.encoder import Encoder
from upd_zoo.layers.gaussian import EXACT_BITS, ROUNDED_BITS, Gaussian, Moments
from upd_zoo.layers.resize import Grid, interpolation_matrix, placement_matrix
from upd_zoo.method import Method, register
from upd_zoo.vocabulary import STUDY_SIDE

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer

_AREA = (0.02, 0.15)
"""Smallest and largest rectangle, as a share of the view."""
_NARROW, _WIDE = (0.3, 1.0), (1.0, 3.3)
"""Width over height of rectangles; a coin decides between the two."""
_SCAR_WIDTH, _SCAR_LENGTH = (1, 8), (5, 13)
"""Pixels of 128, in images and crops alike: the original's at half its resolution."""
_SCAR_ANGLE = math.radians(45)
_JITTER = (0.1, 0.1, 0.1, 0.1)
"""Largest changes of brightness, contrast, saturation and hue."""
_PATCH_NUMBERS = 15


class Patch(NamedTuple):
    """One patch per view; rows come before columns.

    Attributes:
        size: (B, 2) int64 height and width in pixels, before rotation.
        source: (B, 2) int64 upper left corner of where it is cut.
        target: (B, 2) int64 upper left corner of the box around the rotated patch, where it is pasted.
        angle: (B,) counter-clockwise rotation in radians.
        jitter: How its colours change.
    """

    size: Tensor
    source: Tensor
    target: Tensor
    angle: Tensor
    jitter: Jitter


class Damage(NamedTuple):
    """What is drawn of the three views of each image.

    Attributes:
        corner: (B, 2) int64 upper left corner of the crop that all three views show.
        cut: Of the cut-paste, within the crop.
        scar: Of the scar, within the crop.
    """

    corner: Tensor
    cut: Patch
    scar: Patch


def draw_damage(count: int, side: int, crop: int, generator: Generator | None = None) -> Damage:
    """Draw the views of `count` images, crops of `crop` pixels; the record lies on the CPU.

    Args:
        count: B, number of images.
        side: Their height and width in pixels.
        crop: Side of the views in pixels; that of the images where they are shown whole.
        generator: On the CPU; torch's own where it is None.
    """
    return _damage(torch.rand(count, 2 + 2 * _PATCH_NUMBERS, generator=generator, dtype=torch.float64), side, crop)


def recall_damage(images: Tensor, crop: int) -> Damage:
    """Return the views that these images (B, C, H, W) always get: their bytes seed a generator each."""
    rows = [zlib.crc32(image.contiguous().numpy().tobytes()) for image in images.detach().cpu()]
    numbers = [
        torch.rand(2 + 2 * _PATCH_NUMBERS, generator=Generator().manual_seed(row), dtype=torch.float64) for row in rows
    ]
    return _damage(torch.stack(numbers), images.shape[-1], crop)


def _damage(numbers: Tensor, side: int, crop: int) -> Damage:
    """Return views of crops of images of `side` pixels, made of numbers (B, 32) in [0, 1)."""
    corner, cut, scar = numbers.tensor_split([2, 2 + _PATCH_NUMBERS], dim=1)  # (B, 2), (B, 15), (B, 15)
    corner = _place(corner, corner.new_tensor(crop), side)
    return Damage(corner, _cut(cut, crop), _scar(scar, crop, side / STUDY_SIDE))


def _cut(numbers: Tensor, side: int) -> Patch:
    """Return rectangles moved within views of `side` pixels."""
    shape, places, jitter = numbers.tensor_split([3, 7], dim=1)
    area, coin, ratio = shape.unbind(1)  # (B,) each
    area = _between(area, _AREA) * side**2
    ratio = torch.where(coin < 0.5, _between(ratio, _NARROW), _between(ratio, _WIDE))
    size = torch.stack((area / ratio, area * ratio), dim=1).sqrt().floor()  # (B, 2)
    source, target = (_place(place, size, side) for place in places.chunk(2, dim=1))
    return Patch(size.long(), source, target, torch.zeros_like(area), jitter_of(jitter, _JITTER))


def _scar(numbers: Tensor, side: int, scale: float) -> Patch:
    """Return strips moved and rotated within views of `side` pixels, `scale` times as large as the study's."""
    shape, places, jitter = numbers.tensor_split([3, 7], dim=1)
    length, width, angle = shape.unbind(1)  # (B,) each
    limits = [[round(scale * limit) for limit in limits] for limits in (_SCAR_LENGTH, _SCAR_WIDTH)]
    extents = [_whole(numbers, *ends) for numbers, ends in zip((length, width), limits, strict=True)]
    size = torch.stack(extents, dim=1)  # (B, 2)
    angle = _between(angle, (-_SCAR_ANGLE, _SCAR_ANGLE))
    source, target = places.chunk(2, dim=1)
    target = _place(target, rotated_box(size, angle), side)
    return Patch(size, _place(source, size, side), target, angle, jitter_of(jitter, _JITTER))


def _between(numbers: Tensor, limits: tuple[float, float]) -> Tensor:
    return limits[0] + numbers * (limits[1] - limits[0])


def _whole(numbers: Tensor, lowest: int, highest: int) -> Tensor:
    """Return whole numbers, both limits among them."""
    return (lowest + numbers * (highest - lowest + 1)).long()


def _place(numbers: Tensor, extent: Tensor, side: int) -> Tensor:
    """Return any place where something of an extent (B, 2) lies within a side, all equally likely."""
    return (numbers * (side - extent + 1)).long()


def rotated_box(size: Tensor, angle: Tensor) -> Tensor:
    """Return height and width (B, 2) int64 of the box around rectangles of a size (B, 2), rotated by an angle (B,)."""
    cosine, sine = angle.cos().abs().unsqueeze(1), angle.sin().abs().unsqueeze(1)  # (B, 1)
    reach = size * cosine + size.flip(1) * sine  # (B, 2)
    return (((size + reach) / 2).ceil() - ((size - reach) / 2).floor()).long()


def apply_patches(views: Tensor, patch: Patch) -> Tensor:
    """Return views (B, C, S, S) in [0, 1] with a part of each pasted over another, nearest pixels taken."""
    rows, columns, inside = _origin(patch, views.shape[-1], views.device)
    place = (rows * views.shape[-1] + columns).flatten(1).unsqueeze(1).expand(-1, views.shape[1], -1)  # (B, C, S²)
    moved = views.flatten(2).gather(2, place).view(views.shape)
    return torch.where(inside, apply_jitter(moved, inside, patch.jitter), views)


def _origin(patch: Patch, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows and columns (B, S, S) where pixels are cut from, and the mask (B, 1, S, S) of those that are pasted.

    In float64, since pixels at the edges of a patch lie on its border up to rounding.
    """
    size, source, target = (each.to(device)[..., None, None] for each in (patch.size, patch.source, patch.target))
    centre = target + rotated_box(patch.size, patch.angle).to(device)[..., None, None] / 2  # (B, 2, 1, 1)
    cosine, sine = (each.to(device)[:, None, None] for each in (patch.angle.cos(), patch.angle.sin()))  # (B, 1, 1)
    middle = torch.arange(side, dtype=torch.float64, device=device) + 0.5
    down, right = middle[:, None] - centre[:, 0], middle - centre[:, 1]  # (B, S, 1), (B, 1, S)
    row = (sine * right + cosine * down + size[:, 0] / 2).floor()  # (B, S, S)
    column = (cosine * right - sine * down + size[:, 1] / 2).floor()
    inside = (row >= 0) & (row < size[:, 0]) & (column >= 0) & (column < size[:, 1])
    rows, columns = (row + source[:, 0]).clamp(0, side - 1), (column + source[:, 1]).clamp(0, side - 1)
    return rows.long(), columns.long(), inside.unsqueeze(1)


def apply_damage(images: Tensor, damage: Damage, crop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the views (B, C, crop, crop) of images (B, C, H, W) in [0, 1]: untouched, cut-paste and scar."""
    number = torch.arange(len(images), device=images.device)
    places = damage.corner.to(images.device).unsqueeze(2) + torch.arange(crop, device=images.device)  # (B, 2, crop)
    views = images[number[:, None, None], :, places[:, 0, :, None], places[:, 1, None, :]].permute(0, 3, 1, 2)
    return views, apply_patches(views, damage.cut), apply_patches(views, damage.scar)


class Classifier(nn.Module):
    """A residual network with a deep head that names the damage of a view.

    Args:
        network: timm name of the residual network; its weights are drawn.
        depth: Hidden layers of the head.
        width: Features of a hidden layer.
        projection: Features below the last layer.

    Raises:
        UsageError: timm has no such network.
    """

    def __init__(self, network: str, depth: int, width: int, projection: int) -> None:
        super().__init__()
        self.backbone = WholeNetwork(network)
        self.features = self.backbone.features
        inputs = [self.features, *[width] * depth]
        hidden = [nn.Sequential(nn.Linear(i, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()) for i in inputs[:-1]]
        self.head = nn.Sequential(*hidden, nn.Linear(inputs[-1], projection), nn.Linear(projection, 3))
        _awake(self.backbone)

    def embed(self, views: Tensor) -> Tensor:
        """Return features (B, D) of views (B, 1 or 3, S, S)."""
        features: Tensor = self.backbone(views)
        return features

    def forward(self, views: Tensor) -> Tensor:
        """Return the logits of the three classes, (B, 3), of views (B, 1 or 3, S, S)."""
        logits: Tensor = self.head(self.embed(views))
        return logits


def _awake(network: nn.Module) -> None:
    """Let every block take part from the start, as in the study; timm lets each begin as the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)


class Windows(nn.Module):
    """Square windows of an image, and the map that numbers of theirs make.

    Args:
        image: Side of the image in pixels.
        window: Side of a window in pixels.
        stride: Pixels from one window to the next.
        at_centres: Whether a number lies at the centre of its window, and the outermost ones reach to the border; else
            the grid is stretched over the image.
    """

    places: Tensor
    matrix: Tensor

    def __init__(self, image: int, window: int, stride: int, *, at_centres: bool) -> None:
        super().__init__()
        first = torch.arange(0, image - window + 1, stride)
        self.window, self.side = window, len(first)
        matrix = (
            placement_matrix(Grid(self.side, (window - 1) / 2, stride), Grid(image))
            if at_centres
            else interpolation_matrix(self.side, image, align_corners=False)
        )
        self.register_buffer("places", (first[:, None] + torch.arange(window)).flatten(), False)
        self.register_buffer("matrix", matrix, False)

    def cut(self, images: Tensor) -> Tensor:
        """Return the windows (B * side², C, window, window) of images (B, C, H, W), row by row."""
        windows = images.index_select(2, self.places).index_select(3, self.places)  # (B, C, n·w, n·w)
        windows = windows.reshape(-1, images.shape[1], self.side, self.window, self.side, self.window)
        return windows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # (B, n, n, C, w, w) first

    def draw(self, numbers: Tensor) -> Tensor:
        """Return the map (B, 1, H, W) of numbers (B, side²)."""
        return self.matrix @ numbers.reshape(-1, 1, self.side, self.side) @ self.matrix.T


@register
class CutPaste(Method):
    """Two classifiers of damaged views with Gaussian densities of their features.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        network: timm name of both residual networks.
        head_depth: Hidden layers of the heads.
        head_width: Features of a hidden layer.
        projection: Features below the last layer.
        crop: Side of the crops that the second network learns from, in pixels of an image of 128 as the next two are.
        window: Side of the windows that it looks through.
        stride: From one window to the next.
        align: Whether each window has a density of its own; else all share one.
        share: Which part of the training images, from the first, the densities of windows are taken from, in (0, 1].
        factor_bits: In how many bits a number of their whitening factors is stored, 16 or 32.
        place_at_centres: Whether distances lie at the centres of their windows; else the grid is stretched.
        static: Whether an image gets the same damage whenever it comes.
        centred: Whether images lie in [-1, 1] instead of [0, 1]; damage is always done in [0, 1].

    Raises:
        UsageError: timm has no such network, a crop or window does not fit into an image, or `share` chooses nothing.
    """

    id = "cutpaste"
    title = "CutPaste"

    def __init__(
        self,
        channels: int,  # noqa: ARG002 - the networks take 1 or 3
        side: int,
        *,
        network: str = "resnet18",
        head_depth: int = 8,
        head_width: int = 512,
        projection: int = 128,
        crop: int = 32,
        window: int = 32,
        stride: int = 4,
        align: bool = True,
        share: float = 1.0,
        factor_bits: int = ROUNDED_BITS,
        place_at_centres: bool = True,
        static: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__()
        for what, pixels in {"crops": crop, "windows": window}.items():
            if not 0 < pixels <= STUDY_SIDE:
                raise UsageError(f"{what} of {pixels} pixels do not fit into an image", f"1 to {STUDY_SIDE}")
        if not 0 < share <= 1:
            raise UsageError(f"{share} is no share of the images", "a number above 0, at most 1")
        crop, window, stride = (pixels * side // STUDY_SIDE for pixels in (crop, window, stride))
        self.side, self.crop, self.share, self.static, self.centred = side, crop, share, static, centred
        self.image = Classifier(network, head_depth, head_width, projection)
        self.pixel = Classifier(network, head_depth, head_width, projection)
        self.windows = Windows(side, window, stride, at_centres=place_at_centres)
        self.image_density = Gaussian(1, self.image.features, bits=EXACT_BITS)
        self.densities = self.windows.side**2 if align else 1
        self.pixel_density = Gaussian(self.densities, self.pixel.features, bits=factor_bits)

    @override
    def encoders(self) -> Sequence[Encoder]:
        return self.image.backbone.encoder, self.pixel.backbone.encoder

    @override
    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        for part in ("image", "pixel"):
            trainer.minimise(self, batches, phase=part, turns=(Turn(f"{part}_step", part),))
        seen = Moments(1, self.image.features, trainer.device)
        for images in trainer.visit(self, batches, phase="image density"):
            seen.update(self.embed_images(images))
        self.image_density.fit(seen)
        seen = Moments(self.densities, self.pixel.features, trainer.device)
        for images in trainer.visit(self, batches, phase="pixel density", share=self.share):
            seen.update(self.embed_windows(images))
        self.pixel_density.fit(seen)

    def views(self, images: Tensor, crop: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the views (B, C, crop, crop) of images (B, C, H, W), in their range, untouched ones first."""
        damage = recall_damage(images, crop) if self.static else draw_damage(len(images), self.side, crop)
        if not self.centred:
            return apply_damage(images, damage, crop)
        untouched, cut, scar = apply_damage((images + 1) / 2, damage, crop)
        return untouched * 2 - 1, cut * 2 - 1, scar * 2 - 1

    def image_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return the loss of the network of whole images."""
        return {"loss": _cross_entropy(self.image, self.views(images, self.side))}

    def pixel_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return the loss of the network of crops."""
        return {"loss": _cross_entropy(self.pixel, self.views(images, self.crop))}

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        image, pixel = self.image_step(images)["loss"], self.pixel_step(images)["loss"]
        return {"loss": image + pixel, "image": image, "pixel": pixel}

    def embed_images(self, images: Tensor) -> Tensor:
        """Return the features (B, 1, D) of images (B, C, H, W)."""
        return self.image.embed(images).unsqueeze(1)

    def embed_windows(self, images: Tensor) -> Tensor:
        """Return the features (B, P, D) of the P windows of images, or (B * P, 1, D) where they share a density."""
        features = self.pixel.embed(self.windows.cut(images))  # (B·P, D)
        return features.reshape(-1, self.densities, self.pixel.features)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        distances: Tensor = self.pixel_density(self.embed_windows(images))  # (B, P) or (B·P, 1)
        return self.windows.draw(distances.reshape(-1, self.windows.side**2))

    @override
    def score(self, images: Tensor, pooled: Tensor) -> Tensor:
        distances: Tensor = self.image_density(self.embed_images(images))  # (B, 1)
        return distances.flatten()

    @override
    def synthetic(self, images: Tensor) -> dict[str, Tensor]:
        _, cut, scar = self.views(images, self.side)
        return {"cut-paste": cut, "scar": scar}


def _cross_entropy(network: Classifier, views: tuple[Tensor, ...]) -> Tensor:
    """Return the mean cross-entropy of which view is which, all in one batch."""
    logits = network(torch.cat(views))  # (3 B, 3)
    kinds = torch.arange(len(views), device=logits.device).repeat_interleave(len(views[0]))  # (3 B,)
    return F.cross_entropy(logits, kinds)
