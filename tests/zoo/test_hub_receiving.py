"""Files that come several at a time: faster, as whole as one by one, and nothing is written after the end."""

import hashlib
import itertools
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Request, Response

from fake.artefact import with_manifest, write_artefact
from fake.hugging_face import FakeHub
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import CARD, ONNX, TORCHSCRIPT, WEIGHTS, FileRecord
from upd_zoo.errors import NotFoundError, OfflineError
from upd_zoo.hub import open_hub, transfer
from upd_zoo.hub.hub import Hub
from upd_zoo.hub.receiving import PART, Awaited, receive
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, silent

MODEL = ModelId.parse("vae-phantom-t1")
FORMATS = (WEIGHTS, ONNX, TORCHSCRIPT)
CONTENT = b"four"


@pytest.fixture
def fake(threaded: FakeHub, tmp_path: Path) -> FakeHub:
    """A hub with one model."""
    threaded.put(write_artefact(tmp_path / "artefact"))
    return threaded


def test_the_formats_of_a_model_come_at_the_same_time(fake: FakeHub, remote: Hub) -> None:
    all_there = threading.Barrier(len(FORMATS), timeout=20)

    def together(request: Request) -> None:
        if request.path.endswith(FORMATS):
            all_there.wait()  # broken where they are asked for one after the other

    fake.fault = together
    pulled = remote.fetch(MODEL, FORMATS)
    assert verify(pulled.folder, [*FORMATS]) == pulled.manifest


def test_what_a_hub_refuses_beside_another_file_is_asked_for_again_alone(fake: FakeHub, remote: Hub) -> None:
    asked, refused = itertools.count(), threading.Event()

    def refuse_the_second(request: Request) -> Response | None:
        number = next(asked) if request.path.endswith(FORMATS) else None
        if number == 0:
            assert refused.wait(20)
        if number != 1:
            return None
        refused.set()
        return Response(status=503)

    fake.fault = refuse_the_second
    pulled = remote.fetch(MODEL, FORMATS)
    assert verify(pulled.folder, [*FORMATS]) == pulled.manifest
    assert next(asked) == len(FORMATS) + 1


@pytest.mark.slow
def test_the_pace_of_a_hub_is_that_of_all_files_together(
    fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comes at half of what a hub must send, so that one alone is too slow, and four together are not."""
    files = (*FORMATS, CARD)
    monkeypatch.setattr(transfer, "_WHOLE_CALL", 1.0)
    monkeypatch.setattr(transfer, "SLOWEST", 20_000.0)
    for name in files:
        (tmp_path / "artefact" / name).write_bytes((name.encode() * 40_000)[:40_000])
    fake.put(with_manifest(tmp_path / "artefact"))
    held = fake.repositories[MODEL.name]["main"]

    def slowly(request: Request) -> Response | None:
        name = request.path.partition("/resolve/")[2].partition("/")[2]
        return Response(dripping(held[name])) if name in files else None

    fake.fault = slowly
    with pytest.raises(OfflineError, match="sends less than"):
        open_hub("hf://lab", tmp_path / "alone").fetch(MODEL, [ONNX])
    pulled = open_hub("hf://lab", tmp_path / "together").fetch(MODEL, files)
    assert verify(pulled.folder, [*files]) == pulled.manifest


def dripping(content: bytes) -> Iterator[bytes]:
    """Yield bytes at 10 kB a second."""
    for start in range(0, len(content), 1_000):
        time.sleep(len(content[start : start + 1_000]) / 10_000)
        yield content[start : start + 1_000]


def awaited(folder: Path, name: str, deliver: Any) -> Awaited:
    record = FileRecord(sha256=hashlib.sha256(CONTENT + name.encode()).hexdigest(), bytes=5)
    return Awaited(folder / name, name, record, deliver)


@pytest.mark.parametrize("end", [NotFoundError("it is not there"), KeyboardInterrupt()])
def test_once_it_has_ended_no_thread_writes_any_more(tmp_path: Path, end: BaseException) -> None:
    half, over, tried = threading.Event(), threading.Event(), threading.Event()

    def slow(name: str, _record: FileRecord, _first: int) -> Generator[bytes]:
        yield CONTENT[:2]
        half.set()
        assert over.wait(20)
        try:
            yield CONTENT[2:] + name.encode()
        finally:
            tried.set()

    def failing(_name: str, _record: FileRecord, _first: int) -> Generator[bytes]:
        assert half.wait(20)
        if isinstance(end, NotFoundError):
            raise end
        yield CONTENT

    def interrupted(progress: Progress) -> None:
        if progress.what == "b" and progress.done:
            raise end

    with pytest.raises(type(end)):
        receive([awaited(tmp_path, "a", slow), awaited(tmp_path, "b", failing)], interrupted, at_once=2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    over.set()
    assert tried.wait(20)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert CONTENT[:2] in before.values()
    assert {path.name for path in before} == {path.name for path in tmp_path.glob(PART)}


def test_what_a_hub_gives_up_is_asked_for_again_alone_and_told_if_it_fails_again(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []
    others = threading.Event()

    def breaking(name: str, _record: FileRecord, first: int) -> Generator[bytes]:
        asked.append((name, first))
        if not first:
            yield CONTENT[:2]
        raise OfflineError("it broke off")

    def whole(name: str, _record: FileRecord, _first: int) -> Generator[bytes]:
        others.set()
        yield CONTENT + name.encode()

    with pytest.raises(OfflineError, match="broke off"):
        receive([awaited(tmp_path, "a", breaking), awaited(tmp_path, "b", whole)], silent, at_once=2)
    assert others.is_set()
    assert asked == [("a", 0), ("a", 2)]
    assert (tmp_path / "b").read_bytes() == CONTENT + b"b"


def test_files_of_the_same_bytes_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    record = FileRecord(sha256=hashlib.sha256(CONTENT).hexdigest(), bytes=len(CONTENT))

    def whole(_name: str, _record: FileRecord, first: int) -> Generator[bytes]:
        yield CONTENT[first:]

    names = [str(number) for number in range(8)]
    receive([Awaited(tmp_path / name, name, record, whole) for name in names], silent, at_once=4)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(names, CONTENT)
