"""The command `upd-zoo verify`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upd_harness.cli.fetching import announce, fetch, load
from upd_harness.cli.options import Origin, Running, command
from upd_harness.cli.signing import check_signed
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import prose, table
from upd_zoo.errors import NotFoundError, ToleranceError, UsageError

if TYPE_CHECKING:
    from upd_harness.checks.proof import Proven
    from upd_zoo.artefact.records import Manifest, Parity


@command
def verify(
    origin: Origin,
    here: Annotated[
        bool, typer.Option("--here", help="Run the model on this machine, on images whose answers it brings.")
    ] = False,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="What another runtime answers: anomaly_map.npy and score.npy.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Whose signature it must have: a public key, a PEM file.")
    ] = None,
    *,
    running: Running,
    terminal: Terminal,
) -> None:
    """Check the files of a model, and each format's recorded parity.

    Every file is compared with the SHA-256 of the manifest; in a folder that pull printed, those that were asked for.
    With --key, the model must be signed by that key, with all that lies in its folder.
    With --here, the model is run as --backend, --device and --precision say; how far it is from what the eager model
    answered where it was exported is told, and how many cases could change sides of the threshold. With --answers, the
    same is told of answers to proof/image.npy of the model that any other runtime gave.
    """
    if here and answers is not None:
        raise UsageError("--here and --answers were both given", "one of them", "leave out --here")
    if key is not None and (here or answers is not None):
        pulled = fetch(origin, None, terminal)
        terminal.say(f"signed by the key {check_signed(pulled.folder, pulled.manifest, key)}")
    if answers is not None:
        _judge(origin, answers, terminal)
    elif here:
        _prove(origin, running, terminal)
    else:
        _check(origin, key, terminal)


def _check(origin: Origin, key: Path | None, terminal: Terminal) -> None:
    """Compare files with their manifest, and with their signature where a key is named; show the recorded parity."""
    from upd_zoo.artefact.folder import expected

    pulled = fetch(origin, None, terminal)
    signed_by = None if key is None else check_signed(pulled.folder, pulled.manifest, key)
    manifest = pulled.manifest
    checked = expected(pulled.folder, manifest)
    left_out = [name for name in manifest.files if name not in checked]
    text = prose(f"{len(checked)} files of {manifest.id} have the SHA-256 of their manifest", terminal.width) + "\n"
    text += prose(f"not asked for, and so not here: {', '.join(left_out)}", terminal.width) + "\n" if left_out else ""
    text += prose(_signed(manifest, signed_by), terminal.width) + "\n\n"
    text += _rows(manifest.parity, terminal.width)
    parity = [row.model_dump() for row in manifest.parity]
    signature = {"signed_by": manifest.signed_by, "signature_checked": signed_by is not None}
    terminal.data({"files": len(checked), "not_asked_for": left_out, **signature, "parity": parity}, text)
    failed = sorted({row.format for row in manifest.parity if not row.passed})
    if failed:
        raise ToleranceError(
            f"{manifest.id} was published with {', '.join(failed)} outside its tolerance",
            "every format within the tolerance of its manifest",
            "upd-zoo pull --force, or tell who published it",
        )


def _signed(manifest: "Manifest", signed_by: str | None) -> str:
    """Return who signed a model, and whether that was checked."""
    if signed_by is not None:
        return f"all of it is signed by the key {signed_by}, and nothing else lies there"
    if manifest.signed_by is None:
        return "not signed"
    return f"signed by the key {manifest.signed_by}, as it says itself; --key KEY.pub checks that"


def _rows(parity: "list[Parity]", width: int | None) -> str:
    head = ("format", "batch", "map", "score", "range of the map", "rank correlation", "tolerance")
    rows = [
        (
            row.format,
            str(row.batch),
            f"{row.map_difference:.1e}",
            f"{row.score_difference:.1e}",
            f"{row.map_range:.3g}",
            f"{row.rank_correlation:.6f}",
            f"{row.tolerance:.0e}",
        )
        for row in parity
    ]
    return table(head, rows, width)


def _prove(origin: Origin, running: Running, terminal: Terminal) -> None:
    """Run a model on what it must answer, and tell how far it is from that."""
    from upd_harness.checks.proof import prove
    from upd_zoo.artefact.proof import PROOF, Proof

    manifest = fetch(origin, (), terminal).manifest
    _check_proof(manifest)
    folder = fetch(origin, PROOF, terminal).folder
    model = load(origin, running, terminal)
    announce(model, origin.name, terminal)
    with terminal.bar("running"):
        proven = prove(model, Proof.read(folder, model.config), manifest.parity)
    terminal.data(_document(proven, model), _told(proven, terminal.width))
    how = f"through {model.backend} on {model.device} in {model.precision}"
    _check_passed(proven, f"{manifest.id} {how}", "use another --backend, --device or --precision")


def _judge(origin: Origin, answers: Path, terminal: Terminal) -> None:
    """Tell how far answers of another runtime are from what a model must answer."""
    from upd_harness.checks.proof import judge
    from upd_zoo.artefact.calibration import Calibration
    from upd_zoo.artefact.proof import PROOF, Proof
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config

    manifest = fetch(origin, (), terminal).manifest
    _check_proof(manifest)
    folder = fetch(origin, (CONFIG, CALIBRATION, *PROOF), terminal).folder
    proof = Proof.read(folder, read_record(folder / CONFIG, Config))
    calibration = read_record(folder / CALIBRATION, Calibration)
    proven = judge(proof.answered(answers), proof, calibration, manifest.parity)
    terminal.data(_figures(proven), _told(proven, terminal.width))
    _check_passed(proven, f"what {answers} holds of {manifest.id}", "let the runtime compute in float32")


def _check_passed(proven: "Proven", subject: str, next_step: str) -> None:
    if not proven.passed:
        raise ToleranceError(
            f"{subject} is outside its tolerance",
            "differences of at most the tolerance times the range of the map",
            f"{next_step}, or tell who makes it",
        )


def _check_proof(manifest: "Manifest") -> None:
    from upd_zoo.artefact.proof import PROOF

    if not all(name in manifest.files for name in PROOF):
        raise NotFoundError(
            f"{manifest.id} brings no images with answers", "a model that this version of upd-zoo exported"
        )


def _document(proven: "Proven", model: Any) -> dict[str, Any]:
    from upd_zoo.artefact.provenance import versions

    how = {"backend": model.backend, "device": model.device, "precision": model.precision, "versions": versions()}
    return how | _figures(proven)


def _figures(proven: "Proven") -> dict[str, Any]:
    rows = [row.model_dump() | {"passed": row.passed} for row in proven.rows]
    return asdict(proven) | {"rows": rows, "passed": proven.passed}


def _told(proven: "Proven", width: int | None) -> str:
    sides = (
        f"{proven.turned} of these images change sides of the threshold; of the {proven.cases} healthy images that it "
        f"comes from, at most {proven.at_most} can, if their scores move as far"
    )
    return _rows(list(proven.rows), width) + "\n\n" + prose(sides, width)
