"""Pre-training as runs and as folders: what a kill leaves, what is refused, and who may start from what."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from fake.artefact import with_manifest
from fake.stores import write_tiny_store
from upd_zoo.artefact.provenance import PROVENANCE
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, MANIFEST, WEIGHTS, Backbone, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.fitting.run import LOG, RunSettings
from upd_zoo.fitting.schedule import rate_factor
from upd_zoo.layers.encoder import initialise
from upd_zoo.names import ModelId
from upd_zoo.pretrain.run import BACKBONE, encoder_of, pretrain
from upd_zoo.progress import Progress
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.training import prepare_method
from upd_zoo.vocabulary import Protocol

MODEL = ModelId.parse("vae-phantom-t2")
STEPS = 45
"""A checkpoint every second step, so that a kill can fall between two."""


class AbortError(Exception):
    """Stands for whatever ends a process."""


def base_of(name: str, protocol: Protocol = Protocol.SOUND) -> Recipe:
    return load_recipe(ModelId.parse(name), protocol, "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_tiny_store(tmp_path_factory.mktemp("pretraining") / "store")


def run_pretraining(store: Store, run: Path, name: str = "vae-phantom-t2", **options: Any) -> Backbone:
    chosen = {key: options.pop(key) for key in ("seed", "weights", "resume") if key in options}
    settings = RunSettings(device="cpu", **chosen)
    return pretrain(base_of(name), store, run, settings, **{"steps": STEPS, "batch_size": 3, **options})


@pytest.fixture(scope="module")
def finished(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("pretraining") / "run"
    run_pretraining(store, run)
    return run


@pytest.fixture
def backbone(finished: Path, tmp_path: Path) -> Path:
    """A copy of the network, to be damaged."""
    folder = tmp_path / "backbone"
    folder.mkdir()
    for path in (finished / BACKBONE).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / BACKBONE / WEIGHTS)


def test_a_finished_run_has_a_network_with_a_manifest_of_its_own(finished: Path) -> None:
    folder = finished / BACKBONE
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, MANIFEST, WEIGHTS, PROVENANCE])
    manifest, backbone = read_record(folder / MANIFEST, Manifest), read_record(folder / CONFIG, Backbone)
    assert manifest.id == backbone.id == "ccd.vae-phantom-t2"
    assert {*manifest.files} == {CONFIG, WEIGHTS, PROVENANCE}
    assert "torch" in manifest.versions
    assert (backbone.encoder, backbone.domain, backbone.weights_origin.source) == ("vae", "phantom-t2", "random")
    assert backbone.labels == ["tiny test store", f"CCD with tiny ({STEPS} steps) profile"]


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been(store: Store, finished: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == STEPS // 2:
            raise AbortError

    run = tmp_path / "run"
    with pytest.raises(AbortError):
        run_pretraining(store, run, on_progress=stop)
    assert not (run / BACKBONE).exists()
    with pytest.raises(UsageError, match="not empty"):
        run_pretraining(store, run)
    run_pretraining(store, run, resume=True)
    mine, theirs = weights_of(run), weights_of(finished)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_store_that_does_not_say_how_scans_are_scaled_is_refused(store: Store, tmp_path: Path) -> None:
    older = Store(store.folder)
    older.facts = older.facts.model_copy(update={"provenance": {}})
    with pytest.raises(UsageError, match=r"phantom-t2/train does not say .* prepare it again"):
        run_pretraining(older, tmp_path / "run")
    with pytest.raises(UsageError, match=r"phantom-t2/train does not say .* prepare it again"):
        prepare_method(MODEL, base_of("vae-phantom-t2"), older, RunSettings(device="cpu"))
    film = base_of("vae-phantom-cxr")
    _, config = prepare_method(ModelId.parse("vae-phantom-cxr"), film, older, RunSettings(device="cpu"))
    assert config.scale is None


def test_another_run_is_not_continued(store: Store, finished: Path) -> None:
    before = (finished / BACKBONE / WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="another configuration"):
        run_pretraining(store, finished, resume=True, seed=1)
    run_pretraining(store, finished, resume=True)
    assert (finished / BACKBONE / WEIGHTS).read_bytes() == before


def test_the_log_says_how_long_images_were_waited_for(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / LOG).read_text(encoding="utf-8").splitlines()]
    assert {*lines[0]["losses"]} == {"loss", "contrast", "change"}
    assert 0 < lines[-1]["waiting"] < lines[-1]["seconds"]


def test_the_rate_falls_once_for_every_epoch_of_all_changes(finished: Path) -> None:
    schedule = read_record(finished / CONFIG, Backbone).training.phases["main"].schedule
    per_epoch = 4 * 3  # four changes of eight images, three at a time
    assert rate_factor(schedule, per_epoch - 1) == 1
    assert 0.99 < rate_factor(schedule, per_epoch) < 1
    assert rate_factor(schedule, 200 * per_epoch) == pytest.approx(1e-3)


def test_a_method_without_an_encoder_is_not_pre_trained(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="H-TAE-S starts from no pre-trained network"):
        run_pretraining(store, tmp_path / "run", "h-tae-s-phantom-t2")
    with pytest.raises(UsageError, match="H-TAE-S starts from no pre-trained weights"):
        start(store, "h-tae-s-phantom-t2-ccd", tmp_path)


def start(store: Store, name: str, folder: Path | None, **changes: Any) -> Any:
    """Return the configuration of a model that starts from a folder."""
    recipe = replace(load_recipe(ModelId.parse(name), Protocol.SOUND, "tiny"), **changes)
    weights = None if folder is None else str(folder)
    return prepare_method(ModelId.parse(name), recipe, store, RunSettings(device="cpu", weights=weights))[1]


def test_two_methods_start_from_the_same_network(store: Store, finished: Path) -> None:
    configs = [start(store, f"{name}-phantom-t2-ccd", finished / BACKBONE) for name in ("vae", "r-vae")]
    assert configs[0].weights_origin == configs[1].weights_origin
    assert configs[0].pretraining == read_record(finished / BACKBONE / CONFIG, Backbone)


def test_a_network_that_is_not_given_is_asked_for(store: Store) -> None:
    with pytest.raises(UsageError, match="upd-zoo pretrain vae-phantom-t2-ccd"):
        start(store, "vae-phantom-t2-ccd", None)


def test_a_folder_without_a_network_is_not_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="upd-zoo pretrain vae-phantom-t2-ccd"):
        start(store, "vae-phantom-t2-ccd", tmp_path)


def test_a_network_is_for_its_own_method(store: Store, finished: Path) -> None:
    with pytest.raises(UsageError, match="another network: vae"):
        start(store, "pii-phantom-t2-ccd", finished / BACKBONE)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"domain": "phantom-t1"}, "another domain: phantom-t1"),
        ({"protocol": Protocol.STUDY}, "another protocol: study"),
        ({"settings": {"centrings": 1}}, "another number of times that pixels are centred: 1"),
    ],
)
def test_a_network_that_was_made_otherwise_is_refused(
    store: Store, backbone: Path, change: dict[str, Any], complaint: str
) -> None:
    record = read_record(backbone / CONFIG, Backbone)
    write_record(backbone / CONFIG, record.model_copy(update=change))
    with_manifest(backbone, record.id)
    with pytest.raises(UsageError, match=complaint):
        start(store, "vae-phantom-t2-ccd", backbone)


def test_the_study_starts_from_whatever_pixels_there_were(store: Store, backbone: Path) -> None:
    record = read_record(backbone / CONFIG, Backbone)
    update = {"protocol": Protocol.STUDY, "settings": {"centrings": 1}}
    write_record(backbone / CONFIG, record.model_copy(update=update))
    with_manifest(backbone, record.id)
    assert start(store, "vae-phantom-t2-ccd", backbone, protocol=Protocol.STUDY).pretrain == "ccd"


def test_a_network_of_another_width_does_not_fit(store: Store, finished: Path) -> None:
    wider = {**base_of("vae-phantom-t2").settings, "width": 8}
    with pytest.raises(IntegrityError, match="do not fit vae"):
        start(store, "vae-phantom-t2-ccd", finished / BACKBONE, settings=wider)


def without_a_tensor(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["to_latent.weight"]


def with_another(tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(without_a_tensor, r"lacks 1 tensors of vae, the first to_latent\.weight"), (with_another, r"decoder\.weight")],
)
def test_tensors_are_exactly_those_of_the_network(
    store: Store, backbone: Path, change: Callable[[dict[str, torch.Tensor]], None], complaint: str
) -> None:
    tensors = safetensors.torch.load_file(backbone / WEIGHTS)
    change(tensors)
    safetensors.torch.save_file(tensors, backbone / WEIGHTS)
    with pytest.raises(IntegrityError, match="SHA-256"):
        start(store, "vae-phantom-t2-ccd", backbone)
    with_manifest(backbone, read_record(backbone / CONFIG, Backbone).id)
    with pytest.raises(IntegrityError, match=complaint):
        start(store, "vae-phantom-t2-ccd", backbone)


def test_weights_are_not_given_to_who_draws_them(store: Store, finished: Path) -> None:
    with pytest.raises(UsageError, match="vae-phantom-t2-ccd"):
        start(store, "vae-phantom-t2", finished / BACKBONE)


def test_a_drawn_start_where_a_method_has_photographs_is_said_in_the_labels(store: Store, tmp_path: Path) -> None:
    base = base_of("rd.test_resnet-phantom-t2")
    backbone = pretrain(
        base, store, tmp_path / "run", RunSettings(device="cpu", weights="random"), steps=1, batch_size=2
    )
    assert "CCD from a random backbone" in backbone.labels
    assert backbone.id == "ccd.test_resnet-phantom-t2"


def test_what_packaged_weights_leave_out_is_drawn() -> None:
    torch.manual_seed(0)
    encoder = encoder_of(base_of("rd.mobilenetv2_100-phantom-t2"))
    before = {name: tensor.clone() for name, tensor in encoder.tensors().items()}
    assert initialise([encoder], "packaged").source == "packaged"
    convolutions = {name: tensor for name, tensor in encoder.tensors().items() if tensor.dim() == 4}
    assert [name for name, each in convolutions.items() if torch.equal(each, before[name])] == ["conv_head.weight"]


def test_another_file_that_lacks_the_head_is_refused(tmp_path: Path) -> None:
    encoder = encoder_of(base_of("rd.mobilenetv2_100-phantom-t2"))
    kept = {name: tensor for name, tensor in encoder.tensors().items() if not name.startswith("conv_head.")}
    safetensors.torch.save_file(kept, tmp_path / "weights.safetensors")
    with pytest.raises(IntegrityError, match="lacks 1 tensors of mobilenetv2_100, the first conv_head"):
        initialise([encoder], str(tmp_path / "weights.safetensors"))
