"""A hub in a folder: what is pulled has the hashes of its manifest, or nothing is pulled."""

import shutil
import threading
from pathlib import Path

import pytest

from fake.artefact import list_anything, with_manifest, write_artefact
from upd_zoo.artefact.folder import inventory, verify
from upd_zoo.artefact.records import CARD, CONFIG, LEGAL, MANIFEST, ONNX, TORCHSCRIPT, WEIGHTS
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.hub import open_hub
from upd_zoo.hub.folder import FolderHub
from upd_zoo.hub.hub import Hub
from upd_zoo.hub.huggingface import HuggingFaceHub
from upd_zoo.hub.packaged import PackagedHub
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress
from upd_zoo.vocabulary import Pretrain, Protocol

MODEL = ModelId.parse("vae-phantom-t1")
SEED = ModelId.parse("vae-phantom-t1@seed-1")
ALIAS = ModelId.parse("vae-phantom-stroke")


def holds(folder: Path, content: bytes) -> bool:
    """Return whether any file below a folder has this content."""
    return any(path.is_file() and path.read_bytes() == content for path in folder.rglob("*"))


# Which hub


@pytest.mark.parametrize(
    ("location", "variable", "kind", "expected"),
    [
        (None, None, PackagedHub, "hf://upd-zoo"),
        (None, "hf://lab", HuggingFaceHub, "hf://lab"),
        ("hf://lab/", "elsewhere", HuggingFaceHub, "hf://lab"),
        ("some/folder", "hf://lab", FolderHub, "some/folder"),
    ],
)
def test_the_location_comes_from_the_argument_then_the_environment(
    monkeypatch: pytest.MonkeyPatch, location: str | None, variable: str | None, kind: type[Hub], expected: str
) -> None:
    monkeypatch.delenv("UPD_ZOO_HUB", raising=False)
    if variable is not None:
        monkeypatch.setenv("UPD_ZOO_HUB", variable)
    hub = open_hub(location)
    assert isinstance(hub, kind)
    assert hub.location == expected


@pytest.mark.parametrize("location", ["http://example.org", "hf://", "hf://a/b", "hf://../x", "hf:/me", "file:/me"])
def test_another_location_is_a_usage_error(location: str) -> None:
    with pytest.raises(UsageError, match="hf://ORG or a folder"):
        open_hub(location)


# A folder


@pytest.fixture
def folder_hub(tmp_path: Path, artefact: Path) -> Hub:
    hub = open_hub(str(tmp_path / "hub"), tmp_path / "cache")
    hub.publish(artefact, MODEL)
    return hub


@pytest.fixture
def on_hub(folder_hub: Hub) -> Path:
    return Path(folder_hub.location) / "vae-phantom-t1" / "main"


def test_what_was_published_is_listed_with_the_facts_of_its_records(folder_hub: Hub, artefact: Path) -> None:
    folder_hub.publish(artefact, SEED)
    row, seed = folder_hub.catalogue()
    assert (row.revision, seed.revision) == ("main", "seed-1")
    assert (row.id, row.method, row.domain, row.title) == ("vae-phantom-t1", "vae", "phantom-t1", "VAE")
    assert (row.pretrain, row.protocol, row.profile) == (Pretrain.NONE, Protocol.STUDY, "smoke")
    assert row.labels == ("synthetic phantoms",)
    assert row.bytes == {"safetensors": 8, "onnx": 5, "torchscript": 0}


def test_a_pull_copies_every_file_of_the_manifest(folder_hub: Hub, artefact: Path, cache: Path) -> None:
    (artefact / "stray.txt").write_text("not in the manifest")
    folder_hub.publish(artefact, MODEL)
    pulled = folder_hub.fetch(ALIAS)
    assert pulled.folder.is_relative_to(cache)
    assert pulled.revision == "main"
    assert verify(pulled.folder) == pulled.manifest
    others = {*LEGAL, "results/phantom-stroke.json"}
    assert set(inventory(pulled.folder)) == {CARD, CONFIG, WEIGHTS, ONNX, TORCHSCRIPT, *others}


