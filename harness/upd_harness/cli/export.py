"""The command `upd-zoo export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upd_harness.cli.making import ARTEFACT, needs_train, next_command, options
from upd_harness.cli.options import Data, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import table
from upd_zoo.errors import NotFoundError
from upd_zoo.names import ModelId
from upd_zoo.stores.domains import UNNAMED

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Manifest


@command
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the artefact; default: RUN/artefact.")
    ] = None,
    data: Data = None,
    *,
    terminal: Terminal,
) -> None:
    """Make the artefact of a finished run.

    It holds safetensors, TorchScript, ONNX, calibration, card and manifest.
    """
    artefact = run / ARTEFACT if output is None else output
    manifest = make_artefact(run, artefact, data, terminal)
    say_what_follows(artefact, manifest.id, data, terminal)
    terminal.data(
        {"artefact": str(artefact), "manifest": manifest.model_dump(mode="json", by_alias=True)}, str(artefact)
    )


def make_artefact(run: Path, artefact: Path, data: Path | None, terminal: Terminal) -> "Manifest":
    """Make the artefact of a run, and say how near its formats are to each other.

    Raises:
        NotFoundError: There is no finished run, or no validation store.
    """
    with needs_train("Exporting"):
        from upd_zoo.export import export_artefact
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CALIBRATION, CONFIG, WEIGHTS, Config
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import FACTS, Store

    if not (run / CONFIG).is_file():
        raise NotFoundError(f"there is no run in {run}", f"a folder with a {CONFIG}", f"upd-zoo train {run.name}")
    if not (run / WEIGHTS).is_file():
        raise NotFoundError(f"the run {run} is not finished", "one that is", "upd-zoo train with --continue")
    config = read_record(run / CONFIG, Config)
    known = config.protocol, config.input.side
    validation, training = (
        store_path(data_folder(data), config.domain, part, *known) for part in ("validation", "train")
    )
    seen = Store(training) if (training / FACTS).is_file() else None
    kept = "nothing was written; an older artefact stands as it was"
    with when_interrupted(kept), terminal.bar(f"exporting {config.id}") as advance:
        by = seen if seen is not None and (run / CALIBRATION).is_file() else Store(validation)
        manifest = export_artefact(run, by, artefact, advance, seen)
    terminal.say(_agreement(manifest, terminal.width))
    return manifest


def _agreement(manifest: "Manifest", width: int | None) -> str:
    """Return how near the formats are to the model: a line for whose images are his own, else a table."""
    if _is_unnamed(manifest.id):
        worst = max((row.map_difference / row.map_range for row in manifest.parity if row.map_range), default=0.0)
        formats = ", ".join(dict.fromkeys(row.format for row in manifest.parity))
        return f"checked: {formats} give the model's maps, to {worst:.1g} of their range"
    rows = [
        (row.format, str(row.batch), f"{row.map_difference:.1e}", f"{row.score_difference:.1e}")
        for row in manifest.parity
    ]
    return table(("format", "batch", "map", "score"), rows, width)


def _is_unnamed(name: str) -> bool:
    """Return whether a model is of images without a name of their own; each user has another of that name."""
    return name.endswith(f"-{UNNAMED}")


def say_what_follows(artefact: Path, name: str, data: Path | None, terminal: Terminal) -> None:
    """Say what can be done with an artefact: it is measured before it is published, where there is a test set."""
    from upd_zoo.hub.checks import test_sets_of

    terminal.say(next_command("upd-zoo", "score", "FOLDER", "-m", artefact, "-o", f"out/scores/{name}"))
    if _is_unnamed(name):
        return
    tests = test_sets_of(ModelId.parse(name))
    if tests:
        into = ("--test-set", tests[0], "--into", "-o", f"out/evaluation/{name}", *options(data=data))
        terminal.say(next_command("upd-zoo", "evaluate", "-m", artefact, *into))
    terminal.say(next_command("upd-zoo", "publish", artefact, "--hub", "out/hub", *([] if tests else ["--force"])))
