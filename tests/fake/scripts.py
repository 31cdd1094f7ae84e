"""Scripts of the repository as modules, to call what is in them."""

import importlib
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a script of the folder `scripts`, which is found as long as the test runs."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module(name)
