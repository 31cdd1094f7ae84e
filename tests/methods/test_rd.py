"""RD, against its formulas written out; `tests/oracle` compares it with another implementation."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from upd_zoo.methods.rd import RD
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import DOMAINS, ModelId, Protocol

LIGHT = "test_resnet"


@pytest.fixture
def method() -> RD:
    torch.manual_seed(0)
    return RD(1, backbone=LIGHT).eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 1, 128, 128, generator=torch.Generator().manual_seed(1))


def cosine(a: Tensor, b: Tensor, dim: int) -> Tensor:
    a, b = a.double(), b.double()
    lengths = (a * a).sum(dim).sqrt() * (b * b).sum(dim).sqrt()
    return (a * b).sum(dim) / lengths


def test_the_loss_compares_whole_levels(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(3))
        losses = method.training_step(images(3))
    expected = [(1 - cosine(a.flatten(1), b.flatten(1), 1)).mean().float() for a, b in zip(taught, drawn, strict=True)]
    for number, loss in enumerate(expected, start=1):
        torch.testing.assert_close(losses[f"level_{number}"], loss)
    torch.testing.assert_close(losses["loss"], torch.stack(expected).sum())


def test_the_map_adds_up_what_differs_at_each_position(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(2))
        found = method.anomaly_map(images(2))
    expected = torch.zeros(2, 1, 128, 128, dtype=torch.float64)
    for a, b in zip(taught, drawn, strict=True):
        distance = (1 - cosine(a, b, 1)).unsqueeze(1)
        expected += F.interpolate(distance, (128, 128), mode="bilinear", align_corners=True)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-5)


def test_the_student_draws_levels_of_the_teachers_shapes(method: RD) -> None:
    with torch.no_grad():
        taught, drawn = method.levels(images(2))
    assert [level.shape for level in drawn] == [level.shape for level in taught]


def test_the_teacher_neither_learns_nor_counts(method: RD) -> None:
    method.train()
    before = {name: tensor.clone() for name, tensor in method.backbone.state_dict().items()}
    torch.autograd.backward(method.training_step(images(3))["loss"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    assert all(parameter.grad is not None for parameter in method.student.parameters())
    assert all(parameter.grad is not None for parameter in method.bottleneck.parameters())


@pytest.mark.parametrize("domain", DOMAINS)
def test_both_protocols_are_the_same(domain: str) -> None:
    recipes = [load_recipe(ModelId("rd", None, domain), protocol) for protocol in Protocol]
    assert recipes[0].settings == recipes[1].settings
    assert recipes[0].phases == recipes[1].phases
