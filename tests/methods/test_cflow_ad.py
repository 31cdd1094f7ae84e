"""CFLOW-AD, against torch's Jacobians and distributions; `tests/oracle` compares it with another implementation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fake.stores import write_tiny_store
from upd_zoo.data.store import Store
from upd_zoo.methods.cflow_ad import CFlowAD, Coupling, Decoder, positional_code
from upd_zoo.recipe import load_recipe
from upd_zoo.training import Batches, Trainer
from upd_zoo.vocabulary import DOMAINS, ModelId, Protocol

LIGHT = "test_resnet"


def small(*, first_batch_maximum: bool = False, inside_foreground: bool = False, padding: str = "zeros") -> CFlowAD:
    torch.manual_seed(0)
    method = CFlowAD(1, backbone=LIGHT, blocks=2, condition=16, padding=padding,
                     first_batch_maximum=first_batch_maximum, inside_foreground=inside_foreground)  # fmt: skip
    return stirred(method).eval()


def stirred(module: CFlowAD | Coupling | Decoder) -> CFlowAD:
    """Return a module whose flows are far from the identity."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return module  # type: ignore[return-value]


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
    stirred(block)
    vectors = torch.randn(channels, 4, dtype=torch.float64)
    with torch.no_grad():
        _, found = block(vectors, code)
    for position in range(4):

        def alone(vector: Tensor, here: int = position) -> Tensor:
            changed: Tensor = block(vector[:, None], code[:, here : here + 1])[0][:, 0]
            return changed

        jacobian = torch.autograd.functional.jacobian(alone, vectors[:, position])  # type: ignore[no-untyped-call]
        torch.testing.assert_close(found[position], jacobian.det().abs().log())


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
    stirred(decoder)
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


def test_the_map_is_what_is_left_of_the_mean_probability(store: Store) -> None:
    method, x = small(), pixels(store, 3)
    method.maxima.copy_(torch.tensor([-2.0, -1.0, -3.0]))
    with torch.no_grad():
        found, likelihoods = method.anomaly_map(x), method.log_likelihoods(x)
    total = torch.zeros(3, 1, 128, 128)
    for likelihood, maximum, side in zip(likelihoods, method.maxima, method.backbone.sides, strict=True):
        probability = (likelihood - maximum).exp().clamp(max=1).reshape(3, 1, side, side)
        total += F.interpolate(probability, (128, 128), mode="bilinear", align_corners=True) / 3
    torch.testing.assert_close(found, 1 - total, rtol=0, atol=1e-5)


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


def test_the_studys_maximum_is_one_number_of_the_first_batch(store: Store, tmp_path: Path) -> None:
    method = calibrated(small(first_batch_maximum=True), store, tmp_path)
    first = Batches(store, 4, 0, centred=False).at(0)
    with torch.no_grad():
        highest = max(float(each.max()) for each in method.log_likelihoods(first))
    torch.testing.assert_close(method.maxima, torch.full((3,), max(highest, 0.0)), rtol=1e-4, atol=1e-4)


def test_only_tissue_counts_where_brains_are_looked_at(store: Store) -> None:
    method, x = small(inside_foreground=True), pixels(store, 4)
    everywhere = small().highest(x)
    with torch.no_grad():
        likelihoods = method.log_likelihoods(x)
    expected = []
    for likelihood, side in zip(likelihoods, method.backbone.sides, strict=True):
        share = (x > 0).float().unfold(2, 128 // side, 128 // side).unfold(3, 128 // side, 128 // side).mean((-1, -2))
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
