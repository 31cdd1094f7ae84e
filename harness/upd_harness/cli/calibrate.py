"""The command `upd-zoo calibrate`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.fetching import announce, fetch
from upd_harness.cli.making import next_command
from upd_harness.cli.options import Origin, Running, command
from upd_harness.cli.score import Preparing
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import counted
from upd_zoo.errors import InputError

if TYPE_CHECKING:  # importing what scores takes longer than --help may
    from upd_harness.scoring.calibrating import Calibrated

_NAMED: Final = 5


@command
def calibrate(
    origin: Origin,
    healthy: Annotated[Path, typer.Option("--healthy", help="Folder of healthy images of your own.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the model; default: out/calibrated/MODEL.")
    ] = None,
    rate: Annotated[
        float, typer.Option("--false-positive-rate", help="Share of healthy cases that may lie above the threshold.")
    ] = 0.05,
    *,
    preparing: Preparing,
    running: Running,
    terminal: Terminal,
) -> int:
    """Set a model's threshold from your healthy images.

    Nothing is trained. The model with its new threshold becomes an artefact of its own, to score with.
    """
    from upd_harness.scoring.calibrating import calibrate as calibrate_model
    from upd_harness.scoring.calibrating import write_calibrated
    from upd_harness.scoring.panel import Scorer
    from upd_harness.scoring.search import list_inputs
    from upd_zoo.artefact.proof import PROOF
    from upd_zoo.artefact.provenance import PROVENANCE
    from upd_zoo.artefact.records import LEGAL
    from upd_zoo.runtime.folder import FILES, RECORDS, load_folder

    listing = list_inputs(healthy)
    records = fetch(origin, RECORDS, terminal)
    there = records.manifest.files
    own = [*FILES.get(running.backend, ()), *(name for name in (*LEGAL, *PROOF) if name in there)]
    pulled = fetch(origin, (*RECORDS, *own, *(name for name in (PROVENANCE,) if name in there)), terminal)
    folder = output or Path("out", "calibrated", pulled.manifest.id)
    model = load_folder(pulled.folder, running.backend, running.device, running.threads, running.precision)
    announce(model, origin.name, terminal)
    heads = preparing.heads(model.config)
    inputs = listing.inputs if heads is None else heads.chosen(listing.inputs)
    with terminal.bar("calibrating") as advance:
        how: dict[str, Any] = {"batch_size": running.batch_size, "on_progress": advance}
        found = calibrate_model(Scorer(model, heads=heads), inputs, partial(_whose, terminal), rate, **how)
    write_calibrated(found, pulled.folder, pulled.manifest, own, folder)
    terminal.data(_document(found, folder), "\n".join(_lines(found)))
    terminal.say(next_command("upd-zoo", "score", "FOLDER", "-m", folder))
    return InputError.exit_code if found.failed else 0


def _whose(terminal: Terminal, names: Sequence[str]) -> dict[str, str]:
    """Return whose each image is, and say how that was told."""
    from upd_zoo.sources.grouping import grouped

    found = grouped(names)
    terminal.say(f"{counted(len({*found.subjects.values()}), 'subject')}, told apart by {found.by}")
    return found.subjects


def _document(found: "Calibrated", folder: Path) -> dict[str, Any]:
    return {
        "artefact": str(folder),
        **found.promise._asdict(),
        "before": found.before,
        "drift": found.drift,
        "images": found.images,
        "warned": found.warned,
        "failed": {name: {"code": str(error.code), "message": str(error)} for name, error in found.failed.items()},
    }


def _lines(found: "Calibrated") -> list[str]:
    """Return for people what came of a calibration."""
    kept = found.promise
    lines = [
        f"threshold {kept.threshold:.6g}, before {found.before:.6g}; from {kept.cases} healthy subjects",
        f"of new healthy cases like these, {kept.expected:.1%} are expected above it, and at most {kept.at_most:.1%} "
        "(95 % confidence)",
    ]
    if found.drift is not None:
        lines.append(
            "warning: these images are not like those that the model knew: their median score lies at percentile "
            f"{found.drift:.0f} of its healthy ones, and 50 is expected. Another scanner does that, or a model that "
            "has learnt from the same images. Look at some maps before you trust it."
        )
    if found.warned:
        lines.append(f"warning: {found.warned} are doubtful; upd-zoo score says why")
    named = list(found.failed.items())
    lines += [f"  {name} ({error.code}): {error}" for name, error in named[:_NAMED]]
    return lines + [f"  and {len(named) - _NAMED} more that cannot be read"] * (len(named) > _NAMED)
