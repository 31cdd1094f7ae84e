"""Every method that may start from a pre-trained network: what is pre-trained of it, and what it takes over."""

import json
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from contract.kinds import GREY, PRETRAINED, WITH_ENCODERS, case, light_recipe
from fake.stores import draw_image
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Backbone
from upd_zoo.fitting.run import LOG, seed_everything
from upd_zoo.layers.encoder import tensors_sha256
from upd_zoo.pretrain.run import encoder_of
from upd_zoo.registry import create

with_encoders = pytest.mark.parametrize("name", WITH_ENCODERS)
trained_from_encoders = pytest.mark.parametrize(
    "name", [case(name, slow=number % 4 > 0) for number, name in enumerate(WITH_ENCODERS)]
)
"""A training for each method: `make test` takes every fourth, `make test-all` the others too."""


def test_all_methods_of_the_study_but_one_start_from_ccd() -> None:
    published = tomllib.loads((files("upd_harness") / "published.toml").read_text(encoding="utf-8"))
    assert {*published["table-vi"]} - {*WITH_ENCODERS} == {"h-tae-s"}


@trained_from_encoders
def test_ten_steps_move_every_parameter_of_the_network(name: str, pretrained: Callable[[str], Path]) -> None:
    folder = pretrained(name)
    lines = (folder.parent / LOG).read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == 10
    seed_everything(0)
    start, end = encoder_of(light_recipe(name, GREY)).tensors(), safetensors.torch.load_file(folder / WEIGHTS)
    assert end.keys() == start.keys()
    parameters = [key for key in end if not key.endswith("num_batches_tracked")]
    assert [key for key in parameters if torch.equal(end[key], start[key])] == []


@trained_from_encoders
def test_a_method_starts_from_what_was_pre_trained_and_says_so(
    name: str, fitted: Callable[..., Any], pretrained: Callable[[str], Path]
) -> None:
    model, folder = fitted(name, PRETRAINED), pretrained(name)
    tensors, backbone = safetensors.torch.load_file(folder / WEIGHTS), read_record(folder / CONFIG, Backbone)
    method = create(name, 1, 128, model.config.settings)
    method.load_state_dict(model.start)
    for encoder in method.encoders():
        own = encoder.tensors()
        taken = [key for key in own if key in tensors]
        assert len(taken) == len(own)
        assert all(torch.equal(own[key].float(), tensors[key].to(own[key].dtype).float()) for key in taken)
    origin = model.config.weights_origin
    assert (model.config.pretrain, origin.source, origin.name) == ("ccd", "ccd", backbone.id)
    assert origin.sha256 == tensors_sha256(method.encoders()[0].tensors())
    assert model.config.pretraining == backbone
    assert "CCD with tiny profile" in model.config.labels
    verify(folder)


@with_encoders
def test_what_describes_an_image_passes_through_every_part(name: str) -> None:
    seed_everything(0)
    encoder = encoder_of(light_recipe(name, GREY))
    assert encoder.describe is not None
    generator = np.random.default_rng(1)
    images = torch.from_numpy(np.stack([draw_image(1, generator) for _ in range(2)]))
    features = encoder.describe(images)
    assert features.ndim == 2
    torch.autograd.backward(features.square().sum())
    for part in encoder.parts.values():
        assert [key for key, parameter in part.named_parameters() if parameter.grad is None] == []
