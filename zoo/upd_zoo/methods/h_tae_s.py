"""H-TAE-S: a hierarchical transformer autoencoder with skip connections (image reconstruction).

Learnt: to reconstruct a healthy image x, from tokens that attend to each other at four sizes,

    L = mean |x − x̂|,    attention(Q, K, V) = softmax( Q Kᵀ / √d ) V  over all tokens of an image, in several heads.

The encoder merges 2 x 2 tokens into one three times; the decoder expands them again, adding each time what the encoder
had at that size. What is not healthy is not learnt, so

    map = residual(x, x̂).

Positions are not coded: only the norm over the first grid of tokens has a weight and a bias for each place. The memory
that a decoder block attends to is what went into the block.

Differs from the study (switch):
    smoothing, erosion   As for the VAE.

References: section IV-A of the study; Ghorbel et al. 2022; Liu et al. 2021 (patch merging); Cao et al. 2021 (patch
expanding); Vaswani et al. 2017, equation 1.
"""

import math
from collections.abc import Sequence

from torch import Tensor, cat, nn
from torch.nn import functional as F
from typing_extensions import override

from upd_zoo.layers.residual import residual_called
from upd_zoo.method import Method, register

_PATCH = 4
"""Side of the patch that becomes a token, in pixels."""
_STAGES = 4
"""Sizes at which tokens attend to each other: 32, 16, 8 and 4 tokens a side of 128 px."""
_EXPANSION = 4
"""Width inside a perceptron, as a multiple of the tokens'."""


class Attention(nn.Module):
    """Attention of tokens to all tokens of a memory; torch's `MultiheadAttention`, in a form that can be traced.

    Args:
        width: Channels of a token.
        heads: Parts into which the channels are split, each with its own weights.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Draw as torch's module does: Glorot's distribution of queries, keys and values as one matrix; no biases."""
        width = self.query.in_features
        bound = math.sqrt(6 / (width + 3 * width))
        for projection in (self.query, self.key_value):
            nn.init.uniform_(projection.weight, -bound, bound)
        for projection in (self.query, self.key_value, self.out):
            nn.init.zeros_(projection.bias)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Return (B, N, width) of tokens (B, N, width) and a memory (B, M, width)."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        query, key, value = map(self._split, (self.query(tokens), key, value))
        found = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        """Return (B, heads, N, width / heads)."""
        batch, count, width = tokens.shape
        return tokens.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)


def _perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, _EXPANSION * width), nn.GELU(), nn.Linear(_EXPANSION * width, width))


class EncoderBlock(nn.Module):
    """Self-attention and a perceptron, normalised before each, and their sum once more.

    Args:
        width: Channels of a token.
        heads: Heads of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.perceptron = Attention(width, heads), _perceptron(width)
        self.before_attention, self.before_perceptron, self.after = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, N, width) of (B, N, width)."""
        normalised = self.before_attention(tokens)
        tokens = tokens + self.attention(normalised, normalised)
        tokens = tokens + self.perceptron(self.before_perceptron(tokens))
        out: Tensor = self.after(tokens)
        return out


class DecoderLayer(nn.Module):
    """Self-attention, attention to a memory and a perceptron, normalised after each.

    Args:
        width: Channels of a token.
        heads: Heads of both attentions.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.to_self, self.to_memory = Attention(width, heads), Attention(width, heads)
        self.perceptron = _perceptron(width)
        self.after_self, self.after_memory, self.after = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Return (B, N, width) of tokens (B, N, width) and a memory (B, M, width)."""
        tokens = self.after_self(tokens + self.to_self(tokens, tokens))
        tokens = self.after_memory(tokens + self.to_memory(tokens, memory))
        out: Tensor = self.after(tokens + self.perceptron(tokens))
        return out


class DecoderBlock(nn.Module):
    """Decoder layers, the memory of each being what went into the block.

    Args:
        width: Channels of a token.
        heads: Heads of the attentions.
        depth: Layers.
    """

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads) for _ in range(depth))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, N, width) of (B, N, width)."""
        memory = tokens
        for layer in self.layers:
            tokens = layer(tokens, memory)
        return tokens


class PatchEmbedding(nn.Module):
    """One token for each patch, normalised over the whole image.

    Args:
        channels: Channels of the images.
        width: Channels of a token.
        side: Tokens a side.
    """

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(channels, width, _PATCH, stride=_PATCH)
        self.normalise = nn.LayerNorm([width, side, side])

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens (B, side², width), row by row, of images (B, C, H, W)."""
        tokens: Tensor = self.normalise(self.embed(images))
        return tokens.flatten(2).transpose(1, 2)


class PatchMerging(nn.Module):
    """Makes one token of twice the width of each 2 x 2 neighbours.

    Args:
        width: Channels of a token that comes in.
        side: Tokens that come in, a side.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.normalise = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, N / 4, 2 * width) of (B, N, width)."""
        merged: Tensor = self.reduce(self.normalise(gather_neighbours(tokens, self.side)))
        return merged


