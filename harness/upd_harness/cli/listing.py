"""The command `upd-zoo list`."""

from typing import Annotated, Final

import typer

from upd_harness.cli.fetching import asking
from upd_harness.cli.options import Place, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import legible, table


@command
def list_models(
    method: Annotated[str | None, typer.Option(help="Only this method, by name or title.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain, or the domain of this test set.")] = None,
    *,
    place: Place,
    terminal: Terminal,
) -> None:
    """List the models of a hub."""
    from dataclasses import asdict

    from upd_zoo.hub.hub import DEFAULT_HUB

    hub = place.open()
    with asking(hub, terminal):
        rows = list(hub.catalogue().filter(method, domain))
    if not rows:
        source = f"By this version's catalogue, {hub.location}" if hub.location == DEFAULT_HUB else hub.location
        terminal.say(f"{source} holds {'no such model.' if method or domain else _NO_MODEL}")
    listed = [
        tuple(map(legible, (row.id, row.revision, row.title, row.domain, row.pretrain or "", ", ".join(row.labels))))
        for row in rows
    ]
    header = ("model", "revision", "method", "domain", "pre-training", "labels")
    terminal.data([asdict(row) for row in rows], table(header, listed, terminal.width) if rows else "")


_NO_MODEL: Final = "no model yet. upd-zoo train makes one, upd-zoo publish puts it there."
