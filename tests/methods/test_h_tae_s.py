"""H-TAE-S, against torch's own transformer layers and the formulas written out."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from upd_zoo.methods.h_tae_s import (
    HTAES,
    Attention,
    DecoderBlock,
    EncoderBlock,
    PatchEmbedding,
    PatchExpanding,
    PatchMerging,
    gather_neighbours,
    spread_neighbours,
)
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create
from upd_zoo.vocabulary import Protocol


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=Generator().manual_seed(seed))


def shaken(module: nn.Module) -> nn.Module:
    """Return a module with every parameter moved, so that a lost bias or norm shows."""
    generator = Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def tiny(channels: int = 1, residual: str = "ssim") -> HTAES:
    torch.manual_seed(3)
    return HTAES(channels, 128, width=4, heads=1, depth=1, residual=residual).eval()


def fill(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    """Give torch's attention our weights."""
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat((ours.query.weight, ours.key_value.weight)))
        theirs.in_proj_bias.copy_(torch.cat((ours.query.bias, ours.key_value.bias)))
        theirs.out_proj.load_state_dict(ours.out.state_dict())


def copy(pairs: Iterable[tuple[nn.Module, nn.Module]]) -> None:
    for ours, theirs in pairs:
        theirs.load_state_dict(ours.state_dict())


def one_minus_ssim(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], dynamic_range: float) -> Tensor:
    """Return 1 − SSIM of two (H, W) images by Wang's formula, as it stands in the paper."""

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(gaussian_filter(values, 1.5, mode="constant", truncate=5 / 1.5))

    c1, c2 = (0.01 * dynamic_range) ** 2, (0.03 * dynamic_range) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, cxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    ssim = (2 * mx * my + c1) * (2 * cxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return torch.from_numpy(np.clip(1 - ssim, 0, 1)).float()


def test_the_network_has_the_studys_size() -> None:
    recipe = load_recipe(ModelId.parse("h-tae-s-chexpert"), Protocol.STUDY)
    method = create(recipe.method, 1, 128, recipe.settings)
    assert round(sum(parameter.numel() for parameter in method.parameters()) / 1e6, 3) == 47.417
    with torch.no_grad():
        stages = method.encoder(torch.zeros(1, 1, 128, 128))  # type: ignore[operator]
    assert [tuple(stage.shape[1:]) for stage in stages] == [(1024, 96), (256, 192), (64, 384), (16, 768)]


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_torchs(heads: int) -> None:
    ours, theirs = Attention(8, heads), nn.MultiheadAttention(8, heads, batch_first=True)
    fill(shaken(ours), theirs)  # type: ignore[arg-type]
    tokens, memory = random(2, 5, 8), random(2, 7, 8, seed=1)
    for keys in (tokens, memory):
        torch.testing.assert_close(ours(tokens, keys), theirs(tokens, keys, keys, need_weights=False)[0])


def test_attention_starts_as_torchs_does() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(64, 4), nn.MultiheadAttention(64, 4)
    drawn = torch.cat((ours.query.weight, ours.key_value.weight)).detach()
    pairs = ((drawn, theirs.in_proj_weight.detach()), (ours.out.weight.detach(), theirs.out_proj.weight.detach()))
    for mine, its in pairs:
        assert mine.shape == its.shape
        assert mine.abs().max() == pytest.approx(float(its.abs().max()), rel=0.01)
        assert mine.std() == pytest.approx(float(its.std()), rel=0.03)
    assert drawn.abs().max() <= math.sqrt(6 / 256)
    assert not any(projection.bias.any() for projection in (ours.query, ours.key_value, ours.out))


def test_an_encoder_block_is_torchs_pre_norm_layer_and_one_more_norm() -> None:
    block = EncoderBlock(8, 2)
    shaken(block)
    layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    fill(block.attention, layer.self_attn)
    copy([(block.before_attention, layer.norm1), (block.before_perceptron, layer.norm2)])
    copy([(block.perceptron[0], layer.linear1), (block.perceptron[2], layer.linear2)])
    tokens = random(2, 6, 8)
    torch.testing.assert_close(block(tokens), block.after(layer(tokens)))


def test_a_decoder_block_is_torchs_post_norm_layers_with_its_input_as_memory() -> None:
    block = DecoderBlock(8, 2, 2)
    shaken(block)
    tokens = random(2, 6, 8)
    expected = tokens
    for ours in block.layers:
        layer = nn.TransformerDecoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True)
        fill(ours.to_self, layer.self_attn)  # type: ignore[arg-type]
        fill(ours.to_memory, layer.multihead_attn)  # type: ignore[arg-type]
        copy([(ours.after_self, layer.norm1), (ours.after_memory, layer.norm2), (ours.after, layer.norm3)])  # type: ignore[list-item]
        widen, _, narrow = ours.perceptron.children()  # type: ignore[union-attr]
        copy([(widen, layer.linear1), (narrow, layer.linear2)])
        expected = layer(expected, tokens)
    torch.testing.assert_close(block(tokens), expected)


@pytest.mark.parametrize("block", [EncoderBlock(8, 2), DecoderBlock(8, 2, 2)])
def test_no_token_knows_its_position(block: nn.Module) -> None:
    tokens, order = random(1, 9, 8), torch.randperm(9, generator=Generator().manual_seed(2))
    torch.testing.assert_close(block(tokens[:, order]), block(tokens)[:, order])


