"""The command `upd-zoo pull`."""

from typing import Annotated

import typer

from upd_harness.cli.fetching import fetch
from upd_harness.cli.options import Origin, command
from upd_harness.cli.terminal import Terminal
from upd_zoo.errors import UsageError


@command
def pull(
    origin: Origin,
    formats: Annotated[str, typer.Option("--format", help="onnx, torchscript, torch or all.")] = "onnx",
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is in the cache already.")] = False,
    *,
    terminal: Terminal,
) -> None:
    """Fetch a model, check its files, and print their folder.

    The SHA-256 of every file is held against the manifest before any is used. Of a model that lies in this package,
    nothing is fetched.
    """
    from upd_zoo.artefact.records import CARD
    from upd_zoo.runtime.folder import FILES, RECORDS

    if formats != "all" and formats not in FILES:
        raise UsageError(f"no format is called '{formats}'", ", ".join((*FILES, "all")))
    names = None if formats == "all" else (*RECORDS, CARD, *FILES[formats])
    pulled = fetch(origin, names, terminal, force)
    if pulled.packaged:
        terminal.say(f"{origin.name} lies in this package; nothing was fetched, and its files are right")
    answer = {"folder": str(pulled.folder), "revision": pulled.revision, "packaged": pulled.packaged}
    terminal.data(answer, str(pulled.folder))
