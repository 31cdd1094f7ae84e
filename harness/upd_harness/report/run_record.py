"""What a run was: arguments, versions, device and times, as `run.json` keeps them."""

import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from upd_harness.report.text import legible
from upd_zoo.runtime.model import Model

SCHEMA: Final = "upd-zoo/run/2"
_VERSIONED: Final = ("upd-zoo", "numpy", "onnxruntime", "onnxruntime-gpu", "nibabel", "pillow", "tifffile", "torch")


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Return the versions of Python and of what reads, runs and writes, as far as installed."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_model(model: Model, revision: str) -> dict[str, Any]:
    """Return what identifies a model in `run.json`."""
    config = model.config
    return {
        "id": config.id,
        "revision": revision,
        "sha256": model.manifest_sha256,
        "title": config.title,
        "domain": config.domain,
        "labels": config.labels,
    }


def how_it_ran(model: Model) -> dict[str, str]:
    """Return where and how a model ran, for `run.json`."""
    return {"device": model.device, "backend": model.backend, "precision": model.precision}


def describe_run(
    command: str,
    model: Mapping[str, Any],
    ran: Mapping[str, str],
    arguments: Mapping[str, Any],
    started: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the part of `run.json` that every command has.

    Of paths among the arguments only the last name is kept: folders are called after users and patients.

    Args:
        command: Which.
        model: What identifies the model, as `describe_model` says it.
        ran: Where and how it ran, as `how_it_ran` says it.
        arguments: What the user asked for.
        started: When it began, by `utc_now`.
        seconds: How long it took.
    """
    return {
        "schema": SCHEMA,
        "command": command,
        "arguments": {name: _shown(value) for name, value in arguments.items()},
        "model": model,
        "versions": versions(),
        **ran,
        "started": started,
        "seconds": round(seconds, 3),
    }


def _shown(value: Any) -> Any:
    """Return a path as its last name, as text, undecodable bytes spelled out; and anything else as it is."""
    return legible(value.name) if isinstance(value, Path) else value
