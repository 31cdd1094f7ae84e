"""Many processes that want the same model at once, one of which is killed in the midst of fetching it for all."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from werkzeug import Request, Response

from fake.artefact import write_artefact
from fake.hugging_face import FakeHub, commit_of, standing
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import ONNX
from upd_zoo.files import HALF_WRITTEN
from upd_zoo.hub.cached import cached
from upd_zoo.hub.receiving import PART

MODEL = "vae-phantom-t1"
GRAPH = bytes(range(256)) * 4096
_BLOCK, _PACE = 1 << 16, 0.1
_PULL = f"""
import hashlib, sys
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
pulled = open_hub("hf://lab", sys.argv[1]).fetch(ModelId.parse("{MODEL}"))
print(hashlib.sha256((pulled.folder / "{ONNX}").read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_of_ten_pulls_one_is_killed_and_nine_have_one_good_copy(tmp_path: Path) -> None:
    cache, fake = tmp_path / "cache", FakeHub()
    fake.put(write_artefact(tmp_path / "artefact", GRAPH))
    running: dict[str, subprocess.Popen[str]] = {}
    killed: list[str] = []
    begun: list[int] = []

    def slowly(request: Request) -> Response | None:
        """Send the graph slowly, and kill who asks for it first when half of it is there."""
        if not request.path.endswith(ONNX):
            return None
        first = request.range.ranges[0][0] if request.range is not None else 0
        begun.append(first)
        who = request.headers["Authorization"].removeprefix("Bearer ")

        def blocks() -> Iterator[bytes]:
            for at in range(first, len(GRAPH), _BLOCK):
                if at > len(GRAPH) // 2 and not killed:
                    killed.append(who)
                    time.sleep(1)  # what was sent arrives
                    running[who].send_signal(signal.SIGKILL)
                time.sleep(_PACE)
                yield GRAPH[at : at + _BLOCK]

        fields = {"X-Repo-Commit": commit_of(fake.repositories[MODEL]["main"])}
        return Response(blocks(), 206 if first else 200, fields)

    fake.fault = slowly
    with standing(fake) as address:
        for number in range(10):
            own = {"HF_ENDPOINT": address, "HF_TOKEN": f"worker-{number}", "HF_HUB_ETAG_TIMEOUT": "60"}
            command = [sys.executable, "-c", _PULL, str(cache)]
            running[own["HF_TOKEN"]] = subprocess.Popen(
                command, env=os.environ | own, stdout=subprocess.PIPE, text=True
            )
        said = {name: process.communicate(timeout=200)[0].strip() for name, process in running.items()}

    assert {name for name, process in running.items() if process.returncode} == set(killed)
    assert running[killed[0]].returncode == -signal.SIGKILL
    assert {answer for name, answer in said.items() if name not in killed} == {hashlib.sha256(GRAPH).hexdigest()}
    assert begun[0] == 0, begun
    assert len(begun) == 2, "one fetched it, and one went on"
    assert begun[1] > 0, "where it stopped"
    (version,) = cached(cache)
    assert verify(version.folder)
    assert not [*cache.rglob(PART), *cache.rglob(HALF_WRITTEN)]
    for lock in cache.rglob("*.lock"):
        with FileLock(lock, timeout=0):
            pass
