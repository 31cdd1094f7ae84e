"""Publishing: who will see it is said and kept to, nothing newer is lost, and a catalogue is mended by what stands."""

import json
from pathlib import Path

import pytest

from fake.artefact import with_manifest, write_artefact
from fake.hugging_face import FakeHub
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import CONFIG, MANIFEST, ONNX
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.hub import open_hub
from upd_zoo.hub.catalogue import CATALOGUE, Catalogue
from upd_zoo.hub.hub import DEFAULT_HUB, Hub
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
SEED = ModelId.parse("vae-phantom-t1@seed-1")
OTHER = ModelId.parse("rd-phantom-t1")
OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def made(folder: Path, created: str, onnx: bytes = b"graph", label: str = "synthetic phantoms") -> Path:
    """Write an artefact that was made at a certain time."""
    write_artefact(folder, onnx)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"labels": [label]}))
    with_manifest(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"created": created}))
    return folder


@pytest.fixture(params=["folder", "server"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, fake: FakeHub, cache: Path) -> Hub:
    """An empty hub of either kind."""
    fake.repositories.clear()
    return open_hub(str(tmp_path / "hub") if request.param == "folder" else "hf://lab", cache)


@pytest.mark.parametrize("location", ["", " ", "\n"])
def test_a_hub_without_a_name_is_a_usage_error(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPD_ZOO_HUB", "hf://lab")
    with pytest.raises(UsageError, match=r"(?i)the hub has no name.*hf://ORG or a folder"):
        open_hub(location)


def test_a_variable_that_is_empty_is_not_set_and_a_blank_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPD_ZOO_HUB", "")
    assert open_hub().location == DEFAULT_HUB
    monkeypatch.setenv("UPD_ZOO_HUB", " ")
    with pytest.raises(UsageError, match=r"(?i)the hub has no name"):
        open_hub()


# Older and newer


def test_an_older_artefact_takes_the_place_of_a_newer_one_only_by_force(hub: Hub, tmp_path: Path) -> None:
    new, old = made(tmp_path / "new", NEW, b"new"), made(tmp_path / "old", OLD, b"old")
    hub.publish(new, MODEL)
    with pytest.raises(UsageError, match=rf"was made at {NEW}, this artefact earlier, at {OLD}.*--force"):
        hub.publish(old, MODEL)
    assert (hub.fetch(MODEL).folder / ONNX).read_bytes() == b"new"
    assert hub.publish(old, MODEL, force=True).replaced == NEW
    assert (hub.fetch(MODEL).folder / ONNX).read_bytes() == b"old"


def test_what_stood_there_is_told(hub: Hub, tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", OLD, b"old"), made(tmp_path / "new", NEW, b"new")
    first, again, better = (hub.publish(artefact, MODEL) for artefact in (old, old, new))
    assert (first.replaced, first.unchanged) == (None, False)
    assert (again.replaced, again.unchanged) == (OLD, True)
    assert (better.replaced, better.unchanged) == (OLD, False)


def test_an_older_artefact_has_its_place_under_another_revision(hub: Hub, tmp_path: Path) -> None:
    hub.publish(made(tmp_path / "new", NEW, b"new"), MODEL)
    hub.publish(made(tmp_path / "old", OLD, b"old"), SEED)
    assert (hub.fetch(SEED).folder / ONNX).read_bytes() == b"old"


def test_the_same_artefact_heals_a_damaged_one(tmp_path: Path) -> None:
    hub, artefact = open_hub(str(tmp_path / "hub"), tmp_path / "cache"), made(tmp_path / "a", NEW)
    hub.publish(artefact, MODEL)
    (tmp_path / "hub" / MODEL.name / "main" / ONNX).write_bytes(b"GRAPH")
    assert hub.publish(artefact, MODEL).unchanged is False
    assert verify(hub.fetch(MODEL).folder)


# The catalogue of a folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A hub in a folder with two revisions of one model, and one of another."""
    hub = open_hub(str(tmp_path / "root"))
    hub.publish(made(tmp_path / "a", OLD, label="quick profile"), MODEL)
    hub.publish(made(tmp_path / "b", NEW, label="study protocol"), SEED)
    hub.publish(write_artefact(tmp_path / "c", name=OTHER.name), OTHER)
    return tmp_path / "root"


def test_every_revision_is_listed_with_its_own_labels_and_age(root: Path) -> None:
    _, first, second = open_hub(str(root)).catalogue()
    assert (first.revision, first.labels, first.created) == ("main", ("quick profile",), OLD)
    assert (second.revision, second.labels, second.created) == ("seed-1", ("study protocol",), NEW)


@pytest.mark.parametrize("text", [None, "", "half a catal", 'schema = "upd-zoo/catalogue/1"\n', "\0"])
def test_a_catalogue_that_is_lost_or_damaged_is_read_from_what_stands(root: Path, text: str | None) -> None:
    right = Catalogue.read(root / CATALOGUE)
    (root / CATALOGUE).unlink()
    if text is not None:
        (root / CATALOGUE).write_text(text)
    hub = open_hub(str(root), root / "cache")
    assert hub.catalogue() == right
    assert hub.fetch(SEED)
    with pytest.raises(NotFoundError, match=r"has no revision 'seed-9'.*Did you mean seed-1"):
        hub.fetch(ModelId.parse("vae-phantom-t1@seed-9"))


@pytest.mark.parametrize("text", [None, "half a catal"])
def test_publishing_mends_a_catalogue(root: Path, tmp_path: Path, text: str | None) -> None:
    right = Catalogue.read(root / CATALOGUE)
    (root / CATALOGUE).unlink()
    if text is not None:
        (root / CATALOGUE).write_text(text)
    open_hub(str(root)).publish(made(tmp_path / "again", NEW, label="study protocol"), SEED)
    assert Catalogue.read(root / CATALOGUE) == right


def test_publishing_lists_what_was_carried_in_and_forgets_what_was_taken_away(root: Path, tmp_path: Path) -> None:
    (root / OTHER.name / "main").rename(root / OTHER.name / "seed-2")
    for stray in ("stray", "vae-phantom-t1/.main.tmp.1", "vae-phantom-t1/seed-3"):
        (root / stray / "main").mkdir(parents=True)
    (root / "vae-phantom-t1" / "seed-3" / MANIFEST).write_text("{}")
    open_hub(str(root)).publish(made(tmp_path / "again", NEW), SEED)
    listed = [(row.id, row.revision) for row in Catalogue.read(root / CATALOGUE)]
    assert listed == [(OTHER.name, "seed-2"), (MODEL.name, "main"), (MODEL.name, "seed-1")]


# Who sees it


def test_a_repository_is_private_unless_everybody_shall_see_it(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    for public in (False, True):
        fake.repositories.clear()
        fake.public.clear()
        remote.publish(artefact, MODEL, public=public)
        assert (MODEL.name in fake.public) is public


@pytest.mark.parametrize("public", [True, False])
def test_what_others_would_see_than_who_shall_is_not_published(
    remote: Hub, fake: FakeHub, artefact: Path, tmp_path: Path, public: bool
) -> None:
    fake.public |= set() if public else {MODEL.name}
    before = dict(fake.repositories[MODEL.name]["main"])
    with pytest.raises(UsageError, match="--public"):
        remote.publish(made(tmp_path / "new", NEW), MODEL, public=public)
    assert fake.repositories[MODEL.name]["main"] == before


def test_it_is_said_who_sees_it(remote: Hub, tmp_path: Path) -> None:
    assert remote.audience(public=True) == "everybody"
    assert "members of lab" in remote.audience(public=False)
    assert str(tmp_path) in open_hub(str(tmp_path)).audience(public=False)
