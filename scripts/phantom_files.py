"""Write a folder of phantom files to score: healthy, diseased, and one that is broken.

python scripts/phantom_files.py phantom-t2 --out out/inputs/phantom-t2
"""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.terminal import Terminal, reports_errors
from upd_zoo.phantoms.files import write_phantom_files


@reports_errors
def main(
    domain: Annotated[str, typer.Argument(help="A synthetic domain, such as phantom-t2.")],
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    count: Annotated[int, typer.Option(min=1, help="How many whole files.")] = 6,
) -> None:
    """Write a folder of phantom files to score."""
    for path in write_phantom_files(domain, out, count):
        Terminal().data(path.name, str(path))


if __name__ == "__main__":
    typer.run(main)
