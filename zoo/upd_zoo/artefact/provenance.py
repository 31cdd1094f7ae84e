"""How a folder came to be: its manifest, with versions, commit, and size and hash of every file."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import MANIFEST, Manifest, Parity

_VERSIONED = ("upd-zoo", "torch", "timm", "numpy", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


def write_manifest(folder: Path, model: str, parity: Sequence[Parity] = ()) -> Manifest:
    """Write the manifest of a folder whose other files are all there.

    Args:
        folder: Changed in place.
        model: Name of what lies in it.
        parity: How far its formats are from the eager model.
    """
    manifest = Manifest(
        id=model,
        created=_now(),
        source_commit=_source_commit(),
        versions=versions(),
        parity=list(parity),
        files=inventory(folder),
    )
    write_record(folder / MANIFEST, manifest)
    return manifest


def renew_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest of an artefact into which files were put: how the model came to be stays what it was.

    Nobody has signed what it is now.

    Args:
        folder: Changed in place.
        manifest: As it was before.
    """
    renewed = manifest.model_copy(update={"changed": _now(), "signed_by": None, "files": inventory(folder)})
    write_record(folder / MANIFEST, renewed)
    return renewed


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return (datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make a model what it is."""
    installed = {distribution.name.lower(): distribution.version for distribution in importlib.metadata.distributions()}
    return {"python": platform.python_version()} | {name: installed[name] for name in _VERSIONED if name in installed}


def _source_commit() -> str | None:
    """Return the commit of the checkout that this code runs from, with a plus sign where it was changed since."""
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],  # noqa: S607 - the user's git
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip() or None
