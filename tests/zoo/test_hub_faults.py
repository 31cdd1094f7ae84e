"""Everything that a hub can do wrong while it is published to or pulled from: told, survived, and gone on after.

Each fault holds for one attempt, which must fail with a message or get over it; nothing half published is found under
the name, and the next attempt goes through.
"""

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from werkzeug import Request, Response

from fake.artefact import write_artefact
from fake.hugging_face import FakeHub
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import MANIFEST, ONNX
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError
from upd_zoo.hub import transfer
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId

MODEL, SEED = ModelId.parse("vae-phantom-t1"), ModelId.parse("vae-phantom-t1@seed-1")
GRAPH: Final = bytes(range(256)) * 4096
STAGES: Final = {
    "audience": r"GET /api/models/lab/[^/]+",
    "standing": r"GET /lab/.*/manifest\.json",
    "create": r"POST /api/repos/create",
    "refs": r"GET /api/models/.*/refs",
    "branch": r"POST /api/models/.*/branch/.*",
    "tree": r"GET /api/models/.*/tree/seed-1-history",
    "preupload": r"POST /api/models/.*/preupload/.*",
    "batch": r"POST /lab/.*/objects/batch",
    "put": r"PUT /lfs/.*",
    "verify": r"POST /verify",
    "card": r"POST /api/validate-yaml",
    "commit": r"POST /api/models/.*/commit/.*",
    "check": r"GET /api/models/.*/tree/[0-9a-f]{40}",
    "tag": r"POST /api/models/.*/tag/.*",
}
"""What is asked for, in order, where a seed is published."""
Answering = Callable[[Request], Response | None]


