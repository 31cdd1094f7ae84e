"""What is no file of weights is named for what it is, and what is one is held against what it should be."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fake.memory import traced
from fake.trained import GREY, trained_artefact
from upd_zoo.artefact.records import CONFIG, WEIGHTS
from upd_zoo.errors import IntegrityError
from upd_zoo.fitting.checkpoint import CHECKPOINT, Checkpoint
from upd_zoo.layers.encoder import read_weights
from upd_zoo.runtime.eager import load_detector
from upd_zoo.runtime.tensors import read_tensors, write_tensors

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9406\n"
OTHERS = {
    "pickle": (pickle.dumps({"weight": 1}), "is a pickle", "safetensors.torch.save_file"),
    "torch.save": (b"PK\x03\x04\x00\x00archive/data.pkl", "is an archive of torch.save", "safetensors.torch.save_file"),
    "LFS pointer": (LFS, "is a pointer of Git LFS", "git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html><body>Please log in", "is a web page", "fetch the file itself"),
    "nothing": (b"", "is not a whole safetensors file", "try this"),
    "letters": (b"these are letters" * 40, "is not a whole safetensors file", "try this"),
}


@pytest.fixture
def run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a finished run."""
    artefact = trained_artefact(tmp_path_factory, GREY)
    return shutil.copytree(artefact.parent / "run", tmp_path / "run")


@pytest.mark.parametrize(("content", "problem", "advice"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_safetensors_file_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, problem: str, advice: str
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=problem) as caught:
        read_tensors(path, "try this")
    assert advice in str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS, CHECKPOINT])
@pytest.mark.parametrize("kind", ["LFS pointer", "pickle", "web page"])
def test_every_file_of_a_run_is_named_for_what_it_is(run: Path, name: str, kind: str) -> None:
    content, problem, _ = OTHERS[kind]
    (run / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=rf"{name} {problem}"):
        load_detector(run) if name == WEIGHTS else Checkpoint(run / name)


def test_a_file_that_was_cut_short_is_refused(run: Path) -> None:
    whole = (run / WEIGHTS).read_bytes()
    (run / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(IntegrityError, match=r"is not a whole safetensors file.*upd-zoo pull --force"):
        load_detector(run)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(run: Path, value: float) -> None:
    tensors = safetensors.torch.load_file(run / WEIGHTS)
    tensors["to_latent.weight"][0, 0] = value
    safetensors.torch.save_file(tensors, run / WEIGHTS)
    with pytest.raises(IntegrityError, match=r"model\.safetensors holds NaN or infinity in to_latent\.weight\."):
        load_detector(run)
    with pytest.raises(IntegrityError, match=r"to_latent\.weight.*--weights random"):
        read_weights(run / WEIGHTS)


def test_a_checkpoint_that_is_not_finite_is_refused_by_name(run: Path) -> None:
    with safetensors.safe_open(run / CHECKPOINT, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    tensors["method.to_latent.weight"][0, 0] = torch.nan
    safetensors.torch.save_file(tensors, run / CHECKPOINT, metadata)
    with pytest.raises(IntegrityError, match=r"NaN or infinity in to_latent\.weight.*new folder"):
        Checkpoint(run / CHECKPOINT)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"latent": 1_000_000_000}, r"does not hold the weights of .*: from_latent\.weight is \d+x8 and should be"),
        ({"width": 100_000}, "does not hold the weights"),
        ({"latent": 9}, "does not hold the weights"),
    ],
)
def test_settings_that_describe_a_giant_take_no_memory(run: Path, settings: dict[str, Any], problem: str) -> None:
    config = json.loads((run / CONFIG).read_text())
    config["settings"] |= settings
    (run / CONFIG).write_text(json.dumps(config))
    with traced() as peak, pytest.raises(IntegrityError, match=problem):
        load_detector(run)
    assert peak.bytes < 50e6


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_written_tensors_may_be_read_by_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / WEIGHTS, {"weight": torch.ones(1)})
    finally:
        os.umask(before)
    assert (tmp_path / WEIGHTS).stat().st_mode & 0o777 == 0o666 & ~umask
