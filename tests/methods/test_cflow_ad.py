"""CFLOW-AD, against torch's Jacobians and distributions; `tests/oracle` compares it with another implementation."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fake.stores import write_tiny_store
from upd_zoo.errors import UsageError
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.learner import trainable
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.methods.cflow_ad import CFlowAD, Coupling, Decoder, positional_code
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Protocol

LIGHT = "test_resnet"
SWITCHES = {"first_batch_maximum", "inside_foreground", "placement", "normalise", "share"}


def small(**settings: Any) -> CFlowAD:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"backbone": LIGHT, "blocks": 2, "condition": 16, "padding": "zeros"}
    method = CFlowAD(1, 128, **(defaults | settings))
    stir(method)
    return method.eval()


def stir(module: nn.Module, strength: float = 0.5) -> None:
    """Bring flows far from the identity."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(strength * torch.randn(parameter.shape, generator=generator))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("cflow"), 1, 12)


def pixels(store: Store, count: int | None = None) -> Tensor:
    return torch.from_numpy(np.array(store.images[:count]))


def test_a_position_has_a_code_of_sines_and_cosines() -> None:
    code = positional_code(5, 8).reshape(8, 5, 5).double()
    for row in range(5):
        for column in range(5):
            for place, first in ((column, 0), (row, 4)):
                for j in range(2):
                    angle = place * 10000 ** (-2 * j / 4)
                    assert code[first + 2 * j, row, column] == pytest.approx(math.sin(angle), abs=1e-6)
                    assert code[first + 2 * j + 1, row, column] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("channels", [4, 5])
def test_a_block_knows_the_determinant_of_its_jacobian(channels: int) -> None:
    torch.manual_seed(0)
    block, code = Coupling(channels, 8).double(), positional_code(2, 8).double()
    stir(block)
    vectors = torch.randn(channels, 4, dtype=torch.float64)
    with torch.no_grad():
        _, found = block(vectors, code)
    for position in range(4):

        def alone(vector: Tensor, here: int = position) -> Tensor:
            changed: Tensor = block(vector[:, None], code[:, here : here + 1])[0][:, 0]
            return changed

        jacobian = torch.autograd.functional.jacobian(alone, vectors[:, position])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(found[position], jacobian.det().abs().log())