def test_a_partial_pull_is_completed_later_and_copies_nothing_twice(folder_hub: Hub) -> None:
    copied: list[Progress] = []
    first = folder_hub.fetch(MODEL, [ONNX], copied.append)
    assert set(inventory(first.folder)) == {CONFIG, ONNX}
    assert Progress(ONNX, 5, 5) in copied
    copied.clear()
    second = folder_hub.fetch(MODEL, [ONNX, WEIGHTS, MANIFEST], copied.append)
    assert second.folder == first.folder
    assert copied == [Progress(WEIGHTS, 0, 8), Progress(WEIGHTS, 8, 8)]


def test_force_copies_again(folder_hub: Hub) -> None:
    folder_hub.fetch(MODEL)
    copied: list[str] = []
    folder_hub.fetch(MODEL, [ONNX], lambda progress: copied.append(progress.what), force=True)
    assert copied == 2 * [MANIFEST, CONFIG, ONNX], "told in the beginning, and when it is there"


@pytest.mark.parametrize("name", [ONNX, CONFIG, MANIFEST])
def test_a_corrupted_cache_is_healed(folder_hub: Hub, name: str) -> None:
    folder = folder_hub.fetch(MODEL).folder
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(b"#" * len(content))
    assert folder_hub.fetch(MODEL).folder == folder
    assert (folder / name).read_bytes() == content


@pytest.mark.parametrize("wrong", [b"GRAPH", b"gra", b"graph and more"])
def test_wrong_bytes_on_the_hub_are_refused_and_not_kept(
    folder_hub: Hub, on_hub: Path, cache: Path, wrong: bytes
) -> None:
    folder = folder_hub.fetch(MODEL).folder
    (on_hub / ONNX).write_bytes(wrong)
    (folder / ONNX).write_bytes(wrong)
    with pytest.raises(IntegrityError, match="SHA-256"):
        folder_hub.fetch(MODEL)
    assert not holds(cache, wrong)
    assert not (folder / ONNX).exists()


def test_a_file_that_the_hub_lost_is_not_found(folder_hub: Hub, on_hub: Path) -> None:
    (on_hub / ONNX).unlink()
    with pytest.raises(NotFoundError, match=ONNX):
        folder_hub.fetch(MODEL)


@pytest.mark.parametrize("path", ["../../secret", "/etc/hostname", "a/../../b", "C:/secret", "a\\b"])
def test_a_manifest_with_a_path_out_of_the_artefact_is_refused(folder_hub: Hub, on_hub: Path, path: str) -> None:
    list_anything(on_hub, path)
    with pytest.raises(IntegrityError, match="plain relative path"):
        folder_hub.fetch(MODEL, [ONNX])


@pytest.mark.parametrize("name", [ONNX, MANIFEST])
def test_a_link_out_of_the_hub_is_refused(
    folder_hub: Hub, on_hub: Path, artefact: Path, cache: Path, name: str
) -> None:
    (on_hub / name).unlink()
    (on_hub / name).symlink_to(artefact / name)
    with pytest.raises(IntegrityError, match="leads out of the hub"):
        folder_hub.fetch(MODEL)
    assert not holds(cache, (artefact / name).read_bytes())


def test_a_linked_folder_out_of_the_hub_is_refused(folder_hub: Hub, on_hub: Path, artefact: Path) -> None:
    shutil.rmtree(on_hub)
    on_hub.symlink_to(artefact)
    with pytest.raises(IntegrityError, match="leads out of the hub"):
        folder_hub.fetch(MODEL)


def test_a_manifest_of_another_model_is_refused(folder_hub: Hub, on_hub: Path) -> None:
    shutil.rmtree(on_hub)
    write_artefact(on_hub, name="rd-phantom-t1")
    with pytest.raises(IntegrityError, match="rd-phantom-t1"):
        folder_hub.fetch(MODEL)


