"""Switches that several methods share: what they change, and that what was made before them stays as it was."""

import inspect

import pytest
import torch
from torch import Tensor

from upd_zoo.method import Method
from upd_zoo.registry import create, registered

LIGHT = "test_resnet"
SIGNED = "mobilenetv2_100"


def those_with(setting: str) -> list[str]:
    return [name for name, kind in registered().items() if setting in inspect.signature(kind).parameters]


def make(method: str, backbone: str, **settings: str) -> Method:
    torch.manual_seed(0)
    return create(method, 1, 128, {"backbone": backbone} | settings).eval()


def images(count: int = 2) -> Tensor:
    return torch.rand((count, 1, 128, 128), generator=torch.Generator().manual_seed(1))


def placed_by_the_study() -> list[str]:
    """Return the methods that the study resizes; what is not of the study has no other way to keep."""
    return [
        name
        for name in those_with("placement")
        if inspect.signature(registered()[name]).parameters["placement"].default != "looked-at"
    ]


@pytest.mark.parametrize("method", placed_by_the_study())
def test_cells_lie_elsewhere_where_they_look(method: str) -> None:
    with torch.no_grad():
        before, resized, looked_at = (
            make(method, LIGHT, **settings).anomaly_map(images())
            for settings in ({}, {"placement": "edges"}, {"placement": "looked-at"})
        )
    assert before.shape == resized.shape == looked_at.shape
    assert (before - looked_at).abs().max() > 1e-4
    assert (resized - looked_at).abs().max() > 1e-4


@pytest.mark.parametrize("method", those_with("levels_from"))
def test_expansions_are_read_where_bottlenecks_are_linear(method: str) -> None:
    settings: dict[str, str] = {"padding": "zeros"} if method in those_with("padding") else {}
    blocks = make(method, SIGNED, **settings).encoders()[0].tensors()
    expansion = make(method, SIGNED, levels_from="expansion", **settings).encoders()[0].tensors()
    assert {name: value.shape for name, value in expansion.items()} == {
        name: value.shape for name, value in blocks.items()
    }, "the same weights fit both"
