"""The cache: what is there and whole is used by everybody, also where the hub is gone or nothing may be written."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from fake.artefact import write_artefact
from fake.hugging_face import FakeHub, commit_of
from fake.people import as_nobody
from upd_zoo.artefact.folder import ASKED, expected, verify
from upd_zoo.artefact.records import CONFIG, MANIFEST, ONNX, WEIGHTS
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError
from upd_zoo.hub import open_hub
from upd_zoo.hub.hub import Hub
from upd_zoo.hub.receiving import PART
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
SEED = ModelId.parse("vae-phantom-t1@seed-1")


@pytest.fixture
def hub_folder(tmp_path: Path, artefact: Path) -> Path:
    open_hub(str(tmp_path / "hub")).publish(artefact, MODEL)
    return tmp_path / "hub"


@pytest.fixture(params=["folder", "server"])
def location(request: pytest.FixtureRequest, hub_folder: Path, fake: FakeHub) -> str:
    """Where the model is: each promise of the cache holds for both kinds of hub."""
    return str(hub_folder) if request.param == "folder" else "hf://lab"


@pytest.fixture
def gone(location: str, hub_folder: Path, nobody_listens: Callable[[], None]) -> Callable[[], None]:
    """Function after which the hub is out of reach."""
    return nobody_listens if location == "hf://lab" else lambda: shutil.rmtree(hub_folder)


# A hub that is gone


@pytest.mark.parametrize("offline", [True, False])
def test_what_is_cached_and_whole_is_used_where_the_hub_is_gone(
    location: str, cache: Path, gone: Callable[[], None], offline: bool
) -> None:
    first = open_hub(location, cache).fetch(MODEL, [ONNX])
    gone()
    again = open_hub(location, cache, offline=offline).fetch(MODEL, [ONNX])
    assert (again.folder, again.revision, again.manifest) == (first.folder, first.revision, first.manifest)
    assert bool(again.unasked) is not offline, "who did not ask to be offline is told"


def test_what_is_not_cached_is_an_error_where_the_hub_is_gone(
    location: str, cache: Path, gone: Callable[[], None]
) -> None:
    open_hub(location, cache).fetch(MODEL, [ONNX])
    gone()
    offline = open_hub(location, cache, offline=True)
    for model, names in ((MODEL, [WEIGHTS]), (SEED, [ONNX])):
        with pytest.raises((OfflineError, NotFoundError)):
            offline.fetch(model, names)


def test_a_damaged_file_is_not_used_where_the_hub_is_gone(location: str, cache: Path, gone: Callable[[], None]) -> None:
    path = open_hub(location, cache).fetch(MODEL, [ONNX]).folder / ONNX
    gone()
    path.write_bytes(b"GRAPH")
    with pytest.raises(IntegrityError, match="was removed"):
        open_hub(location, cache, offline=True).fetch(MODEL, [ONNX])
    assert not path.exists()


def test_a_revision_of_one_hub_is_not_that_of_another(hub_folder: Path, cache: Path, tmp_path: Path) -> None:
    open_hub(str(hub_folder), cache).fetch(MODEL)
    for other in (str(tmp_path / "elsewhere"), "hf://lab"):
        with pytest.raises((OfflineError, NotFoundError)):
            open_hub(other, cache, offline=True).fetch(MODEL)


def test_a_commit_is_known_by_its_own_name_too_and_asked_for_once(remote: Hub, fake: FakeHub) -> None:
    folder = remote.fetch(MODEL).folder
    commit = commit_of(fake.repositories["vae-phantom-t1"]["main"])
    fake.requests.clear()
    assert remote.fetch(ModelId.parse(f"vae-phantom-t1@{commit}")).folder == folder
    assert fake.requests == [], "a commit is what it is for ever"


def test_files_that_two_hubs_share_are_fetched_once(hub_folder: Path, remote: Hub, fake: FakeHub, cache: Path) -> None:
    folder = open_hub(str(hub_folder), cache).fetch(MODEL).folder
    assert remote.fetch(MODEL).folder == folder
    assert len(fake.requests) == 1


# Whose it is


def everything_below(folder: Path) -> Iterator[Path]:
    return (path for path in (folder, *folder.rglob("*")) if path.name != ".lock")


def test_a_cache_that_cannot_be_written_is_read(shared_folder: Path, artefact: Path) -> None:
    hub, cache = str(shared_folder / "hub"), shared_folder / "cache"
    open_hub(hub).publish(artefact, MODEL)
    folder = open_hub(hub, cache).fetch(MODEL, [ONNX]).folder
    for path in everything_below(cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        assert open_hub(hub, cache).fetch(MODEL, [ONNX]).folder == folder
        assert open_hub(hub, cache, offline=True).fetch(MODEL, [ONNX]).folder == folder
        with pytest.raises(UpdZooError, match=r"cannot be written.*--cache-dir"):
            open_hub(hub, cache).fetch(MODEL, [WEIGHTS])
    for path in everything_below(cache):
        path.chmod(0o755)


def test_a_revision_that_cannot_be_noted_in_a_cache_of_others_is_used_nevertheless(
    shared_folder: Path, artefact: Path
) -> None:
    hub, cache = str(shared_folder / "hub"), shared_folder / "cache"
    opened = open_hub(hub, cache)
    for model in (MODEL, SEED):
        opened.publish(artefact, model)
    folder = opened.fetch(MODEL).folder
    for path in everything_below(cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        assert open_hub(hub, cache).fetch(SEED).folder == folder
    for path in everything_below(cache):
        path.chmod(0o755)


@pytest.mark.parametrize("name", [MANIFEST, ONNX])
def test_a_hub_that_may_not_be_read_is_not_taken_for_a_cache(shared_folder: Path, artefact: Path, name: str) -> None:
    hub, cache = shared_folder / "hub", shared_folder / "cache"
    open_hub(str(hub)).publish(artefact, MODEL)
    cache.mkdir()
    cache.chmod(0o777)
    (hub / MODEL.name / "main" / name).chmod(0)
    with as_nobody(), pytest.raises(UpdZooError, match=f"(?i){name} of .* on the hub .* may not be read"):
        open_hub(str(hub), cache).fetch(MODEL)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_fetched_files_may_be_read_by_whom_the_umask_says(location: str, cache: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        open_hub(location, cache).fetch(MODEL)
    finally:
        os.umask(before)
    for path in cache.rglob("*"):
        granted = 0o777 if path.is_dir() else 0o666
        assert stat.S_IMODE(path.stat().st_mode) == granted & ~umask, path


# What is left behind


_KILLED = """
import os, signal, sys
from pathlib import Path
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
def die(progress):
    if progress.what.endswith("model.onnx") and progress.done:
        os.kill(os.getpid(), signal.SIGKILL)
