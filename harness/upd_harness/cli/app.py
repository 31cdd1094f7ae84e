"""The program `upd-zoo` before it has commands: its name, its help, its version."""

import os
from typing import Annotated

import typer

app = typer.Typer(
    name="upd-zoo",
    help="Models for unsupervised pathology detection: find, pull, score, evaluate. Research only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # halves the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 error, 2 usage, 3 some inputs failed, 4 not found, 5 integrity, 6 offline, "
        "7 optional dependency missing, 8 outside tolerance, 130 interrupted."
    ),
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    # The Hub's library reads its variables when it is imported. It tells of every new try by a warning; what comes of
    # them is told here, in one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if version:
        from upd_zoo import __version__

        typer.echo(__version__)
        raise typer.Exit
