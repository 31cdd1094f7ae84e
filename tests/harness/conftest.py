"""Real artefacts of a few seconds' training, made once per session, on a hub that is a folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fake.stores import write_tiny_store
from upd_zoo.data.store import Store
from upd_zoo.export import export_artefact
from upd_zoo.hub import open_hub
from upd_zoo.recipe import load_recipe
from upd_zoo.runtime import Model, load_folder
from upd_zoo.training import train
from upd_zoo.vocabulary import ModelId

GREY, COLOUR = "vae-phantom-t2", "vae-phantom-fundus"
PROGRAM = Path(sys.executable).with_name("upd-zoo")
_SETTINGS = {"width": 4, "bottleneck": 4, "latent": 8}

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def is_one_error(self, code: int) -> bool:
        """Return whether the command said exactly one line, an error, and ended with this exit code."""
        lines = self.err.strip().splitlines()
        return self.code == code and len(lines) == 1 and lines[0].startswith("error: ") and not self.out


Command = Callable[..., Answer]


def _train_and_export(model: str, channels: Literal[1, 3], work: Path) -> Path:
    domain = ModelId.parse(model).domain.id
    recipe = load_recipe(ModelId.parse(model), profile="quick", steps=6, batch_size=4)
    recipe = replace(recipe, settings={**recipe.settings, **_SETTINGS})
    store = write_tiny_store(work / "train", channels, 8, seed=1, name=f"{domain}/train")
    train(ModelId.parse(model), recipe, store, work / "run", device="cpu")
    validation = write_tiny_store(work / "validation", channels, 24, seed=2, name=f"{domain}/validation")
    export_artefact(work / "run", validation, work / "artefact")
    return work / "artefact"


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey model."""
    return _train_and_export(GREY, 1, tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="session")
def colour_artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour model."""
    return _train_and_export(COLOUR, 3, tmp_path_factory.mktemp("colour"))


@pytest.fixture(scope="session")
def model(artefact: Path) -> Model:
    return load_folder(artefact, device="cpu", threads=1)


@pytest.fixture(scope="session")
def colour_model(colour_artefact: Path) -> Model:
    return load_folder(colour_artefact, device="cpu", threads=1)


@pytest.fixture(scope="session")
def hub(artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub that holds the grey model."""
    folder = tmp_path_factory.mktemp("hub")
    open_hub(str(folder)).publish(artefact, ModelId.parse(GREY))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared stores, of which there is one: a test set with masks."""
    folder = tmp_path_factory.mktemp("data")
    write_tiny_store(folder / "phantom-t2" / "test", 1, 12, 3, masks=True, anomalous=6, name="phantom-t2/test")
    return folder


@pytest.fixture(scope="session")
def test_store(data: Path) -> Store:
    return Store(data / "phantom-t2" / "test")


@pytest.fixture
def environment(hub: Path, data: Path, tmp_path: Path) -> dict[str, str]:
    """Variables of a user who has the hub and the stores, and no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_"))}
    own = {"UPD_ZOO_HUB": str(hub), "UPD_ZOO_DATA": str(data), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return kept | own | {"HF_ENDPOINT": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def upd_zoo(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run the installed program."""

    def run(*arguments: str | Path, **variables: str) -> Answer:
        command = [str(PROGRAM), *map(str, arguments)]
        done = subprocess.run(
            command, env=environment | variables, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


def head(seed: int, shape: tuple[int, int, int] = (24, 28, 12)) -> Volume:
    """Return (X, Y, Z) float32: an ellipsoid of smooth tissue of random brightness in a black background."""
    generator = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < generator.uniform(0.5, 0.8)
    tissue = 100 + 30 * np.cos(sum(rate * axis for rate, axis in zip(generator.uniform(-4, 4, 3), grid, strict=True)))
    return np.where(inside, tissue, 0).astype(np.float32)


def write_volume(path: Path, volume: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None) -> Path:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)
    return path


def write_picture(path: Path, seed: int, *, colour: bool = True, size: tuple[int, int] = (40, 60)) -> Path:
    """Write a photograph of smooth random patches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(40, 220, (4, 4, 3) if colour else (4, 4), np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def rows_of(output: Path, name: str = "results.jsonl") -> list[dict[str, Any]]:
    """Return the rows of a run, having refused NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = (output / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def map_of(output: Path, row: dict[str, Any]) -> npt.NDArray[Any]:
    """Return the map that a row names, as stored."""
    path = output / row["outputs"]["map"]
    return np.asarray(nib.load(path).dataobj if ".nii" in path.name else Image.open(path))
