"""Random changes of colour, drawn and applied separately; an image has its own changes, in an order of its own.

Source: the definitions of torchvision's ColorJitter, on real numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

CHANGES = 4
"""Brightness, contrast, saturation, hue."""
_LUMINANCE = (0.299, 0.587, 0.114)


class Jitter(NamedTuple):
    """Changes of colour of one image or patch each.

    Attributes:
        factors: (B, 4) factors of brightness, contrast and saturation, then the shift of hue in turns.
        order: (B, 4) int64, which of the four comes first, second and so on.
    """

    factors: Tensor
    order: Tensor


def jitter_of(numbers: Tensor, limits: tuple[float, float, float, float]) -> Jitter:
    """Return changes made of numbers (B, 8) in [0, 1): at most `limits` to either side, in any order."""
    changes, order = numbers.chunk(2, dim=1)
    factors = (2 * changes - 1) * changes.new_tensor(limits) + changes.new_tensor((1.0, 1.0, 1.0, 0.0))
    return Jitter(factors, order.argsort(dim=1))


def apply_jitter(pixels: Tensor, inside: Tensor, jitter: Jitter) -> Tensor:
    """Return pixels (B, C, H, W) in [0, 1] with changed colours; contrast about the mean of what is `inside`.

    Grey pixels have neither saturation nor hue.
    """
    pixels, inside = pixels.clone(), inside.expand(len(pixels), 1, *pixels.shape[2:])
    factors, order = jitter.factors.to(pixels), jitter.order.to(pixels.device)
    changes: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [_brighten, _contrast]
    changes += [_saturate, _turn_hue] if pixels.shape[1] > 1 else []
    for turn in order.unbind(1):
        for number, change in enumerate(changes):
            rows = (turn == number).nonzero().flatten()
            if len(rows):
                factor = factors[rows, number].view(-1, 1, 1, 1)
                pixels[rows] = change(pixels[rows], inside[rows], factor).clamp(0, 1)
    return pixels


def luminance(pixels: Tensor) -> Tensor:
    """Return how bright pixels (B, C, H, W) are, (B, 1, H, W)."""
    if pixels.shape[1] == 1:
        return pixels
    return (pixels * pixels.new_tensor(_LUMINANCE).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _brighten(pixels: Tensor, _: Tensor, factor: Tensor) -> Tensor:
    return pixels * factor


def _contrast(pixels: Tensor, inside: Tensor, factor: Tensor) -> Tensor:
    total = (luminance(pixels) * inside).sum(dim=(2, 3), keepdim=True)  # (B, 1, 1, 1)
    return _blend(pixels, total / inside.sum(dim=(2, 3), keepdim=True).clamp(min=1), factor)


def _saturate(pixels: Tensor, _: Tensor, factor: Tensor) -> Tensor:
    return _blend(pixels, luminance(pixels), factor)


def _blend(pixels: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    return factor * pixels + (1 - factor) * others


def _turn_hue(pixels: Tensor, _: Tensor, turns: Tensor) -> Tensor:
    """Return colours (B, 3, H, W) of the same value and chroma, their hue turned."""
    value, strongest = pixels.max(dim=1, keepdim=True)  # (B, 1, H, W)
    chroma = value - pixels.amin(dim=1, keepdim=True)
    channel = torch.arange(3, device=pixels.device).view(1, 3, 1, 1)
    sixths = (pixels.roll(-1, 1) - pixels.roll(-2, 1)) / chroma.where(chroma > 0, 1.0) + 2 * channel  # (B, 3, H, W)
    away = (sixths.gather(1, strongest) + 6 * turns + 5 - 2 * channel) % 6  # (B, 1, H, W)
    return value - chroma * torch.minimum(away, 4 - away).clamp(0, 1)
