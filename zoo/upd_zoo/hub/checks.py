"""What every hub asks of an artefact before it hands one out or takes one in."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from upd_zoo.artefact.folder import record_of, results_among, verify
from upd_zoo.artefact.metrics import METRICS
from upd_zoo.artefact.record import MOST_RECORD_BYTES, read_record
from upd_zoo.artefact.records import (
    CARD,
    CONFIG,
    LEGAL,
    MANIFEST,
    ONNX,
    SIGNATURE,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    FileRecord,
    Manifest,
    Result,
)
from upd_zoo.artefact.statement import SIGN_AGAIN, check_covers, read_envelope
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.hub.catalogue import Figure, Measured, Row
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import TEST_SETS

FORMATS: Final = {"safetensors": WEIGHTS, "onnx": ONNX, "torchscript": TORCHSCRIPT}


def selection(manifest: Manifest, model: ModelId, names: Iterable[str] | None) -> dict[str, FileRecord]:
    """Return the files to fetch with their records: `config.json`, then those asked for, each once.

    Args:
        manifest: The hub's manifest of `model`.
        model: The model asked for.
        names: Relative paths; None for every file.

    Raises:
        IntegrityError: The manifest is of another model, lists no `config.json`, or a record that nobody would read.
        NotFoundError: The manifest does not list one of `names`.
    """
    if manifest.id != model.canonical.name:
        raise IntegrityError(f"the manifest of {model} is that of '{manifest.id}'", "", "report it to its publisher")
    if CONFIG not in manifest.files:
        raise IntegrityError(f"the manifest of {model} lists no {CONFIG}", "", "report it to its publisher")
    wanted = dict.fromkeys([CONFIG, *(manifest.files if names is None else names)])
    wanted.pop(MANIFEST, None)
    for name in wanted:
        if name not in manifest.files:
            raise NotFoundError(f"{model} has no {name}", ", ".join(manifest.files))
        if name.endswith(".json") and manifest.files[name].bytes > MOST_RECORD_BYTES:
            raise IntegrityError(f"{name} of {model} is too long for a record", f"at most {MOST_RECORD_BYTES} bytes")
    return {name: manifest.files[name] for name in wanted}


def publishable(folder: Path, model: ModelId, *, force: bool = False) -> tuple[Manifest, dict[str, FileRecord], Row]:
    """Check that `folder` is a whole artefact of `model`, with all that who uses it must be told.

    Args:
        folder: The artefact.
        model: What it shall be published as.
        force: Publish it without results, parity or licences, too.

    Returns:
        Its manifest; what to publish, which is every file of the manifest, its signature and the manifest itself, last;
        and the row for the catalogue.

    Raises:
        UsageError: The artefact is of another model, or lacks results, parity or licences.
        NotFoundError: There is no manifest or no `config.json`.
        IntegrityError: A file is missing or differs from the manifest, or from what was signed.
    """
    row, manifest = row_of(folder, model.revision), read_manifest(folder)
    if row.id != model.canonical.name:
        raise UsageError(f"{folder} is an artefact of '{row.id}'", f"an artefact of '{model.canonical.name}'")
    verify(folder, manifest.files)
    if not force:
        _check_told(folder, model, manifest)
    beside = [MANIFEST]
    if manifest.signed_by is not None:
        check_covers(read_envelope(folder, manifest), folder, manifest, SIGN_AGAIN)
        beside = [SIGNATURE, MANIFEST]
    return manifest, {**manifest.files, **{name: record_of(folder / name) for name in beside}}, row


def test_sets_of(model: ModelId) -> list[str]:
    """Return what a model can be measured on."""
    return [each.id for each in TEST_SETS.values() if each.domain == model.domain.id]


def _check_told(folder: Path, model: ModelId, manifest: Manifest) -> None:
    """Refuse an artefact that keeps from its users how good it is, whether its formats agree, or what they may do.

    Raises:
        UsageError: It does.
    """
    missing = [name for name in LEGAL if name not in manifest.files]
    lacking = {
        "results on a test set": results_among(manifest),
        "the comparison of its formats with the model that was trained": manifest.parity,
        " and ".join(missing): not missing,
    }
    absent = [what for what, there in lacking.items() if not there]
    if absent:
        test_set = next(iter(test_sets_of(model)), "NAME")
        measure = f"upd-zoo evaluate -m {folder} --test-set {test_set} --into -o out/evaluation/{model.name}"
        remedy = measure if absent == [next(iter(lacking))] else "upd-zoo export RUN, then " + measure
        raise UsageError(
            f"the artefact {folder} lacks {', and '.join(absent)}",
            "an artefact that says how good it is, that its formats agree, and what may be done with it",
            f"{remedy}; or add --force to publish it as it is",
        )


def check_card(standing: Manifest, card: bytes | None, place: str) -> None:
    """Refuse to put an artefact in the place of one whose card somebody has changed there.

    Args:
        standing: The manifest of what stands there.
        card: The bytes of the card that stands there; None where there is none.
        place: What is called so, such as "vae-idrid@seed-1 on hf://lab".

    Raises:
        UsageError: The card is not the one that was published.
    """
    published = standing.files.get(CARD)
    if card is not None and published is not None and hashlib.sha256(card).hexdigest() != published.sha256:
        raise UsageError(
            f"the card of {place} was changed there after it was published",
            "a card as it was published",
            f"keep what was written there in {CARD}, then add --force",
        )


def check_newer(standing: Manifest | None, ours: Manifest, place: str) -> None:
    """Refuse to put an artefact in the place of one that was made later, or one without a signature of one with it.

    Args:
        standing: The manifest of what stands there; None where nothing does.
        ours: That of what is to be published.
        place: What is called so, such as "vae-idrid@seed-1 on hf://lab".

    Raises:
        UsageError: What stands there was made later, or is signed and this is not.
    """
    if standing is not None and standing.signed_by is not None and ours.signed_by is None:
        raise UsageError(
            f"{place} is signed by the key {standing.signed_by}, this artefact by nobody",
            "an artefact that is signed too",
            "add --sign KEY; or --force, after which nobody can tell any more who made it",
        )
    if standing is not None and standing.as_of > ours.as_of:
        raise UsageError(
            f"{place} was made at {standing.as_of}, this artefact earlier, at {ours.as_of}",
            "an artefact that is newer than the one in its place",
            "publish it under another --revision, or add --force",
        )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an artefact.

    Raises:
        NotFoundError: There is none.
        IntegrityError: It is not readable.
    """
    return read_record(folder / MANIFEST, Manifest)