def gather_neighbours(tokens: Tensor, side: int) -> Tensor:
    """Return tokens (B, side² / 4, 4 * width): of each 2 x 2 the (row, column) (0,0), (1,0), (0,1), (1,1)."""
    grid = tokens.reshape(tokens.shape[0], side, side, -1)
    return cat([grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1).flatten(1, 2)


def spread_neighbours(tokens: Tensor, side: int, factor: int) -> Tensor:
    """Return tokens (B, (factor · side)², width / factor²): each becomes factor x factor, row by row."""
    grid = tokens.reshape(tokens.shape[0], side, side, factor, factor, -1)
    return grid.transpose(2, 3).flatten(1, 4)


class PatchExpanding(nn.Module):
    """Makes factor x factor tokens of each.

    Args:
        width: Channels of a token that comes in.
        outputs: Channels of a token that goes out.
        side: Tokens that come in, a side.
        factor: Tokens that one becomes, a side.
    """

    def __init__(self, width: int, outputs: int, side: int, factor: int) -> None:
        super().__init__()
        self.side, self.factor = side, factor
        self.widen = nn.Linear(width, factor**2 * outputs, bias=False)
        self.normalise = nn.LayerNorm(outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, factor² * N, outputs) of (B, N, width)."""
        expanded: Tensor = self.normalise(spread_neighbours(self.widen(tokens), self.side, self.factor))
        return expanded


class Encoder(nn.Module):
    """Tokens of an image at four sizes.

    Args:
        channels: Channels of the images.
        widths: Channels of a token at each size.
        sides: Tokens a side at each size.
        heads: Heads of every attention.
        depth: Blocks at each size.
    """

    def __init__(self, channels: int, widths: Sequence[int], sides: Sequence[int], heads: int, depth: int) -> None:
        super().__init__()
        merges = [PatchMerging(width, side) for width, side in zip(widths[:-1], sides[:-1], strict=True)]
        self.shrink = nn.ModuleList([PatchEmbedding(channels, widths[0], sides[0]), *merges])
        self.blocks = nn.ModuleList(
            nn.Sequential(*(EncoderBlock(width, heads) for _ in range(depth))) for width in widths
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return tokens (B, sides[i]², widths[i]) of images (B, C, H, W), largest number first."""
        stages, features = [], images
        for shrink, block in zip(self.shrink, self.blocks, strict=True):
            features = block(shrink(features))
            stages.append(features)
        return stages


class Decoder(nn.Module):
    """An image from tokens at four sizes.

    Args:
        channels: Channels of the images.
        widths: Channels of a token at each size.
        sides: Tokens a side at each size.
        heads: Heads of every attention.
        depth: Layers at each size.
    """

    def __init__(self, channels: int, widths: Sequence[int], sides: Sequence[int], heads: int, depth: int) -> None:
        super().__init__()
        self.side = sides[0] * _PATCH
        up = list(zip(widths[:0:-1], widths[-2::-1], sides[:0:-1], strict=True))
        self.deepest = DecoderBlock(widths[-1], heads, depth)
        self.expand = nn.ModuleList(PatchExpanding(wide, narrow, side, 2) for wide, narrow, side in up)
        self.normalise = nn.ModuleList(nn.LayerNorm(narrow) for _, narrow, _ in up)
        self.blocks = nn.ModuleList(DecoderBlock(narrow, heads, depth) for _, narrow, _ in up)
        self.to_pixels = PatchExpanding(widths[0], widths[0], sides[0], _PATCH)
        self.to_image = nn.Conv2d(widths[0], channels, 1)

    def forward(self, stages: list[Tensor]) -> Tensor:
        """Return (B, C, H, W) of the encoder's stages; no output activation."""
        *skips, deepest = stages
        tokens = self.deepest(deepest)
        for expand, normalise, block, skip in zip(self.expand, self.normalise, self.blocks, skips[::-1], strict=True):
            tokens = block(normalise(expand(tokens) + skip))
        pixels = self.to_pixels(tokens).transpose(1, 2).unflatten(-1, (self.side, self.side))
        image: Tensor = self.to_image(pixels)
        return image


@register
class HTAES(Method):
    """Hierarchical transformer autoencoder with skip connections.

    Args:
        channels: Channels of the images.
        side: Their height and width in pixels.
        width: Channels of a token of a 4 x 4 patch; doubled from size to size.
        heads: Heads of every attention.
        depth: Encoder blocks, and decoder layers, at each size.
        residual: What the map is; see `upd_zoo.layers.residual`.
    """

    id = "h-tae-s"
    title = "H-TAE-S"

    def __init__(
        self, channels: int, side: int, *, width: int = 96, heads: int = 4, depth: int = 2, residual: str = "ssim"
    ) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(_STAGES)]
        sides = [side // _PATCH // 2**stage for stage in range(_STAGES)]
        self.encoder = Encoder(channels, widths, sides, heads, depth)
        self.decoder = Decoder(channels, widths, sides, heads, depth)
        self.residual = residual_called(residual, side)

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": F.l1_loss(self.reconstruct(images), images)}

    @override
    def reconstruct(self, images: Tensor) -> Tensor:
        drawn: Tensor = self.decoder(self.encoder(images))
        return drawn

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        residual: Tensor = self.residual(images, self.reconstruct(images))
        return residual
