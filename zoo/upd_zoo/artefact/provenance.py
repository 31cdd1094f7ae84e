"""How a folder came to be: its manifest, with versions, commit, and size and hash of every file; and what trained it.

    manifest.json      what exported the model: `upd_zoo.artefact.records.Manifest`
    provenance.json    what trained it, and on whom: Provenance; a run begins it, and its export ends it

What else a training is decided by stands in `config.json`: settings, profile, seed, and the hash of its images.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.record import Record, Sha256, read_record, write_record
from upd_zoo.artefact.records import EXPORT_AGAIN, MANIFEST, Manifest, Parity
from upd_zoo.files import sha256_of
from upd_zoo.hardware import described

PROVENANCE: Final = "provenance.json"
_VERSIONED = ("upd-zoo", "torch", "timm", "numpy", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


_CODE: Final = ("**/*.py", "recipes/*.toml", "domains.toml")


class Work(Record):
    """What computed a training, or a part of one.

    Attributes:
        source_commit: Of the code; None where that is not known.
        code: Hash of the code, recipes and domains of `upd_zoo` as they lay there, whatever the commit says.
        versions: Of Python and packages.
        hardware: Accelerators and processor, by name.
    """

    source_commit: str | None
    code: Sha256
    versions: dict[str, str]
    hardware: str


class Images(Record):
    """Images of a prepared store.

    Attributes:
        store: SHA-256 of the store's images.
        subjects: `subjects_hash` of those whose images they are.
    """

    store: Sha256
    subjects: Sha256


class Recalibration(Record):
    """Whose healthy images set the thresholds of a copy of a model.

    Attributes:
        subjects: `subjects_hash` of them.
        number: How many they are.
        images: How many of their images were looked at; of volumes, slices.
        calibrated: When, in UTC, such as "2026-01-31T12:00:00Z".
        work: What computed it.
    """

    subjects: Sha256
    number: int = Field(ge=1)
    images: int = Field(ge=1)
    calibrated: str
    work: Work


class Provenance(Record):
    """What trained a model, and on whom.

    Attributes:
        recipe: SHA-256 of the recipe as it was carried out, as JSON with sorted names.
        subjects: `subjects_hash` of those from whose images it learnt; the hash of the images is in `config.json`.
        calibration: What it was calibrated on when it was exported; None in the folder of a run, and of a network that
            CCD trained.
        recalibration: Whose images set its thresholds since; None where it has those that it was exported with.
        work: What computed it, in the order in which each did so first; one, unless a run went on elsewhere.
    """

    remedy: ClassVar[str] = EXPORT_AGAIN
    schema_: Literal["upd-zoo/provenance/1"] = Field(default="upd-zoo/provenance/1", alias="schema")
    recipe: Sha256
    subjects: Sha256
    calibration: Images | None = None
    recalibration: Recalibration | None = None
    work: list[Work]


def subjects_hash(subjects: Iterable[str]) -> str:
    """Return the SHA-256 of the names of some subjects, each once and by alphabet, a line each.

    Two lists can be compared by it, and no name is told.
    """
    return _hash_of("\n".join(sorted({*subjects})))


def note_work(run: Path, recipe: Mapping[str, Any], subjects: Iterable[str], device: str, *, begun: bool) -> None:
    """Write down what a run is computed by from here on, beside what computed it before.

    Args:
        run: Folder of the run.
        recipe: As it is carried out.
        subjects: Whose images are learnt from, each any number of times.
        device: `cpu` or `cuda`.
        begun: Whether something was computed before. Where that is not known to this record, nothing is written: half
            of the truth would look like the whole.
    """
    known = (run / PROVENANCE).is_file()
    if begun and not known:
        return
    before = read_record(run / PROVENANCE, Provenance).work if known else []
    work = [*before, *(each for each in (_work(device),) if each not in before)]
    document = json.dumps(recipe, sort_keys=True)
    write_record(run / PROVENANCE, Provenance(recipe=_hash_of(document), subjects=subjects_hash(subjects), work=work))


def hand_over(run: Path, folder: Path, calibration: Images | None) -> None:
    """Write what trained a model into its artefact; of a run of an older version, which did not say, nothing.

    Args:
        run: Folder of the run.
        folder: The artefact.
        calibration: What the model was calibrated on; None where it was not.
    """
    if (run / PROVENANCE).is_file():
        found = read_record(run / PROVENANCE, Provenance)
        write_record(folder / PROVENANCE, found.model_copy(update={"calibration": calibration}))


def hand_on(source: Path, folder: Path, subjects: Sequence[str], device: str) -> None:
    """Write what trained a model into a copy with other thresholds; of a model that does not tell, nothing.

    Args:
        source: The artefact that was calibrated.
        folder: The copy.
        subjects: Whose each of the images is that its thresholds come from.
        device: What computed them, `cpu` or `cuda:N`.
    """
    if (source / PROVENANCE).is_file():
        found = read_record(source / PROVENANCE, Provenance)
        whose, work = {*subjects}, _work(device.partition(":")[0])
        done = Recalibration(
            subjects=subjects_hash(whose), number=len(whose), images=len(subjects), calibrated=_now(), work=work
        )
        write_record(folder / PROVENANCE, found.model_copy(update={"recalibration": done}))


@cache
def _work(device: str) -> Work:
    """Return what computes in this process, whose code and packages stay what they were when it began."""
    root = Path(__file__).parents[1]
    paths = sorted(path for pattern in _CODE for path in root.glob(pattern))
    listed = "\n".join(f"{path.relative_to(root).as_posix()} {sha256_of(path)}" for path in paths)
    hardware = described(device)
    return Work(source_commit=_source_commit(), code=_hash_of(listed), versions=versions(), hardware=hardware)


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
