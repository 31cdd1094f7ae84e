"""Whoever waits for a hub that has fallen silent is told so, again and again."""

import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from werkzeug import Request, Response

from fake.artefact import write_artefact
from fake.hugging_face import FakeHub, standing
from fake.program import PROGRAM

_WATCHED = 40.0
_LONGEST = 15.0


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["publish", "pull"])
def test_no_silence_of_a_hub_lasts_long_without_a_word(verb: str, environment: dict[str, str], tmp_path: Path) -> None:
    fake, ended, asked = FakeHub(), threading.Event(), threading.Event()
    artefact = write_artefact(tmp_path / "artefact", bytes(1000))
    silent = "/api/repos/create" if verb == "publish" else "/onnx/model.onnx"
    if verb == "pull":
        fake.put(artefact)

    def hang(request: Request) -> Response | None:
        if not request.path.endswith(silent):
            return None
        asked.set()
        ended.wait(_WATCHED + 60)
        return Response("{}", 500)

    fake.fault = hang
    arguments = {"publish": ["publish", str(artefact)], "pull": ["pull", "vae-phantom-t1", "--format", "all"]}[verb]
    with standing(fake) as address:
        own = environment | {"HF_ENDPOINT": address, "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
        command = [str(PROGRAM), *arguments, "--hub", "hf://lab"]
        running = subprocess.Popen(command, env=own, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert asked.wait(60)
        words = [time.monotonic()]
        end = words[0] + _WATCHED
        assert running.stderr is not None

        def listen() -> None:
            for _line in running.stderr or ():
                words.append(time.monotonic())

        listening = threading.Thread(target=listen, daemon=True)
        with running:
            listening.start()
            time.sleep(_WATCHED)
            running.kill()
            listening.join()
        ended.set()
    spoken = [word for word in words if word < end] + [end]
    assert max(later - earlier for earlier, later in pairwise(spoken)) < _LONGEST