def test_a_manifest_without_a_configuration_is_refused(folder_hub: Hub, on_hub: Path) -> None:
    (on_hub / CONFIG).unlink()
    with_manifest(on_hub)
    with pytest.raises(IntegrityError, match=r"lists no config\.json"):
        folder_hub.fetch(MODEL, [ONNX])


def test_an_unknown_model_revision_file_or_hub_is_not_found(folder_hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="Did you mean vae-phantom-t1"):
        folder_hub.fetch(ModelId.parse("vae-phantom-t2"))
    with pytest.raises(NotFoundError, match="has no revision 'seed-1'"):
        folder_hub.fetch(SEED)
    with pytest.raises(NotFoundError, match=r"has no model\.pkl.*onnx/model\.onnx"):
        folder_hub.fetch(MODEL, ["model.pkl"])
    with pytest.raises(NotFoundError, match="is not there"):
        open_hub(str(tmp_path / "nowhere")).fetch(MODEL)


def test_a_row_without_its_folder_is_not_found(folder_hub: Hub, on_hub: Path) -> None:
    shutil.rmtree(on_hub)
    with pytest.raises(NotFoundError, match="in the catalogue"):
        folder_hub.fetch(MODEL)


def test_a_name_put_together_by_hand_cannot_leave_the_hub(folder_hub: Hub) -> None:
    with pytest.raises(UsageError):
        folder_hub.fetch(ModelId("../../vae", None, "phantom-t1"))
    with pytest.raises(UsageError):
        folder_hub.fetch(ModelId("vae", None, "phantom-t1", revision=".."))


def test_publishing_again_replaces_and_leaves_the_pulled_one_alone(
    folder_hub: Hub, artefact: Path, on_hub: Path
) -> None:
    before = folder_hub.fetch(MODEL)
    (artefact / TORCHSCRIPT).unlink()
    write_artefact(artefact, onnx=b"better")
    (artefact / CARD).unlink()
    with_manifest(artefact)
    folder_hub.publish(artefact, MODEL)
    after = folder_hub.fetch(MODEL)
    assert (before.folder / ONNX).read_bytes() == b"graph"
    assert (after.folder / ONNX).read_bytes() == b"better"
    assert not (on_hub / CARD).exists()


def test_what_is_not_whole_is_not_published(folder_hub: Hub, artefact: Path, on_hub: Path) -> None:
    with pytest.raises(UsageError, match="artefact of 'rd-phantom-t1'"):
        folder_hub.publish(artefact, ModelId.parse("rd-phantom-t1"))
    (artefact / ONNX).write_bytes(b"GRAPH")
    with pytest.raises(IntegrityError, match=ONNX):
        folder_hub.publish(artefact, SEED)
    (artefact / MANIFEST).unlink()
    with pytest.raises(NotFoundError, match=MANIFEST):
        folder_hub.publish(artefact, MODEL)
    assert (on_hub / ONNX).read_bytes() == b"graph"
    assert [row.revision for row in folder_hub.catalogue()] == ["main"]


def test_two_pulls_at_once_copy_once(folder_hub: Hub, artefact: Path) -> None:
    started, release = threading.Event(), threading.Event()
    copied: list[str] = []

    def first_progress(_: Progress) -> None:
        started.set()
        assert release.wait(10)

    first = threading.Thread(target=folder_hub.fetch, args=(MODEL, None, first_progress))
    second = threading.Thread(
        target=folder_hub.fetch, args=(MODEL, None, lambda progress: copied.append(progress.what))
    )
    first.start()
    assert started.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive(), "the second pull did not wait for the first"
    release.set()
    first.join(10)
    second.join(10)
    assert copied == []
    assert verify(folder_hub.fetch(MODEL).folder)
