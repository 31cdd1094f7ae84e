"""The command `upd-zoo examples`."""

import shlex
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.cli.options import command
from upd_harness.cli.terminal import Terminal
from upd_zoo.errors import NotFoundError, UsageError

_PLACES: Final = (Path(__file__).parents[1] / "examples", Path(__file__).parents[3] / "cards" / "examples")
"""In an installed package, and in a checkout, where they are shown with the cards."""


@command
def examples(
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder for them.")] = Path("upd-zoo-examples"),
    *,
    terminal: Terminal,
) -> None:
    """Write a few open images to try the packaged models on.

    Four of each kind, two of them healthy, none of which a packaged model has learnt from. README.md beside them says
    where they are from, what was changed, and under which licence they come.
    """
    source = next((place for place in _PLACES if place.is_dir()), None)
    if source is None:
        raise NotFoundError("this installation has no example images", "", "install upd-zoo again")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is there already, and not empty", "a new folder", "name another with -o")
    # Who scores them in a checkout has the results beside them.
    shutil.copytree(source, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-upd-zoo"))
    files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    then = f"upd-zoo score {shlex.quote(str(output))}"
    folders = sorted({name.partition("/")[0] for name in files if "/" in name})
    text = f"{len(files)} files in {output}: {', '.join(folders)}, and README.md with their sources\nthen type: {then}"
    terminal.data({"folder": str(output), "files": files, "then": then}, text)
