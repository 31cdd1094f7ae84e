"""The command `upd-zoo phantoms`."""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.making import next_command
from upd_harness.cli.options import command
from upd_harness.cli.terminal import Terminal, when_interrupted


@command
def phantoms(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="A synthetic domain, such as phantom-t2.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Number of intact files.")] = 6,
    *,
    terminal: Terminal,
) -> None:
    """Write a folder of phantom files to score.

    Every second one is diseased, and one more is broken.
    """
    from upd_zoo.phantoms.files import write_phantom_files
    from upd_zoo.progress import Progress

    paths: list[str] = []
    with when_interrupted("files that are whole are kept"), terminal.bar("drawing") as advance:
        for path in write_phantom_files(domain, output, count):
            paths.append(str(path))
            advance(Progress("", len(paths), count + 1, path.name))
    terminal.say(next_command("upd-zoo", "score", output, "-m", "MODEL", "-o", f"out/scores/{domain}"))
    terminal.data({"files": paths}, "\n".join(paths))