def test_a_patch_becomes_a_token_and_an_image_is_normalised_as_a_whole() -> None:
    embedding, images = PatchEmbedding(1, 4, 32), random(2, 1, 128, 128)
    tokens = embedding(images)
    weight, bias = embedding.embed.weight.flatten(1), embedding.embed.bias
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).reshape(2, 1024, 16)
    expected = F.linear(patches, weight, bias)
    expected = (expected - expected.mean((1, 2), keepdim=True)) / expected.std((1, 2), correction=0, keepdim=True)
    torch.testing.assert_close(tokens, expected, rtol=1e-3, atol=1e-3)
    assert embedding.normalise.weight.shape == (4, 32, 32)


def test_four_neighbours_are_merged_column_by_column() -> None:
    # Token r, c of a 4 x 4 grid carries the number 10 r + c.
    grid = torch.tensor([[10.0 * row + column for column in range(4)] for row in range(4)])
    merged = gather_neighbours(grid.reshape(1, 16, 1), 4)
    assert merged[0].tolist() == [[0, 10, 1, 11], [2, 12, 3, 13], [20, 30, 21, 31], [22, 32, 23, 33]]


def test_a_token_is_expanded_row_by_row() -> None:
    # Two tokens side by side in a 2 x 2 grid of zeros, each with two channels for each of its four parts.
    tokens = torch.zeros(1, 4, 8)
    tokens[0, 0], tokens[0, 1] = torch.arange(8.0), torch.arange(10.0, 18.0)
    spread = spread_neighbours(tokens, 2, 2).reshape(4, 4, 2)
    assert spread[0].tolist() == [[0, 1], [2, 3], [10, 11], [12, 13]]
    assert spread[1].tolist() == [[4, 5], [6, 7], [14, 15], [16, 17]]
    assert not spread[2:].any()


def test_merging_normalises_and_then_reduces() -> None:
    merging, tokens = PatchMerging(4, 8), random(2, 64, 4)
    gathered = F.layer_norm(gather_neighbours(tokens, 8), [16])
    torch.testing.assert_close(merging(tokens), gathered @ merging.reduce.weight.T)
    assert merging.reduce.bias is None
    assert merging(tokens).shape == (2, 16, 8)


@pytest.mark.parametrize(("outputs", "factor", "count"), [(4, 2, 64), (8, 4, 256)])
def test_expanding_widens_and_then_normalises(outputs: int, factor: int, count: int) -> None:
    expanding, tokens = PatchExpanding(8, outputs, 4, factor), random(2, 16, 8)
    spread = spread_neighbours(tokens @ expanding.widen.weight.T, 4, factor)
    torch.testing.assert_close(expanding(tokens), F.layer_norm(spread, [outputs]))
    assert expanding.widen.bias is None
    assert expanding(tokens).shape == (2, count, outputs)


def test_every_size_reaches_the_image_through_its_skip() -> None:
    method = tiny()
    with torch.no_grad():
        stages = method.encoder(random(1, 1, 128, 128))
        image = method.decoder(stages)
        for index in range(4):
            changed = [stage.flip(-1) if index == number else stage for number, stage in enumerate(stages)]
            assert not torch.allclose(method.decoder(changed), image)


def test_expanded_tokens_and_a_skip_are_added_and_normalised() -> None:
    method = tiny()
    decoder = method.decoder
    with torch.no_grad():
        stages = method.encoder(random(1, 1, 128, 128))
        tokens = decoder.deepest(stages[3])
        for step, skip in enumerate((stages[2], stages[1], stages[0])):
            total = decoder.expand[step](tokens) + skip
            tokens = decoder.blocks[step](F.layer_norm(total, [total.shape[-1]]))
        pixels = decoder.to_pixels(tokens)
        weight, bias = decoder.to_image.weight.flatten(1), decoder.to_image.bias
        expected = (pixels @ weight.T + bias).reshape(1, 1, 128, 128)
        torch.testing.assert_close(decoder(stages), expected)


def test_the_loss_is_the_mean_absolute_error() -> None:
    method, images = tiny(), random(2, 1, 128, 128)
    loss = method.training_step(images)["loss"]
    torch.testing.assert_close(loss, (method.reconstruct(images) - images).abs().mean())


@pytest.mark.parametrize(("residual", "dynamic_range"), [("ssim", 1.0), ("ssim-8-bit", 255.0)])
def test_the_map_is_the_ssim_of_image_and_reconstruction(residual: str, dynamic_range: float) -> None:
    method, images = tiny(3, residual), random(1, 3, 128, 128)
    with torch.no_grad():
        drawn, anomaly_map = method.reconstruct(images), method.anomaly_map(images)
    pairs = zip(images[0].double().numpy(), drawn[0].double().numpy(), strict=True)
    expected = torch.stack([one_minus_ssim(x, y, dynamic_range) for x, y in pairs]).mean(0)
    torch.testing.assert_close(anomaly_map[0, 0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("name", ["h-tae-s-camcan-t2", "h-tae-s-ddr"])
def test_images_stay_between_0_and_1(name: str, protocol: Protocol) -> None:
    recipe = load_recipe(ModelId.parse(name), protocol)
    assert not recipe.centred
