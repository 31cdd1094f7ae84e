"""What a frozen backbone says is computed once, and a training that recalls it gives the bits of one that does not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from fake.stores import write_tiny_store
from upd_zoo.artefact.records import WEIGHTS, Phase
from upd_zoo.errors import UsageError
from upd_zoo.fitting import levels as levels_room
from upd_zoo.fitting import precision as precision_room
from upd_zoo.fitting.levels import FOLDER, KeptLevels, are_worth_keeping
from upd_zoo.fitting.precision import precision_on
from upd_zoo.fitting.run import RunSettings
from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.methods.fae import FAE
from upd_zoo.methods.rd import RD
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.training import train

BACKBONE = "test_resnet"
MODEL = ModelId.parse(f"rd.{BACKBONE}-phantom-t2")
STEPS = 6
"""Over eight images in batches of three: each is looked at twice; a checkpoint every step."""


class AbortError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("levels") / "store")


@pytest.fixture
def backbone() -> FeatureBackbone:
    torch.manual_seed(0)
    return FeatureBackbone(BACKBONE, 128)


def recipe_of(**changes: Any) -> Recipe:
    phases = {"main": Phase(steps=STEPS, optimiser={"name": "Adam", "lr": 1e-3})}
    return replace(load_recipe(MODEL, profile="tiny"), phases=phases, batch_size=3, **changes)


def trained(store: Store, run: Path, *, resume: bool = False, on_progress: Report = silent) -> dict[str, Tensor]:
    settings = RunSettings(device="cpu", weights="random", resume=resume)
    train(MODEL, recipe_of(precision="float32"), store, run, settings, on_progress=on_progress)
    return safetensors.torch.load_file(run / WEIGHTS)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stages_and_weights(store: Store, run: Path) -> tuple[list[str], dict[str, Tensor]]:
    seen: list[str] = []
    weights = trained(store, run, on_progress=lambda progress: seen.append(progress.what))
    return list(dict.fromkeys(seen)), weights


def test_recalled_levels_are_computed_once_and_give_the_bits_of_computed_ones(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages, kept = stages_and_weights(store, tmp_path / "kept")
    assert stages == ["levels", "main"]
    assert not (tmp_path / "kept" / FOLDER).exists()
    monkeypatch.setattr(levels_room, "MOST", 0)
    stages, computed = stages_and_weights(store, tmp_path / "computed")
    assert stages == ["main"]
    assert same(kept, computed)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(store: Store, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if (progress.what, progress.done) == ("main", STEPS // 2):
            raise AbortError

    with pytest.raises(AbortError):
        trained(store, tmp_path / "stopped", on_progress=stop)
    assert same(trained(store, tmp_path / "stopped", resume=True), trained(store, tmp_path / "whole"))
    assert not (tmp_path / "stopped" / FOLDER).exists()


def test_kept_levels_are_found_by_their_rows(backbone: FeatureBackbone, store: Store, tmp_path: Path) -> None:
    images = torch.from_numpy(np.array(store.images))
    kept = KeptLevels(backbone, len(images), tmp_path / FOLDER)
    for start in (0, 3, 6):
        kept.append(backbone(images[start : start + 3]))
    rows = np.array([1, 6])
    with torch.no_grad():
        expected = backbone(images[rows])
    for found, level in zip(kept.of(rows), expected, strict=True):
        torch.testing.assert_close(found, level)


def test_what_a_killed_run_kept_is_not_trusted(backbone: FeatureBackbone, tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "9.float32").write_bytes(b"older")
    KeptLevels(backbone, 1, folder)
    assert not (folder / "9.float32").exists()


@pytest.mark.parametrize(("looks", "worth"), [(15, False), (16, True)])
def test_levels_that_are_hardly_looked_at_again_are_not_kept(
    backbone: FeatureBackbone, tmp_path: Path, looks: int, *, worth: bool
) -> None:
    assert are_worth_keeping(backbone, 8, looks, tmp_path) is worth


def test_levels_of_too_many_images_are_not_kept(backbone: FeatureBackbone, tmp_path: Path) -> None:
    assert not are_worth_keeping(backbone, 10**7, 10**9, tmp_path)


def test_a_backbone_that_recalls_does_not_compute(backbone: FeatureBackbone) -> None:
    levels = [torch.ones(1)]
    with backbone.recalling(levels):
        assert backbone(torch.zeros(1, 3, 128, 128)) is levels
    assert len(backbone(torch.zeros(1, 3, 128, 128))) == 3


def test_a_backbone_that_adapts_is_never_recalled() -> None:
    assert FAE(1, 128, backbone=BACKBONE, adapt_batch_norm=True).described_by() is None
    still = FAE(1, 128, backbone=BACKBONE, adapt_batch_norm=False)
    assert still.described_by() is still.backbone
    other = RD(1, 128, backbone=BACKBONE)
    assert other.described_by() is other.backbone


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A device that has bfloat16, and one that has not."""
    monkeypatch.setattr(precision_room, "_has_bfloat16", lambda _: request.param)
    return bool(request.param)


def test_half_the_bits_are_taken_where_the_device_has_them(*, native: bool) -> None:
    assert precision_on("cpu", "bfloat16") == ("bfloat16" if native else "float32")
    assert precision_on("cpu", "float32") == "float32"


def test_a_run_says_in_which_numbers_it_was_trained(store: Store, tmp_path: Path, *, native: bool) -> None:
    recipe = recipe_of(precision="bfloat16")
    phases = {"main": recipe.phases["main"].model_copy(update={"steps": 1})}
    settings = RunSettings(device="cpu", weights="random")
    config = train(MODEL, replace(recipe, phases=phases), store, tmp_path / "run", settings)
    assert config.training.precision == ("bfloat16" if native else "float32")
    weights = safetensors.torch.load_file(tmp_path / "run" / WEIGHTS)
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}


def test_other_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="Nothing is trained in float16"):
        precision_on("cpu", "float16")
