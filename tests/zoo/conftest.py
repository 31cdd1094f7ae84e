"""Hubs that several tests ask: a Hugging Face Hub that is a local server, and who is told to use it."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from pytest_httpserver import HTTPServer

from fake.artefact import write_artefact
from fake.hugging_face import FakeHub, point_library_at, standing
from upd_zoo.hub import open_hub
from upd_zoo.hub.hub import Hub


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_artefact(tmp_path / "artefact")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fake(httpserver: HTTPServer, artefact: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    point_library_at(monkeypatch, httpserver.url_for("").rstrip("/"))
    fake = FakeHub()
    fake.put(artefact)
    httpserver.expect_request(re.compile("/.*")).respond_with_handler(fake.answer)
    return fake


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub without models that answers many at a time, and reads a request no further than the hub does."""
    empty = FakeHub()
    with standing(empty) as address:
        point_library_at(monkeypatch, address)
        yield empty


@pytest.fixture
def remote(fake: FakeHub, cache: Path) -> Hub:
    return open_hub("hf://lab", cache)


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Function after which nobody listens at the address of the Hub."""

    def refuse(transport: httpx2.HTTPTransport, request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("Connection refused", request=request)

    return lambda: monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", refuse)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that everybody may enter, as those of the test run are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
