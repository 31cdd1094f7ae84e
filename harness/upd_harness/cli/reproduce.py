"""The command `upd-zoo reproduce`."""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.options import Data, command
from upd_harness.cli.terminal import Terminal


@command
def reproduce(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="table-i or fig-1.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for its files; default: none are written.")
    ] = None,
    data: Data = None,
    *,
    terminal: Terminal,
) -> None:
    """Reproduce a table or figure of the study.

    What was measured here stands beside what the study printed.
    """
    from upd_harness.reproduce import reproduce as made_again
    from upd_harness.reproduce import write_reproduction
    from upd_zoo.stores.places import data_folder

    with terminal.bar(f"reproducing {item}") as advance:
        result = made_again(item, data_folder(data), advance)
    paths = write_reproduction(result, output) if output is not None else []
    terminal.data(result.document, "\n".join((result.text, *(["", *map(str, paths)] if paths else []))))
