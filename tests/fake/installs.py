"""Environments into which the package is installed by itself, without the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_CONSTRAINTS = REPOSITORY / "constraints.txt"


def uv(*arguments: str | Path) -> None:
    """Run uv, which must succeed."""
    done = subprocess.run([sys.executable, "-m", "uv", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def new_environment(folder: Path) -> Path:
    """Make an empty environment; return the folder of its programs."""
    uv("venv", "--quiet", "--python", sys.executable, folder)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def install(programs: Path, requirement: str | Path) -> None:
    """Install the package in the versions that it is tested with."""
    uv("pip", "install", "--quiet", "--python", programs / "python", "-c", _CONSTRAINTS, requirement)


def environment_with(folders: pytest.TempPathFactory, *requirements: str) -> Path:
    """Return the Python of an environment of these packages alone, made once for each set of them by a test run.

    They have the versions that the package is tested with. Where no package can be fetched, the test is skipped.
    """
    folder = folders.getbasetemp() / "environments" / re.sub(r"[^\w.]+", "-", " ".join(sorted(requirements)))
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not folder.is_dir():
        new_environment(folder)
        command = ["-m", "uv", "pip", "install", "--quiet", "--python", programs / "python", "-c", _CONSTRAINTS]
        done = subprocess.run([sys.executable, *map(str, command), *requirements], capture_output=True, text=True)
        if re.search(_UNREACHABLE, done.stderr):
            pytest.skip(f"no package can be fetched: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return programs / "python"


_UNREACHABLE = r"error sending request|dns error|Could not connect|Network connectivity is disabled"
