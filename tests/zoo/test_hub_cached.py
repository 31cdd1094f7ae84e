"""What the cache holds is told, and what a pull wrote can be removed; nothing else is touched."""

import os
import shutil
import time
from pathlib import Path

import pytest

from fake.artefact import write_artefact
from fake.people import as_nobody
from upd_zoo.artefact.records import MANIFEST, ONNX, WEIGHTS
from upd_zoo.errors import NotFoundError, UpdZooError, UsageError
from upd_zoo.hub import open_hub
from upd_zoo.hub.cached import cached, chosen, older_than, remove
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
SEED = ModelId.parse("vae-phantom-t1@seed-1")


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path, artefact: Path) -> str:
    """A hub with two versions of one model, and another model."""
    opened = open_hub(str(tmp_path / "hub"))
    opened.publish(artefact, MODEL)
    opened.publish(write_artefact(tmp_path / "seed", onnx=b"seed 1"), SEED)
    opened.publish(write_artefact(tmp_path / "other", name="rd-phantom-t1"), ModelId.parse("rd-phantom-t1"))
    return opened.location


@pytest.fixture
def full(hub: str, cache: Path) -> Path:
    """A cache of everything on that hub."""
    for model in (MODEL, SEED, ModelId.parse("rd-phantom-stroke")):
        open_hub(hub, cache).fetch(model)
    return cache


def test_a_cache_that_is_not_there_holds_nothing(cache: Path) -> None:
    assert cached(cache) == []


def test_every_version_is_told_with_its_names_and_size(full: Path) -> None:
    found = cached(full)
    assert {(each.model, each.revisions) for each in found} == {
        ("rd-phantom-t1", ("main",)),
        ("vae-phantom-t1", ("main",)),
        ("vae-phantom-t1", ("seed-1",)),
    }
    for each in found:
        assert each.bytes == sum(path.stat().st_size for path in each.folder.rglob("*") if path.is_file())
        assert 0 <= each.age < 1


def test_one_revision_goes_and_the_others_stay(full: Path, hub: str) -> None:
    (seed,) = chosen(cached(full), "vae-phantom-stroke@seed-1")
    remove(seed)
    assert {(each.model, each.revisions) for each in cached(full)} == {
        ("rd-phantom-t1", ("main",)),
        ("vae-phantom-t1", ("main",)),
    }
    assert not seed.folder.exists()
    assert (open_hub(hub, full).fetch(SEED, [ONNX]).folder / ONNX).read_bytes() == b"seed 1"


def test_a_model_without_a_revision_means_all_of_its_versions(full: Path) -> None:
    for each in chosen(cached(full), "vae-phantom-t1"):
        remove(each)
    assert [path.name for path in full.iterdir()] == ["rd-phantom-t1"], "no empty folder is left"


def test_a_version_is_also_chosen_by_the_name_of_its_folder(full: Path) -> None:
    version = cached(full)[0]
    assert chosen(cached(full), f"{version.model}@{version.folder.name}") == [version]


def test_what_is_not_in_the_cache_is_not_found(full: Path) -> None:
    with pytest.raises(NotFoundError, match=r"rd-phantom-t1@main.*upd-zoo cache ls"):
        chosen(cached(full), "rd-idrid")
    with pytest.raises(NotFoundError):
        chosen(cached(full), "vae-phantom-t1@seed-2")


def test_what_was_fetched_long_ago_is_told_from_the_rest(full: Path) -> None:
    old, *_ = cached(full)
    ten_days_ago = time.time() - 10 * 86_400
    for path in old.folder.rglob("*"):
        os.utime(path, (ten_days_ago, ten_days_ago))
    assert [each.folder for each in older_than(cached(full), 9)] == [old.folder]
    assert older_than(cached(full), 11) == []
    assert len(older_than(cached(full), 0)) == 3
    with pytest.raises(UsageError):
        older_than(cached(full), -1)


def test_what_no_pull_wrote_is_neither_told_nor_touched(full: Path, tmp_path: Path) -> None:
    theirs = [
        full / "notes.txt",
        full / "vae-phantom-t1" / "notes.txt",
        full / "vae-phantom-t1" / ("0" * 16) / "thesis.tex",
        full / "models--bert" / "blobs" / "0",
        *(each.folder / "onnx" / "mine.txt" for each in cached(full)),
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    impostor = full / "rd-phantom-t1" / ("1" * 16)
    shutil.copytree(cached(full)[0].folder, impostor)
    copied = snapshot(impostor)
    assert len(cached(full)) == 3
    for each in cached(full):
        remove(each)
    assert cached(full) == []
    assert all(path.read_text() == "precious" for path in theirs)
    assert snapshot(impostor) == copied


def test_a_link_does_not_lead_out_of_the_cache(full: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    version = cached(full)[0]
    shutil.move(version.folder / "onnx", outside)
    (version.folder / "onnx").symlink_to(outside, target_is_directory=True)
    before = snapshot(outside)
    remove(version)
    assert snapshot(outside) == before
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "vae-phantom-t1").symlink_to(full / "vae-phantom-t1", target_is_directory=True)
    assert cached(linked) == []


def test_what_is_half_written_goes_too(full: Path) -> None:
    version = cached(full)[0]
    (version.folder / ".1.tmp.x").write_bytes(b"half")
    (version.folder / WEIGHTS).unlink()
    remove(cached(full)[0])
    assert not version.folder.exists()


def test_a_cache_of_others_is_refused_kindly(shared_folder: Path, artefact: Path) -> None:
    hub, cache = str(shared_folder / "hub"), shared_folder / "cache"
    open_hub(hub).publish(artefact, MODEL)
    open_hub(hub, cache).fetch(MODEL)
    (version,) = cached(cache)
    everything = [path for path in (cache, *cache.rglob("*")) if path.suffix != ".lock"]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        assert cached(cache) == [version]
        with pytest.raises(UpdZooError, match=r"not yours to write.*--cache-dir"):
            remove(version)
    for path in everything:
        path.chmod(0o755)
    assert (version.folder / MANIFEST).is_file()
    assert (version.folder / ONNX).is_file()