@pytest.fixture
def fake(threaded: FakeHub) -> FakeHub:
    return threaded


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_artefact(tmp_path / "artefact", GRAPH)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second be what takes a minute."""
    monkeypatch.setattr(transfer, "_WHOLE_CALL", 1.0)
    monkeypatch.setattr(transfer, "_ANSWER", 1.0)


def at(stage: str, answering: Answering) -> Answering:
    """Return a fault of one stage."""
    pattern = re.compile(STAGES[stage])
    return lambda request: answering(request) if pattern.fullmatch(f"{request.method} {request.path}") else None


def refusing(status: int) -> Answering:
    return lambda request: Response("{}", status, {"Retry-After": "30"} if status == 429 else {})


def hanging(ended: threading.Event) -> Answering:
    def hang(request: Request) -> Response:
        ended.wait(30)
        return Response("{}", 500)

    return hang


def cutting(share: float, times: int) -> Answering:
    """Return a fault that reads a share of what is sent and breaks the connection, so many times."""
    left = [times]

    def cut(request: Request) -> Response | None:
        if not left[0]:
            return None
        left[0] -= 1
        if wanted := int(share * (request.content_length or 0)):  # nothing read would be answered by 400
            request.stream.read(wanted)
        connection: socket.socket = request.environ["werkzeug.socket"]
        connection.shutdown(socket.SHUT_RDWR)
        return Response()

    return cut


def told(call: Callable[[], object], exit_code: int, words: str) -> None:
    """Check that a call fails with whole sentences that say what to type next."""
    with pytest.raises(UpdZooError, match=words) as caught:
        call()
    assert caught.value.exit_code == exit_code, str(caught.value)
    assert re.fullmatch(r"[^\n]+\. (Accepted: [^\n]+\. )?Do this: [^\n]+\.", str(caught.value)), str(caught.value)


def goes_through(remote: Hub, fake: FakeHub, artefact: Path, model: ModelId = SEED) -> None:
    """Check that the next attempt publishes the model whole."""
    fake.fault = None
    remote.publish(artefact, model)
    pulled = remote.fetch(model)
    assert verify(pulled.folder) == pulled.manifest
    assert (pulled.folder / ONNX).read_bytes() == GRAPH


def nothing_is_there(fake: FakeHub) -> bool:
    return SEED.revision not in fake.repositories.get(SEED.name, {})


def test_a_publication_goes_through_the_stages_that_are_broken_below(
    fake: FakeHub, remote: Hub, artefact: Path
) -> None:
    goes_through(remote, fake, artefact)
    for stage, pattern in STAGES.items():
        assert any(re.fullmatch(pattern, asked) for asked in fake.requests), stage


REFUSALS: Final = {
    401: (1, r"does not take .*\(401\).*pass --token"),
    403: (1, r"does not take .*\(403\).*pass --token"),
    429: (6, r"answered 429.*try again in 30 s"),
    500: (6, r"answered 500.*try again later"),
}


@pytest.mark.slow
@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_refusal_at_any_stage_is_told_and_gone_on_after(
    fake: FakeHub, remote: Hub, artefact: Path, stage: str, status: int
) -> None:
    fake.fault = at(stage, refusing(status))
    told(lambda: remote.publish(artefact, SEED), *REFUSALS[status])
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


@pytest.mark.parametrize("status", [409, 412])
def test_who_published_at_the_same_time_is_not_overwritten(
    fake: FakeHub, remote: Hub, artefact: Path, status: int
) -> None:
    fake.fault = at("commit", refusing(status))
    told(lambda: remote.publish(artefact, SEED), 1, "(?i)somebody else changed lab/vae-phantom-t1.*upd-zoo list")
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


def test_a_commit_is_refused_where_main_has_moved_meanwhile(
    fake: FakeHub, remote: Hub, artefact: Path, tmp_path: Path
) -> None:
    remote.publish(artefact, MODEL)

    def move(request: Request) -> None:
        fake.repositories[MODEL.name]["main"]["note.txt"] = b"somebody was here"

    fake.fault = at("preupload", move)
    new = write_artefact(tmp_path / "new", b"new")
    told(lambda: remote.publish(new, MODEL), 1, "(?i)somebody else changed")
    fake.fault = None
    assert (remote.fetch(MODEL).folder / ONNX).read_bytes() == GRAPH


def test_a_card_that_was_changed_on_the_hub_is_not_overwritten(fake: FakeHub, remote: Hub, artefact: Path) -> None:
    remote.publish(artefact, MODEL)
    fake.repositories[MODEL.name]["main"]["README.md"] += b"Read this first.\n"
    told(lambda: remote.publish(artefact, MODEL), 2, "(?i)the card of .* was changed there.*--force")
    remote.publish(artefact, MODEL, force=True)
    assert b"Read this" not in fake.repositories[MODEL.name]["main"]["README.md"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_hub_that_hangs_at_any_stage_is_left(
    fake: FakeHub, remote: Hub, artefact: Path, impatient: None, stage: str
) -> None:
    ended = threading.Event()
    fake.fault = at(stage, hanging(ended))
    began = time.monotonic()
    told(lambda: remote.publish(artefact, SEED), 6, "(?i)hf://lab|the hub answers too slowly")
    assert time.monotonic() - began < 20
    ended.set()
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


@pytest.mark.slow
@pytest.mark.parametrize("stage", sorted(STAGES.keys() - {"put", "verify", "branch", "tag", "card", "create"}))
@pytest.mark.parametrize("answer", ["<html>log in</html>", "[]", "{}", '{"files": 1, "objects": {}, "branches": 2}'])
def test_an_answer_that_is_none_is_told(fake: FakeHub, remote: Hub, artefact: Path, stage: str, answer: str) -> None:
    fake.fault = at(stage, lambda request: Response(answer))
    try:
        remote.publish(artefact, SEED)
    except UpdZooError as error:
        assert "Do this:" in str(error)  # noqa: PT017 - it may also get over it
        assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("stage", ["put", "commit"])
def test_a_connection_that_is_cut_at_any_tenth_of_what_is_sent_is_told(
    fake: FakeHub, remote: Hub, artefact: Path, stage: str, tenth: int
) -> None:
    fake.fault = at(stage, cutting(tenth / 10, times=10))
    told(lambda: remote.publish(artefact, SEED), 6, "(?i)connection to hf://lab broke 3 times|cannot be reached")
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_a_large_file_that_is_cut_once_is_sent_again(fake: FakeHub, remote: Hub, artefact: Path, tenth: int) -> None:
    fake.fault = at("put", cutting(tenth / 10, times=1))
    remote.publish(artefact, SEED)
    sent = [asked for asked in fake.requests if re.fullmatch(STAGES["put"], asked)]
    assert len(sent) == len({*sent}) + 1
    pulled = remote.fetch(SEED)
    assert verify(pulled.folder) == pulled.manifest
    assert (pulled.folder / ONNX).read_bytes() == GRAPH


def _spoilt(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def test_wrong_bytes_that_the_hub_notices_are_told(fake: FakeHub, remote: Hub, artefact: Path) -> None:
    def spoil(request: Request) -> None:
        fake.objects = {key: bytes(len(content)) for key, content in fake.objects.items()}  # the same if done twice

    fake.fault = at("verify", spoil)
    told(lambda: remote.publish(artefact, SEED), 1, "answered 422")
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


@pytest.mark.parametrize("name", [MANIFEST, "README.md", ONNX])
def test_wrong_bytes_that_the_hub_does_not_notice_get_no_name(
    fake: FakeHub, remote: Hub, artefact: Path, name: str
) -> None:
    def spoil(request: Request) -> None:
        kept = fake.repositories[SEED.name][f"{SEED.revision}-history"]
        fake.repositories[SEED.name][f"{SEED.revision}-history"] = kept | {name: _spoilt(kept[name])}

    def spoil_once(request: Request) -> Response | None:
        spoil(request)
        files = fake.repositories[SEED.name][f"{SEED.revision}-history"]
        return fake._tree(request, SEED.name, f"{SEED.revision}-history") if files else None

    fake.fault = at("check", spoil_once)
    told(lambda: remote.publish(artefact, SEED), 5, f"other bytes than were sent: {re.escape(name)}")
    assert nothing_is_there(fake)
    goes_through(remote, fake, artefact)


# Pulling


@pytest.fixture
def published(remote: Hub, artefact: Path) -> Hub:
    remote.publish(artefact, SEED)
    return remote


FILES: Final = {MANIFEST: r"/lab/.*/manifest\.json", ONNX: r"/lab/.*/onnx/model\.onnx"}


def of(name: str, answering: Answering) -> Answering:
    """Return a fault of one file."""
    return lambda request: answering(request) if re.fullmatch(FILES[name], request.path) else None


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 404, 409, 410, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", FILES)
def test_a_refusal_of_any_file_is_told_and_gone_on_after(fake: FakeHub, published: Hub, name: str, status: int) -> None:
    fake.fault = of(name, refusing(status))
    with pytest.raises(UpdZooError, match=r"Do this: ") as caught:
        published.fetch(SEED)
    assert caught.value.exit_code == (6 if status == 429 or status >= 500 else 4 if status == 404 else 1)
    assert status != 429 or "try again in 30 s" in str(caught.value)
    fake.fault = None
    assert verify(published.fetch(SEED).folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_hangs_is_left(fake: FakeHub, published: Hub, impatient: None, name: str) -> None:
    ended = threading.Event()
    fake.fault = of(name, hanging(ended))
    with pytest.raises(OfflineError, match=r"Do this: "):
        published.fetch(SEED)
    ended.set()
    fake.fault = None
    assert verify(published.fetch(SEED).folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_wrong_bytes_of_the_right_length_are_told(fake: FakeHub, published: Hub, name: str) -> None:
    state = fake.repositories[SEED.name][SEED.revision]
    fake.served, fake.for_ever = {name: _spoilt(state[name])}, True
    with pytest.raises(IntegrityError, match=r"Do this: "):
        published.fetch(SEED)
    fake.served = {}
    assert verify(published.fetch(SEED).folder)


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_a_download_that_is_cut_at_any_tenth_goes_on(fake: FakeHub, published: Hub, tenth: int) -> None:
    fake.served, fake.for_ever, fake.cut = {ONNX: GRAPH[: len(GRAPH) * tenth // 10]}, True, True
    with pytest.raises((OfflineError, IntegrityError, NotFoundError), match=r"Do this: "):
        published.fetch(SEED)
    fake.served = {}
    assert verify(published.fetch(SEED).folder)
