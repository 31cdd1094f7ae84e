"""A hub that lacks what the Hugging Face Hub has: a mirror that lists nothing, imitated here, and olah itself."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from fake.artefact import write_artefact
from fake.hugging_face import point_library_at
from fake.installs import new_environment, uv
from fake.mirror import Mirror
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import ONNX
from upd_zoo.errors import NotFoundError, UpdZooError
from upd_zoo.hub import open_hub
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId

MODEL, SEED = ModelId.parse("vae-phantom-t1"), ModelId.parse("vae-phantom-t1@seed-1")
_OLAH = "olah==0.5.4"
_STARTS = 30.0
_SETTINGS = """
[basic]
host = "localhost"
port = {port}
repos-path = "{folder}/repos"
mirrors-path = ["{folder}/mirrors"]
[accessibility]
offline = true
"""


@pytest.fixture(scope="module")
def olah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of olah over git repositories, one of which holds a model and a seed of it."""
    folder = tmp_path_factory.mktemp("olah")
    programs = new_environment(folder / "venv")
    try:
        uv("pip", "install", "--quiet", "--python", programs / "python", _OLAH)
    except AssertionError as error:
        pytest.skip(f"{_OLAH} cannot be installed: {error}")
    _commit(folder / "mirrors" / "models" / "lab" / MODEL.name)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (folder / "olah.toml").write_text(_SETTINGS.format(port=port, folder=folder))
    command = [str(programs / "olah-cli"), "-c", "olah.toml", "--port", str(port), "--log-path", "logs"]
    with (folder / "said.txt").open("w") as said:
        server = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
    try:
        _wait_for(port, server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(_STARTS)


def _commit(folder: Path) -> None:
    """Make a git repository with two states of a model, the first of which is tagged."""
    people = {f"GIT_{who}_{what}": "lab@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=folder, env=os.environ | people, check=True, capture_output=True)  # noqa: S607 - wherever git lies

    for onnx, arguments in ((b"seed 1", ("tag", "seed-1")), (b"graph", ("status",))):
        write_artefact(folder, onnx)
        git("init", "--initial-branch", "main")
        git("add", "--all")
        git("commit", "--message", "Publish")
        git(*arguments)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + _STARTS
    while server.poll() is None and time.monotonic() < until:
        with closing(socket.socket()) as caller:
            if caller.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"olah does not listen, and ended with {server.poll()}")


@pytest.fixture(params=["imitated", pytest.param("olah", marks=pytest.mark.fresh)])
def mirror(
    request: pytest.FixtureRequest, httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Hub:
    """The organisation `lab` on a mirror that holds one model and a seed of it."""
    if request.param == "olah":
        point_library_at(monkeypatch, request.getfixturevalue("olah"))
    else:
        fake = Mirror()
        for onnx, revision in ((b"seed 1", "seed-1"), (b"graph", "main")):
            fake.put(write_artefact(tmp_path / "artefact", onnx), revision=revision)
        httpserver.expect_request(re.compile("/.*")).respond_with_handler(fake.answer)
        point_library_at(monkeypatch, httpserver.url_for("").rstrip("/"))
    return open_hub("hf://lab", tmp_path / "cache")


def test_a_mirror_that_tells_the_commit_apart_is_pulled_from(mirror: Hub) -> None:
    pulled, seed = mirror.fetch(MODEL), mirror.fetch(SEED)
    assert verify(pulled.folder) == pulled.manifest
    assert (pulled.folder / ONNX).read_bytes() == b"graph"
    assert (seed.folder / ONNX).read_bytes() == b"seed 1"
    assert re.fullmatch(r"[0-9a-f]{40}", pulled.revision)
    assert pulled.revision != seed.revision
    assert mirror.fetch(ModelId.parse(f"{MODEL.name}@{seed.revision}")).folder == seed.folder


def test_a_mirror_without_a_list_says_so(mirror: Hub) -> None:
    with pytest.raises(NotFoundError, match=r"does not list its models at http://.*upd-zoo pull MODEL --hub hf://lab"):
        mirror.catalogue()


def test_a_model_that_a_mirror_does_not_have_is_not_looked_for_in_a_list(mirror: Hub) -> None:
    with pytest.raises(NotFoundError, match=r"(?i)no model is called vae-phantom-t2.*--token.*upd-zoo prepare") as told:
        mirror.fetch(ModelId.parse("vae-phantom-t2"))
    assert "upd-zoo list" not in str(told.value)


def test_a_revision_that_a_mirror_does_not_have_is_told_from_a_model(mirror: Hub) -> None:
    with pytest.raises(NotFoundError, match=r"vae-phantom-t1 has no revision 'seed-2'.*Did you mean seed-1"):
        mirror.fetch(ModelId.parse(f"{MODEL.name}@seed-2"))


def test_a_mirror_takes_no_publications(mirror: Hub, tmp_path: Path) -> None:
    with pytest.raises(UpdZooError, match="hf://lab"):
        mirror.publish(write_artefact(tmp_path / "new", b"new"), MODEL)
    assert (mirror.fetch(MODEL).folder / ONNX).read_bytes() == b"graph"


def test_a_file_that_a_mirror_lost_is_named(mirror: Hub) -> None:
    with pytest.raises(NotFoundError, match=r"has no model\.pkl"):
        mirror.fetch(MODEL, ["model.pkl"])
