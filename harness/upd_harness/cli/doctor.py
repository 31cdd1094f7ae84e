"""The commands `upd-zoo doctor` and `upd-zoo doctor data`."""

from typing import Annotated

import typer

from upd_harness.cli.options import CacheDir, Data, HubOption, command
from upd_harness.cli.terminal import Terminal
from upd_harness.cli.usage import Program
from upd_harness.report.text import facts
from upd_zoo.errors import ToleranceError
from upd_zoo.vocabulary import STUDY_SIDE, Protocol

doctor = typer.Typer(cls=Program, rich_markup_mode=None, help="Look through this machine, or through prepared stores.")


@doctor.callback(invoke_without_command=True)
@command
def examine_machine(
    context: typer.Context, hub: HubOption = None, cache_dir: CacheDir = None, *, terminal: Terminal
) -> None:
    """Show what this machine has: versions, devices, hub, cache and data folders."""
    if context.invoked_subcommand is not None:
        return
    from upd_harness.checks.machine import examine

    known = examine(hub, cache_dir)
    terminal.data(known, facts(known, terminal.width))


@doctor.command("data")
@command
def examine_data(
    domain: Annotated[
        str, typer.Argument(metavar="DOMAIN", help="Domain, such as idrid; its test sets are checked too.")
    ],
    data: Data = None,
    protocol: Annotated[Protocol, typer.Option("--protocol", help="study or sound.")] = Protocol.SOUND,
    side: Annotated[int, typer.Option("--side", help="Height and width of their images in pixels.")] = STUDY_SIDE,
    *,
    terminal: Terminal,
) -> int:
    """Look through the prepared stores of a domain.

    Reported are shared subjects, repeated, empty, bright or turned images, and
    tests in which view, sex, site or a figure of the whole image tells the
    diseased. Exit code 8 if any.
    """
    from upd_harness.checks.stores import as_document, as_text, check, stores_to_check
    from upd_zoo.stores.places import data_folder
    from upd_zoo.vocabulary import get_domain, side_of

    stores = stores_to_check(data_folder(data), get_domain(domain), protocol, side_of(side))
    with terminal.bar("checking") as advance:
        findings = check(stores, advance)
    terminal.data(as_document(stores, findings), as_text(stores, findings))
    return ToleranceError.exit_code if findings else 0
