"""What the command line says: data to stdout, talk and progress to stderr, errors in one line with an exit code."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec

from upd_zoo.errors import UpdZooError

Arguments = ParamSpec("Arguments")
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Terminal:
    """How talkative a command is.

    Attributes:
        as_json: Whether stdout carries JSON instead of text.
        quiet: Whether nothing but data and errors is said.
        progress: Whether bars are drawn; only ever on a terminal.
    """

    as_json: bool = False
    quiet: bool = False
    progress: bool = True

    def data(self, value: Any, text: str) -> None:
        """Write the answer of a command: `value` as JSON, or `text`."""
        answer = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) if self.as_json else text
        if answer:
            sys.stdout.write(answer + "\n")

    def say(self, text: str) -> None:
        """Write a line of talk."""
        if not self.quiet:
            sys.stderr.write(text + "\n")

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Give a function (done, total) that draws a progress bar."""
        if self.quiet or not self.progress or not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text in aligned columns under their header."""
    widths = [max(len(str(row[column])) for row in (header, *rows)) for column in range(len(header))]
    lines = (
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
    return "\n".join(lines)


def reports_errors(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Turn the errors that upd-zoo raises on purpose into one line and an exit code; a bug keeps its traceback.

    So do those of the operating system, such as a full disk: they are nobody's bug.
    """

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except UpdZooError as error:
            sys.stderr.write(f"error: {error}\n")
            code = error.exit_code
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: what is finished is kept; --continue goes on with it\n")
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone, as `upd-zoo list | head` does; the rest is nobody's.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            sys.stderr.write(f"error: {where}{error.strerror or error}.\n")
            code = UpdZooError.exit_code
        raise SystemExit(code or 0)

    return wrapped
