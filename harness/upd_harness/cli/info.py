"""The command `upd-zoo info`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from upd_harness.cli.fetching import fetch, known_as
from upd_harness.cli.listing import defined
from upd_harness.cli.options import Origin, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import counted, facts
from upd_zoo.files import megabytes

if TYPE_CHECKING:
    from upd_zoo.artefact.calibration import Calibration
    from upd_zoo.artefact.provenance import Provenance, Work
    from upd_zoo.artefact.record import Record
    from upd_zoo.artefact.records import Config, Manifest, Result


@command
def info(origin: Origin, terminal: Terminal) -> None:
    """Show what a model is, and what healthy images score."""
    from upd_zoo.artefact.calibration import Calibration
    from upd_zoo.artefact.folder import results_among
    from upd_zoo.artefact.provenance import PROVENANCE, Provenance
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config, Result
    from upd_zoo.runtime.folder import RECORDS

    pulled = fetch(origin, RECORDS, terminal)
    more = [name for name in pulled.manifest.files if name == PROVENANCE]
    pulled = fetch(origin, (*RECORDS, *results_among(pulled.manifest), *more), terminal)
    provenance = read_record(pulled.folder / PROVENANCE, Provenance) if more else None
    config = read_record(pulled.folder / CONFIG, Config)
    calibration = read_record(pulled.folder / CALIBRATION, Calibration)
    results = [read_record(pulled.folder / name, Result) for name in results_among(pulled.manifest)]
    known = {
        "model": known_as(origin.name, config.id),
        "revision": pulled.revision,
        "labels": ", ".join(config.labels) or "none",
        **(_figures(results) if results else {"results": "not evaluated"}),
        **_facts(config, calibration, pulled.manifest, provenance),
    }
    records: dict[str, Record] = {"config": config, "calibration": calibration, "manifest": pulled.manifest}
    if provenance is not None:
        records["provenance"] = provenance
    documents: dict[str, Any] = {name: _document(record) for name, record in records.items()}
    documents["results"] = {result.test_set: _document(result) for result in results}
    terminal.data(documents, facts(known, terminal.width))


def _document(record: "Record") -> dict[str, Any]:
    return record.model_dump(mode="json", by_alias=True)


def _figures(results: "Sequence[Result]") -> dict[str, str]:
    """Return what a model scores, and what must be told of it, by test set."""
    from upd_zoo.hub.checks import measured_of

    return {
        f"on {result.test_set}": "; ".join(
            (f"{result.images} images, {result.anomalous} anomalous", *defined(measured_of(result)), *result.labels)
        )
        for result in results
    }


def _work(provenance: "Provenance | None") -> dict[str, str]:
    """Return what computed the training, and thresholds that were set later, where that is known."""
    if provenance is None:
        return {}
    work = "; then ".join(map(_computed, provenance.work))
    later = provenance.recalibration
    told = {} if later is None else {"calibrated by": f"{_computed(later.work)}, at {later.calibrated}"}
    return {"trained by": work, **told}


def _computed(work: "Work") -> str:
    return f"{work.hardware}, commit {work.source_commit or 'unknown'}"


def _people(images: int, subjects: int) -> str:
    return f"{counted(images, 'image')} of {counted(subjects, 'subject')}"


def _facts(
    config: "Config", calibration: "Calibration", manifest: "Manifest", provenance: "Provenance | None"
) -> dict[str, str]:
    """Return what people want to know of how a model was made."""
    return {
        "method": f"{config.title}, protocol {config.protocol}",
        "domain": config.domain,
        "input": f"{config.input.channels} x {config.input.height} x {config.input.width}, [0, 1], {config.framing}",
        "training": f"{config.training.steps} steps of {config.training.batch_size}, seed {config.training.seed}",
        "trained on": _people(config.training.images, config.training.subjects),
        "calibrated on": _people(calibration.image_scores.count, calibration.subject_scores.count),
        "image threshold": f"{calibration.image_threshold:.6g}",
        "subject threshold": f"{calibration.subject_threshold:.6g}",
        "made": f"{manifest.created}, commit {manifest.source_commit or 'unknown'}",
        **_work(provenance),
        "signed": f"by the key {manifest.signed_by}; verify --key KEY.pub checks that" if manifest.signed_by else "no",
        "files": ", ".join(f"{name} ({megabytes(record.bytes)})" for name, record in manifest.files.items()),
    }
