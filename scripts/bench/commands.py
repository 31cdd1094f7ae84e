"""How soon the program answers."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from figures import Figure, seconds_of
from upd_zoo.errors import UpdZooError
from upd_zoo.hub.catalogue import CATALOGUE, Catalogue, Row
from upd_zoo.vocabulary import DOMAINS

_STARTS: Final = 5


def commands() -> list[Figure]:
    """Measure how soon the program answers, and that it does so without torch."""
    bare = statistics.median(seconds_of(partial(_run, [sys.executable, "-c", "pass"])) for _ in range(_STARTS))
    figures = [Figure("python -c pass, median of 5", bare, "s")]
    with tempfile.TemporaryDirectory() as hub:
        rows = tuple(Row(f"vae-{domain}", "main", "VAE") for domain in sorted(DOMAINS))
        Catalogue(rows).write(Path(hub) / CATALOGUE)
        for name, arguments in (
            ("--help", ["--help"]),
            ("list, default hub", ["list"]),
            ("list, folder hub", ["list", "--hub", hub]),
        ):
            figures += _command(name, arguments, bare)
    return figures


def _command(name: str, arguments: list[str], bare: float) -> list[Figure]:
    program = shutil.which("upd-zoo", path=sysconfig.get_path("scripts"))
    if program is None:
        raise UpdZooError(
            "the program upd-zoo is not installed beside this Python", "", "make bench, which installs it"
        )
    command = [program, *arguments]
    median = statistics.median(seconds_of(partial(_run, command)) for _ in range(_STARTS))
    imported = re.findall(r"\| +torch(?:\.\S+)?$", _run(command, PYTHONPROFILEIMPORTTIME="1"), re.MULTILINE)
    return [
        Figure(f"upd-zoo {name}, median of 5", median, "s", 0.6, "lower"),
        Figure(f"upd-zoo {name} / python -c pass", median / bare, "x"),
        Figure(f"upd-zoo {name}: modules of torch", len(imported), "modules", 0, "lower"),
    ]


def _run(command: list[str], **variables: str) -> str:
    """Return what a command writes to stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "UPD_ZOO_HUB"}
    answer = subprocess.run(  # noqa: S603 - this project's own program
        command, env=environment | variables, capture_output=True, text=True, check=True
    )
    return answer.stderr