def row_of(folder: Path, revision: str) -> Row:
    """Return what a catalogue says of an artefact, whose larger files are not looked at.

    Raises:
        NotFoundError: There is no manifest or no `config.json`.
        IntegrityError: They are not readable, or of different models; or a result is not the one of the manifest.
        UsageError: Their model has no canonical name.
    """
    config, manifest = read_record(folder / CONFIG, Config), read_manifest(folder)
    if config.id != manifest.id:
        raise IntegrityError(f"{CONFIG} is that of '{config.id}', {MANIFEST} that of '{manifest.id}'")
    names = results_among(manifest)
    verify(folder, names)
    found = (read_record(folder / name, Result) for name in names)
    return Row(
        id=config.id,
        revision=revision,
        title=config.title,
        pretrain=config.pretrain,
        protocol=config.protocol,
        profile=config.training.profile,
        labels=tuple(config.labels),
        created=manifest.as_of,
        bytes={format_: manifest.files[name].bytes for format_, name in FORMATS.items() if name in manifest.files},
        results={result.test_set: measured_of(result) for result in found},
    )


def measured_of(result: Result) -> Measured:
    """Return what a catalogue says of a result."""
    figures = {
        metric.id: Figure(round(value, _DIGITS), _bounds(result, metric.id), _rival(result, metric.id))
        for metric in METRICS
        if (value := getattr(result.metrics, metric.id)) is not None
    }
    return Measured(result.images, result.anomalous, figures)


def _bounds(result: Result, metric: str) -> tuple[float, float] | None:
    low, high = result.intervals.get(metric, (None, None))
    return None if low is None or high is None else (round(low, _DIGITS), round(high, _DIGITS))


def _rival(result: Result, metric: str) -> float | None:
    found = result.rival(metric)
    return None if found is None else round(found, _DIGITS)


_DIGITS: Final = 6
