"""The command `upd-zoo pull`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.cli.fetching import described, fetch, formats_of
from upd_harness.cli.options import Format, Origin, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import table


@command
def pull(
    origin: Origin,
    formats: Format = "onnx",
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is in the cache already.")] = False,
    *,
    terminal: Terminal,
) -> None:
    """Fetch a model, or those of a bundle, and check the files.

    The SHA-256 of every file is held against the manifest before any is used. Of a model that lies in this package,
    nothing is fetched.
    """
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CARD, CONFIG, Config
    from upd_zoo.hub.bundle import SUFFIX
    from upd_zoo.runtime.folder import FILES, RECORDS

    chosen = formats_of(formats)
    if origin.model.endswith(SUFFIX):
        _take_in(origin, terminal)
        return
    names = None if {*FILES} == {*chosen} else (*RECORDS, CARD, *(name for each in chosen for name in FILES[each]))
    pulled = fetch(origin, names, terminal, force)
    if pulled.packaged:
        terminal.say(f"{origin.name} lies in this package; nothing was fetched, and its files are right")
    terminal.say(described(read_record(pulled.folder / CONFIG, Config), origin.name))
    answer = {"folder": str(pulled.folder), "revision": pulled.revision, "packaged": pulled.packaged}
    terminal.data(answer, str(pulled.folder))


def _take_in(origin: Origin, terminal: Terminal) -> None:
    """Put the models of a bundle into the cache, and say where they lie."""
    from upd_zoo.hub.bundle import unpack

    path, hub = Path(origin.model), origin.open()
    with terminal.bar(f"taking in {path.name}") as report:
        found = unpack(path, hub, report)
    rows = [(str(each.model), str(each.folder)) for each in found]
    terminal.say(f"without a network, they are found as if they had been pulled from {hub.location}")
    terminal.data({"models": [{"model": name, "folder": folder} for name, folder in rows]}, table(_COLUMNS, rows))


_COLUMNS: Final = ("model", "folder")