def undone(block: Coupling, changed: Tensor, code: Tensor) -> Tensor:
    """Return the vectors (C, B · P) that a block has changed, by the formulas of cards/study.md, section 3.7."""
    softplus = 2 * (1 + (block.global_scale / 2).exp()).log()
    vectors = torch.empty_like(changed)
    vectors[block.permutation] = changed
    vectors = (vectors - block.global_offset[:, None]) / (0.1 * softplus[:, None])
    first, second = vectors[: block.first], vectors[block.first :]
    seen = torch.cat((first, code.repeat(1, changed.shape[1] // code.shape[1])))
    a = 0.1 * block.narrow(block.widen(seen.T).clamp(min=0)).T
    return torch.cat((first, (second - a[len(second) :]) * (-1.9 * a[: len(second)].tanh()).exp()))


@pytest.mark.parametrize("channels", [4, 5])
def test_a_decoder_can_be_undone(channels: int) -> None:
    torch.manual_seed(0)
    decoder, level = Decoder(channels, 2, 8, 3).double(), torch.randn(3, channels, 2, 2, dtype=torch.float64)
    stir(decoder)
    vectors = z = level.transpose(0, 1).flatten(1)
    with torch.no_grad():
        for block in decoder.blocks:
            z, _ = block(z, decoder.code)
        assert (z - vectors).abs().mean() > 0.1
        for block in reversed(decoder.blocks):
            assert isinstance(block, Coupling)
            z = undone(block, z, decoder.code)
    torch.testing.assert_close(z, vectors)


def test_a_decoder_is_a_density() -> None:
    torch.manual_seed(0)
    decoder, axis = Decoder(2, 1, 4, 2).double(), torch.linspace(-12, 12, 481, dtype=torch.float64)
    stir(decoder, 0.3)
    with torch.no_grad():
        likelihood = 2 * decoder(torch.cartesian_prod(axis, axis).reshape(-1, 2, 1, 1))
    assert float(likelihood.exp().sum() * 0.05**2) == pytest.approx(1, abs=1e-3)


def test_the_same_vector_is_as_likely_in_every_image_but_not_everywhere() -> None:
    torch.manual_seed(0)
    decoder = Decoder(6, 3, 8, 2)
    stir(decoder)
    with torch.no_grad():
        found = decoder(torch.randn(6)[:, None, None].expand(2, 6, 3, 3))
    torch.testing.assert_close(found[0], found[1])
    assert len(set(found[0].tolist())) == 9


@pytest.mark.parametrize(("channels", "kept"), [(4, 2), (5, 3)])
def test_a_block_keeps_the_first_half_and_the_middle(channels: int, kept: int) -> None:
    torch.manual_seed(0)
    block, vectors = Coupling(channels, 8), torch.randn(channels, 4)
    changed = torch.empty_like(vectors)
    with torch.no_grad():
        changed[block.permutation], _ = block(vectors, positional_code(2, 8))
    torch.testing.assert_close(changed[:kept], vectors[:kept])
    assert ((changed[kept:] - vectors[kept:]).abs() > 1e-4).all()


def test_a_new_block_only_permutes() -> None:
    torch.manual_seed(0)
    block, vectors = Coupling(6, 8), torch.randn(6, 4)
    with torch.no_grad():
        block.narrow.weight.zero_()
        block.narrow.bias.zero_()
        changed, determinant = block(vectors, positional_code(2, 8))
    torch.testing.assert_close(changed, vectors[block.permutation])
    torch.testing.assert_close(determinant, torch.zeros(4), rtol=0, atol=1e-5)


def test_the_likelihood_is_a_standard_normals_and_the_determinants() -> None:
    torch.manual_seed(0)
    decoder, level = Decoder(6, 3, 8, 2), torch.randn(2, 6, 3, 3)
    stir(decoder)
    with torch.no_grad():
        found = decoder(level)
        z, total = level.transpose(0, 1).flatten(1), torch.zeros(18)
        for block in decoder.blocks:
            z, change = block(z, decoder.code)
            total = total + change
    likelihood = -(z**2).sum(0) / 2 - 6 * math.log(math.sqrt(2 * math.pi)) + total
    torch.testing.assert_close(found, (likelihood / 6).reshape(2, 9))


def test_the_loss_adds_up_the_levels(store: Store) -> None:
    method = small()
    with torch.no_grad():
        losses = method.training_step(pixels(store, 3))
        expected = [(1 + (-found).exp()).log().mean() for found in method.log_likelihoods(pixels(store, 3))]
    for number, loss in enumerate(expected, start=1):
        torch.testing.assert_close(losses[f"level_{number}"], loss)
    torch.testing.assert_close(losses["loss"], torch.stack(expected).sum())


def test_a_step_looks_at_a_share_of_the_positions_and_a_map_at_all() -> None:
    torch.manual_seed(0)
    decoder, level = Decoder(6, 4, 8, 2), torch.randn(2, 6, 4, 4)
    stir(decoder)
    with torch.no_grad():
        everywhere, drawn = decoder(level), decoder(level, 0.25)
    assert drawn.shape == (2, 4)
    columns = {tuple(column) for column in everywhere.T.tolist()}
    assert all(any(np.allclose(column, known, atol=1e-5) for known in columns) for column in drawn.T.tolist())
    whole, part = small(), small(share=0.25)
    part.load_state_dict(whole.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(part.anomaly_map(images := torch.rand(1, 1, 128, 128)), whole.anomaly_map(images))
        assert not torch.equal(part.training_step(images)["loss"], whole.training_step(images)["loss"])


def moved(method: CFlowAD, turns: list[list[str]], *, idle_are_left_alone: bool) -> list[Tensor]:
    """Return what Adam makes of the decoders in three steps, each of which descends some of the losses in turn."""
    adam = torch.optim.Adam(trainable(method), lr=1e-2)
    x = torch.rand(3, 2, 1, 128, 128, generator=torch.Generator().manual_seed(2))
    for images in x:
        for names in turns:
            adam.zero_grad(set_to_none=idle_are_left_alone)
            losses = method.training_step(images)
            torch.autograd.backward([losses[name] for name in names])
            adam.step()
    return [parameter.detach() for parameter in trainable(method)]


def test_a_step_on_the_sum_descends_the_levels_in_turn() -> None:
    levels = [["level_1"], ["level_2"], ["level_3"]]
    together = moved(small(), [["loss"]], idle_are_left_alone=True)
    for one, other in zip(together, moved(small(), levels, idle_are_left_alone=True), strict=True):
        torch.testing.assert_close(one, other)
    # An optimiser that gives idle decoders gradients of zero, as torch's did by default before 2.0, moves them on.
    further = moved(small(), levels, idle_are_left_alone=False)
    assert not any(torch.allclose(one, other, atol=1e-3) for one, other in zip(together, further, strict=True))


def test_training_moves_decoders_and_nothing_else(store: Store) -> None:
    method = small().train()
    torch.autograd.backward(method.training_step(pixels(store, 3))["loss"])
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    assert all(parameter.grad is not None for parameter in method.decoders.parameters())


@pytest.mark.parametrize(("first_batch_maximum", "largest"), [(False, 1.0), (True, math.exp(10))])
def test_the_map_is_what_is_left_of_the_mean_probability(
    first_batch_maximum: bool, largest: float, store: Store
) -> None:
    method, x = small(first_batch_maximum=first_batch_maximum), pixels(store, 3)
    with torch.no_grad():
        likelihoods = method.log_likelihoods(x)
        # Levels that exceed their maximum a little, by far, and not at all.
        beyond = torch.tensor([0.5, 12.0, -1.0])
        method.maxima.copy_(torch.stack([likelihood.max() for likelihood in likelihoods]) - beyond)
        found = method.anomaly_map(x)
    total = torch.zeros(3, 1, 128, 128)
    for likelihood, maximum, side in zip(likelihoods, method.maxima, method.backbone.sides, strict=True):
        probability = (likelihood - maximum).exp().clamp(max=largest).reshape(3, 1, side, side)
        total += F.interpolate(probability, (128, 128), mode="bilinear", align_corners=True) / 3
    torch.testing.assert_close(found, 1 - total, rtol=1e-4, atol=1e-5)
    assert bool(found.min() < 0) is first_batch_maximum


def calibrated(method: CFlowAD, store: Store, folder: Path) -> CFlowAD:
    recipe = load_recipe(ModelId("cflow-ad", None, "phantom-t2"), profile="tiny", steps=1)
    method.fit(Batches(store, 4, 0, centred=False), Trainer(folder, recipe, "cpu"))
    return method.eval()


def test_each_level_is_measured_by_its_own_maximum_over_all_images(store: Store, tmp_path: Path) -> None:
    method = calibrated(small(), store, tmp_path)
    with torch.no_grad():
        likelihoods = method.log_likelihoods(pixels(store))
        anomaly_map = method.anomaly_map(pixels(store))
    torch.testing.assert_close(method.maxima, torch.stack([each.max() for each in likelihoods]), rtol=1e-4, atol=1e-4)
    assert anomaly_map.min() >= 0


def test_a_maximum_is_kept_until_a_batch_exceeds_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen = small(), []
    found = iter(([-3.0, -1.0, -math.inf], [-2.0, -4.0, -math.inf], [-5.0, -2.0, -7.0]))

    def look(images: Tensor) -> Tensor:
        seen.append(images)
        return torch.tensor(next(found))

    monkeypatch.setattr(method, "highest", look)
    calibrated(method, store, tmp_path)
    torch.testing.assert_close(method.maxima, torch.tensor([-2.0, -1.0, -7.0]))
    assert torch.equal(torch.cat(seen), pixels(store))


@pytest.mark.parametrize(
    ("highest", "maximum"), [([-3.0, 0.7, 0.2], 0.7), ([-3.0, -0.5, -2.0], 0.0), ([4.0, 0.7, -math.inf], 4.0)]
)
def test_the_studys_maximum_is_one_number_of_the_first_batch_and_not_below_zero(
    highest: list[float], maximum: float, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, seen = small(first_batch_maximum=True), []

    def look(images: Tensor) -> Tensor:
        seen.append(images)
        return torch.tensor(highest)

    monkeypatch.setattr(method, "highest", look)
    calibrated(method, store, tmp_path)
    torch.testing.assert_close(method.maxima, torch.full((3,), maximum))
    torch.testing.assert_close(seen, [Batches(store, 4, 0, centred=False).at(0)])


def test_only_tissue_counts_where_brains_are_looked_at(store: Store) -> None:
    method, x = small(inside_foreground=True), pixels(store, 4)
    everywhere = small().highest(x)
    with torch.no_grad():
        likelihoods = method.log_likelihoods(x)
    expected = []
    for likelihood, side in zip(likelihoods, method.backbone.sides, strict=True):
        cells = torch.ones(1, 1, side, side, requires_grad=True)
        weights = F.interpolate(cells, (128, 128), mode="bilinear", align_corners=True)
        taken, whole = (
            torch.cat([torch.autograd.grad((weights * part).sum(), cells, retain_graph=True)[0] for part in parts])
            for parts in ((x > 0).float().chunk(len(x)), torch.ones_like(x).chunk(len(x)))
        )
        share = taken / whole
        expected.append(likelihood[share.flatten(1) >= 0.5].max())
    found = method.highest(x)
    torch.testing.assert_close(found, torch.stack(expected))
    assert (found <= everywhere).all()
    assert not torch.equal(found, everywhere)


@pytest.mark.parametrize("domain", DOMAINS)
def test_switches_are_those_of_the_protocols(domain: str) -> None:
    sound, study = (
        load_recipe(ModelId("cflow-ad", None, domain), p).settings for p in (Protocol.SOUND, Protocol.STUDY)
    )
    brain = DOMAINS[domain].modality.id == "brain-mri"
    assert (sound["first_batch_maximum"], sound["inside_foreground"]) == (False, brain)
    assert (study["first_batch_maximum"], study["inside_foreground"]) == (True, False)
    assert (sound["placement"], study["placement"]) == ("looked-at", "corners")
    assert (sound["share"], study["share"]) == (0.25, 1.0)
    assert {key: sound[key] for key in sound if key not in SWITCHES} == {
        key: study[key] for key in study if key not in SWITCHES
    }
    assert sound["strides"] == ([8, 16, 32] if DOMAINS[domain].modality.id == "chest-xray" else [4, 8, 16])


def test_a_batch_without_tissue_counts_for_nothing(store: Store) -> None:
    method, blank = small(inside_foreground=True), torch.full((2, 1, 128, 128), 0.3)
    assert (method.highest(blank) == -math.inf).all()
    torch.testing.assert_close(method.highest(torch.cat((pixels(store, 2), blank))), method.highest(pixels(store, 2)))


def test_other_strides_are_other_levels(store: Store) -> None:
    method = small(strides=[8, 16, 32])
    with torch.no_grad():
        likelihoods = method.log_likelihoods(pixels(store, 2))
    assert [likelihood.shape for likelihood in likelihoods] == [(2, 256), (2, 64), (2, 16)]


def test_a_backbone_that_mirrors_its_borders_sees_them_in_another_way(store: Store) -> None:
    x = pixels(store, 2) + 0.5
    with torch.no_grad():
        zeros, mirrored = (small(padding=padding).log_likelihoods(x)[0] for padding in ("zeros", "reflect"))
    difference = (zeros - mirrored).abs().reshape(2, 32, 32)
    assert difference[:, 0].mean() > 1e-3
    assert difference[:, 12:20, 12:20].max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition": 6}, "condition of 6 channels"),
        ({"condition": 0}, "condition of 0 channels"),
        ({"condition": -4}, "condition of -4 channels"),
        ({"blocks": 0}, "0 coupling blocks"),
        ({"share": 0.0}, "share of 0.0"),
        ({"share": 1.5}, "share of 1.5"),
        ({"strides": []}, "No strides"),
        ({"strides": [3]}, "strides"),
        ({"padding": "mirror"}, "No padding is called 'mirror'"),
        ({"backbone": "test_resnt"}, "no backbone called 'test_resnt'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(**settings)