open_hub(sys.argv[1], Path(sys.argv[2])).fetch(ModelId.parse("vae-phantom-t1"), on_progress=die)
"""


def test_what_a_killed_pull_left_half_written_is_gone_on_with_by_the_next(hub_folder: Path, cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, hub_folder, cache], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert list(cache.rglob(PART))
    folder = open_hub(str(hub_folder), cache).fetch(MODEL).folder
    assert not list(cache.rglob(PART))
    assert verify(folder)


def test_a_pull_keeps_a_record_of_all_that_was_ever_asked_for(location: str, cache: Path) -> None:
    hub = open_hub(location, cache)
    folder = hub.fetch(MODEL, [ONNX]).folder
    assert expected(folder, verify(folder)) == [CONFIG, ONNX]
    hub.fetch(MODEL, [WEIGHTS])
    assert expected(folder, verify(folder)) == [CONFIG, WEIGHTS, ONNX]


def test_a_cache_of_before_there_was_such_a_record_gets_one(location: str, cache: Path) -> None:
    hub = open_hub(location, cache)
    folder = hub.fetch(MODEL, [ONNX]).folder
    (folder / ASKED).unlink()
    assert expected(hub.fetch(MODEL, [ONNX]).folder, verify(folder, [ONNX])) == [CONFIG, ONNX]


def test_a_file_that_is_fetched_again_is_there_until_the_new_one_is(
    location: str, cache: Path, gone: Callable[[], None]
) -> None:
    hub = open_hub(location, cache)
    path = hub.fetch(MODEL, [ONNX]).folder / ONNX
    gone()
    with pytest.raises((OfflineError, NotFoundError)):
        hub.fetch(MODEL, [ONNX], force=True)
    assert path.read_bytes() == b"graph"


def test_a_model_published_again_lies_beside_the_old_one(hub_folder: Path, cache: Path, tmp_path: Path) -> None:
    hub = open_hub(str(hub_folder), cache)
    before = hub.fetch(MODEL)
    hub.publish(write_artefact(tmp_path / "better", onnx=b"better"), MODEL)
    assert hub.fetch(MODEL).folder.parent == before.folder.parent
    assert (before.folder / ONNX).read_bytes() == b"graph"


# Many at once


_PULL = """
import sys
from pathlib import Path
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
print(open_hub(sys.argv[1], Path(sys.argv[2])).fetch(ModelId.parse("vae-phantom-t1")).folder)
"""


def test_ten_pulls_at_once_end_alike(location: str, cache: Path, httpserver: HTTPServer) -> None:
    environment = {**os.environ, "HF_ENDPOINT": httpserver.url_for("").rstrip("/")}
    command = [sys.executable, "-c", _PULL, location, str(cache)]
    pulls = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(10)]
    printed = {pull.communicate(timeout=120)[0].strip() for pull in pulls}
    assert [pull.returncode for pull in pulls] == [0] * 10
    (folder,) = printed
    assert verify(Path(folder))
