"""Make the artefact of a finished run: safetensors, TorchScript, ONNX, calibration, card and manifest.

python scripts/export.py out/runs/vae-phantom-t2 --out out/artefacts/vae-phantom-t2
"""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.terminal import Terminal, reports_errors, table
from upd_zoo.artefact import CONFIG, Config, read_record
from upd_zoo.data.sources import data_folder, store_path
from upd_zoo.data.store import Store
from upd_zoo.export import export_artefact


@reports_errors
def main(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="Folder of the artefact.")],
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
) -> None:
    """Make the artefact of a finished run."""
    config = read_record(run / CONFIG, Config)
    validation = Store(store_path(data_folder(data), config.domain, "validation", config.protocol))
    terminal = Terminal()
    manifest = export_artefact(run, validation, out, lambda stage: terminal.say(f"{config.id}: {stage}"))
    rows = [
        (row.format, str(row.batch), f"{row.map_difference:.1e}", f"{row.score_difference:.1e}")
        for row in manifest.parity
    ]
    terminal.say(table(("format", "batch", "map", "score"), rows))
    terminal.data(manifest.model_dump(mode="json", by_alias=True), str(out))


if __name__ == "__main__":
    typer.run(main)
