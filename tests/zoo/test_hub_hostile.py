"""A hub that lies, stalls or rambles: nothing of it becomes a path, and every answer has an end."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from werkzeug import Request, Response

from fake.artefact import list_anything, with_manifest, write_artefact
from fake.hugging_face import FakeHub, commit_of
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import CONFIG, MANIFEST, ONNX, WEIGHTS
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError, UsageError
from upd_zoo.hub import open_hub, transfer
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
NAME = "vae-phantom-t1"


def everything_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user beside the cache, with a name that a server may guess."""
    (tmp_path / "victim").write_text("precious")
    return tmp_path / "victim"


# What a server calls things


@pytest.mark.parametrize("tag", ["../../../../victim", "../../victim", "../victim", "/victim", "..", "", "a" * 5000])
def test_what_a_server_says_of_a_file_is_no_path(
    remote: Hub, fake: FakeHub, victim: Path, cache: Path, tag: str
) -> None:
    before = everything_in(victim.parent)
    fake.fields = {"ETag": f'"{tag}"', "X-Linked-ETag": f'"{tag}"', "Content-Disposition": f'filename="{tag}"'}
    pulled = remote.fetch(MODEL)
    assert verify(pulled.folder) == pulled.manifest
    assert victim.read_text() == "precious"
    assert all(path.is_relative_to(cache) for path in everything_in(victim.parent) - before)


def test_the_same_tag_for_every_file_mixes_none_up(remote: Hub, fake: FakeHub) -> None:
    fake.fields = {"ETag": '"' + "0" * 40 + '"'}
    folder = remote.fetch(MODEL).folder
    assert [(folder / name).read_bytes() for name in (ONNX, WEIGHTS)] == [b"graph", b"weights!"]


@pytest.mark.parametrize("commit", ["../../../../victim", "main", "", "0" * 39, "0" * 64, "G" * 40])
def test_what_is_no_commit_is_refused(remote: Hub, fake: FakeHub, cache: Path, commit: str) -> None:
    fake.fields = {"X-Repo-Commit": commit}
    with pytest.raises(IntegrityError, match="does not tell the commit"):
        remote.fetch(MODEL)
    assert not everything_in(cache)


@pytest.mark.parametrize("path", ["../../../escape", "a\0b", "a\x1b[2J", ".asked.json", f"{CONFIG}/below"])
def test_a_manifest_that_names_what_cannot_be_is_refused(
    remote: Hub, fake: FakeHub, artefact: Path, cache: Path, path: str
) -> None:
    list_anything(artefact, path)
    fake.put(artefact)
    with pytest.raises(IntegrityError, match=r"is not a manifest record.*as hf://lab delivers it"):
        remote.fetch(MODEL)
    assert not everything_in(cache)


