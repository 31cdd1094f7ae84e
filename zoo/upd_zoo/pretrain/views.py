"""Views of an image for contrastive learning, drawn and applied separately.

A strong change, one of four, makes another image of an image: halves are swapped. A view then shows a part of it,
perhaps mirrored, in other colours, with a hole. Everything is vectorised and runs where the images lie.

Source: cards/study.md, section 4.1; torchvision's RandomResizedCrop, ColorJitter and RandomGrayscale; DeVries & Taylor
2017 for the hole.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from upd_zoo.layers.colour import CHANGES, Jitter, apply_jitter, jitter_of, luminance
from upd_zoo.vocabulary import STUDY_SIDE

PERMUTATIONS = 4
"""As they are; left and right halves swapped; top and bottom halves swapped; both."""
_ATTEMPTS = 10
"""At a part that fits into the image; the whole image is shown if none does."""
_RATIO = (3 / 4, 4 / 3)
"""Smallest and largest width over height of the part."""
_JITTER = (0.4, 0.4, 0.4, 0.1)
_JITTERED, _GREY, _MIRRORED = 0.8, 0.2, 0.5
"""How often colours are changed, taken away, and the view mirrored."""
_LARGEST_HOLE = 75
"""Pixels of 128."""


class View(NamedTuple):
    """What is drawn of one view of each image; rows come before columns, all in pixels.

    Attributes:
        corner: (B, 2) int64 upper left corner of the part that is shown.
        size: (B, 2) int64 height and width of the part.
        mirrored: (B,) bool.
        jitter: How colours change.
        jittered: (B,) bool, whether they do.
        grey: (B,) bool, whether colours are taken away.
        hole: (B,) int64 side of the hole.
        centre: (B, 2) int64 where the hole is; it may reach over the border.
    """

    corner: Tensor
    size: Tensor
    mirrored: Tensor
    jitter: Jitter
    jittered: Tensor
    grey: Tensor
    hole: Tensor
    centre: Tensor


def draw_permutation(count: int, generator: Generator | None = None) -> Tensor:
    """Draw which halves of `count` images are swapped, (B,) int64 below 4; on the CPU."""
    return torch.randint(PERMUTATIONS, (count,), generator=generator)


def apply_permutation(images: Tensor, permutation: Tensor) -> Tensor:
    """Return images (B, C, H, W) with halves swapped: top and bottom where k // 2 = 1, left and right where odd."""
    number, side = torch.arange(len(images), device=images.device), images.shape[-1]
    places = torch.arange(side, device=images.device)
    swapped = permutation.to(images.device).unsqueeze(1)  # (B, 1)
    rows = (places + swapped // 2 * (side // 2)) % side  # (B, H)
    columns = (places + swapped % 2 * (side // 2)) % side
    swapped_images = images[number[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return swapped_images.permute(0, 3, 1, 2)


def draw_view(count: int, side: int, smallest: float, generator: Generator | None = None) -> View:
    """Draw one view each of `count` images; the record lies on the CPU.

    Args:
        count: B, number of images.
        side: Their height and width in pixels.
        smallest: Smallest part of an image's area that a view shows, in (0, 1].
        generator: On the CPU; torch's own where it is None.
    """
    corner, size = _part(torch.rand(count, 2 * _ATTEMPTS + 2, generator=generator), side, smallest)
    numbers = torch.rand(count, 2 * CHANGES + 6, generator=generator)
    jitter, chances, hole = numbers.tensor_split([2 * CHANGES, 2 * CHANGES + 3], dim=1)  # (B, 8), (B, 3), (B, 3)
    mirrored, jittered, grey = (chances < chances.new_tensor((_MIRRORED, _JITTERED, _GREY))).unbind(1)
    largest = _LARGEST_HOLE * side // STUDY_SIDE
    extent, centre = 1 + (hole[:, 0] * largest).long(), (hole[:, 1:] * side).long()
    return View(corner, size, mirrored, jitter_of(jitter, _JITTER), jittered, grey, extent, centre)


def _part(numbers: Tensor, side: int, smallest: float) -> tuple[Tensor, Tensor]:
    """Return corner and size (B, 2) of parts made of numbers (B, 22) in [0, 1): the first of ten that fits."""
    area, ratio, place = numbers.tensor_split([_ATTEMPTS, 2 * _ATTEMPTS], dim=1)  # (B, 10), (B, 10), (B, 2)
    area = (smallest + area * (1 - smallest)) * side**2
    low, high = map(math.log, _RATIO)
    ratio = (low + ratio * (high - low)).exp()
    sizes = torch.stack(((area / ratio).sqrt(), (area * ratio).sqrt()), dim=2).round().long()  # (B, 10, 2)
    sizes = torch.cat((sizes, torch.full_like(sizes[:, :1], side)), dim=1)  # (B, 11, 2): at last the whole image
    first = (sizes <= side).all(dim=2).int().argmax(dim=1)  # (B,)
    size = sizes[torch.arange(len(sizes)), first]  # (B, 2)
    return (place * (side - size + 1)).long(), size


def apply_view(images: Tensor, view: View) -> Tensor:
    """Return views (B, C, H, W) of images (B, C, H, W) in [0, 1]."""
    device = images.device
    side = images.shape[-1]
    rows, columns = (_sampling(view.corner[:, axis], view.size[:, axis], side).to(images) for axis in (0, 1))
    columns = torch.where(view.mirrored.to(device)[:, None, None], columns.flip(1), columns)
    shown = rows.unsqueeze(1) @ images @ columns.mT.unsqueeze(1)  # (B, C, H, W)
    chosen = view.jittered.nonzero().flatten()  # (b,), those that are jittered
    whole = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device).expand(len(chosen), 1, *shown.shape[2:])
    jitter = Jitter(view.jitter.factors[chosen], view.jitter.order[chosen])
    shown[chosen.to(device)] = apply_jitter(shown[chosen.to(device)], whole, jitter)
    shown = torch.where(view.grey.to(device)[:, None, None, None], luminance(shown), shown)
    return shown.masked_fill(_holes(view, side).to(device), 0.0)


def _sampling(first: Tensor, extent: Tensor, side: int) -> Tensor:
    """Return matrices (B, side, side) that enlarge `extent` pixels from `first` to a whole side, linearly."""
    places = torch.arange(side)
    first, extent = first.unsqueeze(1), extent.unsqueeze(1)
    within = ((places + 0.5) * extent / side - 0.5).clamp(min=0)  # (B, side)
    source = first + torch.minimum(within, (extent - 1).float())  # (B, side)
    return (1 - (source.unsqueeze(2) - places).abs()).clamp(min=0)


def _holes(view: View, side: int) -> Tensor:
    """Return the mask (B, 1, side, side) of pixels that lie in a hole."""
    places = torch.arange(side)
    start = view.centre - view.hole.unsqueeze(1) // 2  # (B, 2)
    from_start = places - start.unsqueeze(2)  # (B, 2, side)
    inside = (from_start >= 0) & (from_start < view.hole[:, None, None])
    return (inside[:, 0, :, None] & inside[:, 1, None, :]).unsqueeze(1)
