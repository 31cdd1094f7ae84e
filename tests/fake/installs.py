"""Environments into which the package is installed by itself, without the repository."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


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
    constraints = REPOSITORY / "constraints.txt"
    uv("pip", "install", "--quiet", "--python", programs / "python", "-c", constraints, requirement)