def test_a_manifest_of_a_million_names_is_not_read_to_its_end(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    document = json.loads((artefact / MANIFEST).read_text())
    document["files"] |= {f"{number:x}": document["files"][CONFIG] for number in range(20_000)}
    fake.repositories[NAME]["main"][MANIFEST] = json.dumps(document).encode()
    with pytest.raises(IntegrityError, match="too long"):
        remote.fetch(MODEL)


def test_a_configuration_that_nobody_would_read_is_not_fetched(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    document = json.loads((artefact / MANIFEST).read_text())
    document["files"][CONFIG]["bytes"] = 300_000_000
    (artefact / MANIFEST).write_text(json.dumps(document))
    fake.put(artefact)
    with pytest.raises(IntegrityError, match=r"config\.json.*too long for a record"):
        remote.fetch(MODEL)
    assert not [request for request in fake.requests if request.endswith(CONFIG)]


def test_a_file_longer_than_its_manifest_says_is_not_received_to_its_end(
    remote: Hub, fake: FakeHub, cache: Path
) -> None:
    sent: list[int] = []

    def endless(request: Request) -> Response:
        if not request.path.endswith(ONNX):
            return fake._file(request, NAME, request.path.split("/")[4], request.path.split("/", 5)[5])

        def blocks() -> Iterator[bytes]:
            for number in range(10_000):
                sent.append(number)
                yield b"x" * 65536

        return Response(blocks(), headers={"X-Repo-Commit": "0" * 40})

    fake.instead = endless
    with pytest.raises(IntegrityError, match="SHA-256"):
        remote.fetch(MODEL, [ONNX])
    assert len(sent) < 5_000
    assert not list(cache.rglob("*.onnx"))


def test_a_configuration_of_another_model_is_refused(
    remote: Hub, fake: FakeHub, artefact: Path, tmp_path: Path
) -> None:
    other = write_artefact(tmp_path / "other", name="rd-phantom-t1")
    (artefact / CONFIG).write_bytes((other / CONFIG).read_bytes())
    fake.put(with_manifest(artefact))
    with pytest.raises(IntegrityError, match="is that of 'rd-phantom-t1'"):
        remote.fetch(MODEL)


def test_a_model_that_no_disk_holds_is_refused_before_it_is_fetched(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    document = json.loads((artefact / MANIFEST).read_text())
    document["files"][ONNX]["bytes"] = 10**18
    (artefact / MANIFEST).write_text(json.dumps(document))
    fake.put(artefact)
    with pytest.raises(UpdZooError, match=r"(?i)needs 1000000000\d* MB.*--cache-dir"):
        remote.fetch(MODEL)


def test_a_list_in_which_every_entry_is_nonsense_lists_nothing(remote: Hub, fake: FakeHub) -> None:
    fake.repositories = {"../../x": {}, "vae-phantom-t1@seed": {}, "\x1b[2J": {}}
    assert len(remote.catalogue()) == 0


# Answers that have no end, or are none


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.4)
    monkeypatch.setattr(transfer, "_ANSWER", 1.0)
    monkeypatch.setattr(transfer, "_WHOLE_CALL", 1.0)


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(OfflineError):
        call()
    return time.monotonic() - began


@pytest.mark.parametrize("ask", ["fetch", "catalogue", "publish"])
def test_a_hub_that_never_answers_is_out_of_reach(
    remote: Hub, artefact: Path, short_patience: None, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    calls: dict[str, Callable[[], object]] = {
        "fetch": lambda: remote.fetch(MODEL),
        "catalogue": remote.catalogue,
        "publish": lambda: remote.publish(artefact, MODEL),
    }
    silence = threading.Event()

    def wait(*_: object) -> Response:
        silence.wait(20)
        return Response()

    monkeypatch.setattr(FakeHub, "_file", wait)
    monkeypatch.setattr(FakeHub, "_models", wait)
    monkeypatch.setattr(FakeHub, "_facts", wait)
    assert seconds_of(calls[ask]) < 5
    silence.set()


def test_a_library_that_publishes_does_not_wait_for_ever(
    remote: Hub, artefact: Path, short_patience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = threading.Event()

    def wait(*_: object) -> Response:
        silence.wait(20)
        return Response()

    monkeypatch.setattr(FakeHub, "_create", wait)
    (artefact / ONNX).write_bytes(b"better")
    with_manifest(artefact)
    assert seconds_of(lambda: remote.publish(artefact, MODEL)) < 15
    silence.set()


def test_a_list_in_many_slow_pages_is_too_slow(
    remote: Hub, short_patience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(fake: FakeHub, request: Request) -> Response:
        time.sleep(0.2)
        return Response("[]", headers={"Link": f'<{request.url}>; rel="next"'})

    monkeypatch.setattr(FakeHub, "_models", page)
    assert seconds_of(remote.catalogue) < 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://user:s3cret@127.0.0.1:9"),
        ("HTTPS_PROXY", "ftp://user:s3cret@127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nowhere"),
    ],
)
def test_a_network_that_is_set_up_wrongly_is_one_error(
    remote: Hub, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        remote.fetch(MODEL)
    assert "s3cret" not in str(caught.value)


def test_a_hub_that_drips_is_too_slow(remote: Hub, fake: FakeHub, short_patience: None) -> None:
    ended = threading.Event()

    def drip(request: Request) -> Response:
        def bytes_of_a_file() -> Iterator[bytes]:
            while not ended.wait(0.1):
                yield b" "

        return Response(bytes_of_a_file(), headers={"X-Repo-Commit": "0" * 40})

    fake.instead = drip
    assert seconds_of(lambda: remote.fetch(MODEL)) < 5
    ended.set()


def test_a_web_page_instead_of_a_file_is_told_as_one(remote: Hub, fake: FakeHub) -> None:
    fake.instead = lambda request: Response(
        "\n<!doctype html><title>Log in</title>", headers={"X-Repo-Commit": "0" * 40}
    )
    with pytest.raises(OfflineError, match=r"(?i)a web page came.*log in where this network asks for it"):
        remote.fetch(MODEL)


def test_redirects_in_a_circle_end(remote: Hub, fake: FakeHub) -> None:
    fake.instead = lambda request: Response(status=302, headers={"Location": request.url})
    with pytest.raises(OfflineError, match="TooManyRedirects"):
        remote.fetch(MODEL)
    assert len(fake.requests) < 10


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "http://" + "a" * 300 + "/", "::"])
def test_redirects_to_nowhere_are_one_error(remote: Hub, fake: FakeHub, location: str) -> None:
    fake.instead = lambda request: Response(status=302, headers={"Location": location})
    with pytest.raises(OfflineError):
        remote.fetch(MODEL)


def test_a_compressed_answer_is_not_unpacked(remote: Hub, fake: FakeHub) -> None:
    fake.fields = {"Content-Encoding": "gzip"}
    with pytest.raises(IntegrityError, match="compressed"):
        remote.fetch(MODEL)


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"a": 1}', "nonsense", "[1, null]"])
def test_a_list_that_is_none_is_one_error(
    remote: Hub, fake: FakeHub, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeHub, "_models", lambda fake, request: Response(answer))
    if answer == "[1, null]":
        assert len(remote.catalogue()) == 0
    else:
        with pytest.raises(IntegrityError, match="JSON, as a list"):
            remote.catalogue()


def test_a_list_whose_pages_never_end_is_one_error(remote: Hub, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        FakeHub, "_models", lambda fake, request: Response("[]", headers={"Link": f'<{request.url}>; rel="next"'})
    )
    with pytest.raises(IntegrityError, match="does not end"):
        remote.catalogue()


def test_the_next_page_of_another_server_is_not_asked_for(
    remote: Hub, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = '<http://127.0.0.1:9/steal>; rel="next"'
    monkeypatch.setattr(
        FakeHub, "_models", lambda fake, request: Response(f'[{{"id": "lab/{NAME}"}}]', headers={"Link": link})
    )
    assert [row.id for row in remote.catalogue()] == [NAME]


def test_pages_are_read_one_after_the_other(remote: Hub, fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def page(fake: FakeHub, request: Request) -> Response:
        if "page" in request.args:
            return Response('[{"id": "lab/rd-idrid"}]')
        return Response(f'[{{"id": "lab/{NAME}"}}]', headers={"Link": f'<{request.url}&page=2>; rel="next"'})

    monkeypatch.setattr(FakeHub, "_models", page)
    assert [row.id for row in remote.catalogue()] == ["rd-idrid", NAME]


# Tokens


@pytest.mark.parametrize("token", ["", " ", "hf_a\nb", "hf_ä", "hf_a b", "hf_\x00"])
def test_a_token_that_cannot_be_sent_is_a_usage_error_and_not_shown(fake: FakeHub, cache: Path, token: str) -> None:
    hub = open_hub("hf://lab", cache, token=token)
    for ask in (lambda: hub.fetch(MODEL), hub.catalogue):
        with pytest.raises(UsageError, match=r"(?i)the access token is empty, or holds what no token does") as caught:
            ask()
        assert "hf_" not in str(caught.value)
    assert fake.requests == []


def test_a_token_does_not_follow_a_redirect_to_another_server(fake: FakeHub, cache: Path) -> None:
    seen: list[str | None] = []

    def redirect(request: Request) -> Response:
        seen.append(request.headers.get("Authorization"))
        if request.host.startswith("localhost"):
            return Response(status=302, headers={"Location": request.url.replace("localhost", "127.0.0.1")})
        return Response(status=404)

    fake.instead = redirect
    with pytest.raises(NotFoundError):
        open_hub("hf://lab", cache, token="hf_secret").fetch(MODEL)  # noqa: S106
    assert seen == ["Bearer hf_secret", None]


# Broken connections


def test_a_connection_that_breaks_is_taken_up_where_it_broke(remote: Hub, fake: FakeHub) -> None:
    fake.served, fake.cut = {WEIGHTS: b"weig"}, True
    assert (remote.fetch(MODEL).folder / WEIGHTS).read_bytes() == b"weights!"


def test_a_server_that_begins_again_instead_is_understood(remote: Hub, fake: FakeHub) -> None:
    revision = commit_of(fake.repositories[NAME]["main"])
    tries: list[str | None] = []

    def whole(request: Request) -> Response:
        name = request.path.split("/", 5)[5]
        if name == WEIGHTS:
            tries.append(request.headers.get("Range"))
            response = Response(b"weights!" if tries[1:] else b"weig", headers={"X-Repo-Commit": revision})
            response.automatically_set_content_length = False
            response.headers["Content-Length"] = "8"
            return response
        return fake._file(request, NAME, "main", name)

    fake.instead = whole
    assert (remote.fetch(MODEL).folder / WEIGHTS).read_bytes() == b"weights!"
    assert tries == [None, "bytes=4-"]
