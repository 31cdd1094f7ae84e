"""The command `upd-zoo verify`."""

from upd_harness.cli.fetching import fetch
from upd_harness.cli.options import Origin, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import prose, table
from upd_zoo.errors import ToleranceError


@command
def verify(origin: Origin, terminal: Terminal) -> None:
    """Check the files of a model, and each format's recorded parity.

    Every file is compared with the SHA-256 of the manifest; in a folder that pull printed, those that were asked for.
    """
    from upd_zoo.artefact.folder import expected

    pulled = fetch(origin, None, terminal)
    manifest = pulled.manifest
    rows = [
        (row.format, str(row.batch), f"{row.map_difference:.1e}", f"{row.score_difference:.1e}", f"{row.tolerance:.0e}")
        for row in manifest.parity
    ]
    checked = expected(pulled.folder, manifest)
    left_out = [name for name in manifest.files if name not in checked]
    text = prose(f"{len(checked)} files of {manifest.id} have the SHA-256 of their manifest", terminal.width) + "\n"
    text += prose(f"not asked for, and so not here: {', '.join(left_out)}", terminal.width) + "\n" if left_out else ""
    text += "\n" + table(("format", "batch", "map", "score", "tolerance"), rows, terminal.width)
    parity = [row.model_dump() for row in manifest.parity]
    terminal.data({"files": len(checked), "not_asked_for": left_out, "parity": parity}, text)
    failed = sorted({row.format for row in manifest.parity if not row.passed})
    if failed:
        raise ToleranceError(
            f"{manifest.id} was published with {', '.join(failed)} outside its tolerance",
            "every format within the tolerance of its manifest",
            "upd-zoo pull --force, or tell who published it",
        )
