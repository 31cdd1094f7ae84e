"""What the command line says: data to stdout, talk and progress to stderr, errors in one line with an exit code."""

import functools
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, ParamSpec

import typer

from upd_harness.report.text import legible, legible_json
from upd_zoo.errors import UpdZooError
from upd_zoo.progress import Progress, Report, silent

Arguments = ParamSpec("Arguments")
INTERRUPTED: Final = 130
_FIRST_LINE: Final = 2.0
"""Seconds after which work without a terminal says how far it is; then twice as many each time."""
_LONGEST_SILENCE: Final = 60.0
_LAYOUT: Final = "\n\t"
_NOTE: Final = 24
"""Characters of a note beside a bar: a longer one would leave no bar on a narrow terminal."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """How talkative a command is.

    It is the group of options that every command takes.

    Attributes:
        as_json: Whether stdout carries JSON instead of text.
        quiet: Whether nothing but data and errors is said.
        verbose: Whether errors tell where they arose.
        no_progress: Whether no progress is shown; else it is a bar on a terminal, a line now and then elsewhere.
    """

    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print data and errors only.")] = False
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show where an error arose.")] = False
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Hide progress.")] = False

    def data(self, value: Any, text: str) -> None:
        """Write the answer of a command: `value` as JSON, or `text`."""
        if self.as_json:
            answer = legible_json(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
        else:
            answer = legible(text, _LAYOUT)
        if answer:
            sys.stdout.write(answer + "\n")

    def say(self, text: str) -> None:
        """Write a line of talk."""
        if not self.quiet:
            sys.stderr.write(legible(text, _LAYOUT) + "\n")

    def fail(self, text: str, code: int) -> int:
        """Write the error that is being handled, and return its exit code."""
        if self.verbose:
            sys.stderr.write(legible(traceback.format_exc(), _LAYOUT))
        sys.stderr.write(f"error: {legible(text)}\n")
        return code

    @contextmanager
    def bar(self, work: str) -> Iterator[Report]:
        """Give a function that shows how far a piece of work is."""
        if self.quiet or self.no_progress:
            yield silent
            return
        if not sys.stderr.isatty():
            yield self._lines(work)
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        text = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
        columns = (text[0], BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), text[1])
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(work, total=None, note="")

            def show(now: Progress) -> None:
                described = legible(_named(work, now))
                bar.update(
                    task, completed=now.done, total=now.total, description=described, note=_short(legible(now.note))
                )

            yield show

    def _lines(self, work: str) -> Report:
        """Return a function that says a line now and then, ever less often."""
        began = time.monotonic()
        due = _FIRST_LINE

        def show(now: Progress) -> None:
            nonlocal due
            passed = time.monotonic() - began
            if passed >= due:
                due = passed + min(passed, _LONGEST_SILENCE)
                self.say(f"{_named(work, now)}: {now.done} of {now.total} after {passed:.0f} s")

        return show


def _named(work: str, now: Progress) -> str:
    """Return what is at work, and with which part of it."""
    return f"{work}, {now.what}" if now.what else work


def _short(note: str) -> str:
    """Return a note, without its middle where it is long."""
    return note if len(note) <= _NOTE else f"{note[: _NOTE // 2 - 1]}…{note[-_NOTE // 2 :]}"


@contextmanager
def when_interrupted(truth: str) -> Iterator[None]:
    """Say what is true of the work in the block, should its user interrupt it: what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(truth) from None


def finish(work: Callable[[], int | None], terminal: Terminal) -> None:
    """Do the work of a command; tell the errors that upd-zoo raises on purpose in a line, and end with an exit code.

    So are those of the operating system told, such as a full disk: they are nobody's bug. A bug keeps its traceback.
    """
    try:
        code = work()
    except UpdZooError as error:
        code = terminal.fail(str(error), error.exit_code)
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(": ".join(("interrupted", *interrupt.args)) + "\n")
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `upd-zoo list | head` does; the rest is nobody's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = terminal.fail(f"{where}{error.strerror or error}.", UpdZooError.exit_code)
    if code:
        raise SystemExit(code)


def reports_errors(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Let `finish` do the work of a command that has no options for what it says."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        finish(functools.partial(command, *args, **kwargs), Terminal())

    return wrapped
