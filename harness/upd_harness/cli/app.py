"""The program `upd-zoo` before it has commands: its name, its help, its version; and programs of one command."""

import os
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from upd_harness.cli.usage import Program
from upd_zoo.errors import UsageError

_PLAIN: Final[dict[str, Any]] = {
    "pretty_exceptions_enable": False,  # a traceback in boxes cannot be copied
    "rich_markup_mode": None,  # halves the time of --help
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(
    name="upd-zoo",
    cls=Program,
    help="Models for unsupervised pathology detection: make, find, pull, score, evaluate. Research only.",
    **_PLAIN,
    epilog=(
        "Exit codes: 0 done, 1 error, 2 usage, 3 some inputs failed, 4 not found, 5 integrity, 6 offline, "
        "7 optional dependency missing, 8 outside tolerance, 130 interrupted."
    ),
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    # The Hub's library reads its variables when it is imported. It tells of every new try by a warning; what comes of
    # them is told here, in one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if version:
        from upd_zoo import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_code)


def run_alone(command: Callable[..., Any]) -> None:
    """Run a program that has one command, as plain as `upd-zoo`."""
    alone = typer.Typer(add_completion=False, **_PLAIN)
    alone.command()(command)
    alone()
