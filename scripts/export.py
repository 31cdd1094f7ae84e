"""Make the artefact of a finished run: safetensors, TorchScript, ONNX, calibration, card and manifest.

python scripts/export.py out/runs/vae-phantom-t2 --out out/artefacts/vae-phantom-t2
"""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.making import next_command
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_harness.report.text import table
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.errors import NotFoundError
from upd_zoo.export import export_artefact
from upd_zoo.stores.places import data_folder, store_path
from upd_zoo.stores.store import FACTS, Store

_PARTS = ("train", "validation")


@reports_errors
def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
) -> None:
    """Make the artefact of a finished run."""
    if not (run / CONFIG).is_file():
        raise NotFoundError(
            f"there is no finished run in {run}", f"a folder with a {CONFIG}", f"make train MODEL={run.name}"
        )
    config = read_record(run / CONFIG, Config)
    stores = {part: store_path(data_folder(data), config.domain, part, config.protocol) for part in _PARTS}
    validation = Store(stores["validation"])
    training = Store(stores["train"]) if (stores["train"] / FACTS).is_file() else None
    terminal = Terminal()
    kept = "nothing was written; an older artefact stands as it was"
    with when_interrupted(kept), terminal.bar(f"exporting {config.id}") as advance:
        manifest = export_artefact(run, validation, out, advance, training)
    rows = [
        (row.format, str(row.batch), f"{row.map_difference:.1e}", f"{row.score_difference:.1e}")
        for row in manifest.parity
    ]
    terminal.say(table(("format", "batch", "map", "score"), rows))
    terminal.say(next_command("python", "scripts/publish.py", out, "--hub", "out/hub"))
    terminal.say(next_command("upd-zoo", "score", "FOLDER", "-m", out, "-o", f"out/scores/{config.id}"))
    terminal.data(manifest.model_dump(mode="json", by_alias=True), str(out))


if __name__ == "__main__":
    typer.run(main)
