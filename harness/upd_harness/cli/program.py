"""The program `upd-zoo`: thin calls of the library, one file per command.

Nothing heavy is imported before a command needs it, so that `--help` and `list` answer at once.
"""

import sys
import warnings
from io import TextIOWrapper

from upd_harness.cli.app import app
from upd_harness.cli.bench import bench
from upd_harness.cli.bundle import bundle
from upd_harness.cli.cache import cache
from upd_harness.cli.calibrate import calibrate
from upd_harness.cli.compare import compare
from upd_harness.cli.doctor import doctor
from upd_harness.cli.evaluate import evaluate
from upd_harness.cli.examples import examples
from upd_harness.cli.export import export
from upd_harness.cli.grid import grid
from upd_harness.cli.info import info
from upd_harness.cli.listing import list_models
from upd_harness.cli.phantoms import phantoms
from upd_harness.cli.prepare import prepare
from upd_harness.cli.pretrain import pretrain
from upd_harness.cli.publish import publish
from upd_harness.cli.pull import pull
from upd_harness.cli.reproduce import reproduce
from upd_harness.cli.score import score
from upd_harness.cli.train import train
from upd_harness.cli.verify import verify

__all__ = ["app", "main"]

app.command("list")(list_models)
_USING = (info, pull, bundle, verify, examples, score, evaluate, compare, calibrate, bench)
_MAKING = (prepare, pretrain, train, export, publish, grid, phantoms, reproduce)
for verb in (*_USING, *_MAKING):
    app.command()(verb)
app.add_typer(doctor, name="doctor")
app.add_typer(cache, name="cache")


def main() -> None:
    """Run the program."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what no encoding has
    warnings.formatwarning = _as_line
    app()


def _as_line(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 - the signature is that of `warnings.formatwarning`
    filename: str,  # noqa: ARG001
    lineno: int,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> str:
    """Return a warning without the line of code that it came from, which tells its reader nothing."""
    return f"warning: {message}\n"
