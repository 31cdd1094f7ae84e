"""A hub that is out of reach, in every way that an address has of being so, is told as that within its time."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from fake.hugging_face import point_library_at
from fake.servers import BEHAVIOURS, closed_port, serving
from upd_zoo.errors import OfflineError
from upd_zoo.hub import open_hub, transfer
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
PATIENCE = 0.6
ON_TOP = 5.0
"""Seconds that a busy machine may add."""


@pytest.fixture(params=[*BEHAVIOURS, "closed port", "no such name", "no answer for the name"])
def unreachable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(transfer, "_ANSWER", PATIENCE)
    hub, released = open_hub("hf://lab", tmp_path), threading.Event()
    if request.param in BEHAVIOURS:
        with serving(BEHAVIOURS[request.param]) as address:
            point_library_at(monkeypatch, address)
            yield hub
    elif request.param == "closed port":
        with closed_port() as address:
            point_library_at(monkeypatch, address)
            yield hub
    else:
        monkeypatch.setattr(socket, "getaddrinfo", _nowhere if request.param == "no such name" else _silence(released))
        point_library_at(monkeypatch, "http://hub.invalid")
        yield hub
        released.set()


def _nowhere(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _silence(released: threading.Event) -> Any:
    def wait(*_: Any, **__: Any) -> Any:
        released.wait(60)
        return _nowhere()

    return wait


@pytest.mark.parametrize("ask", ["list", "pull"])
def test_a_hub_out_of_reach_is_told_in_time(unreachable: Hub, ask: str) -> None:
    began = time.monotonic()
    with pytest.raises(OfflineError) as caught:
        unreachable.catalogue() if ask == "list" else unreachable.fetch(MODEL)
    assert time.monotonic() - began < PATIENCE + ON_TOP
    assert caught.value.next_step


def test_ten_seconds_hold_the_wait_and_the_start_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    assert open_hub("hf://lab").patience == transfer.patience() <= 8


def test_who_has_a_slow_hub_gives_it_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "40")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 40)
    assert open_hub("hf://lab").patience == 40


def test_what_asks_no_network_waits_for_none(tmp_path: Path) -> None:
    assert open_hub(str(tmp_path)).patience == open_hub("hf://lab", offline=True).patience == 0
