"""What the command line says: data to stdout, talk and progress to stderr, errors in one line with an exit code."""

import functools
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Final, ParamSpec

import typer

from upd_harness.cli.failure import Failure
from upd_harness.report.text import legible, legible_json
from upd_zoo.errors import UpdZooError
from upd_zoo.files import megabytes
from upd_zoo.progress import Progress, Report, silent

Arguments = ParamSpec("Arguments")
_FIRST_LINE: Final = 2.0
"""Seconds after which work without a terminal says how far it is; then twice as many each time."""
_LONGEST_SILENCE: Final = 60.0
_SILENCE: Final = 10.0
"""Seconds after which work that waits for others says again that it does."""
_LAYOUT: Final = "\n\t"
_ANSWERED: Final = ContextVar("whether the answer of the command has been written", default=False)
_NOTE: Final = 24
"""Characters of a note beside a bar: a longer one would leave no bar on a narrow terminal."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """How talkative a command is.

    It is the group of options that every command takes.

    Attributes:
        as_json: Whether stdout carries JSON instead of text.
        quiet: Whether nothing but data and errors is said.
        verbose: Whether it is told what is asked and found, and where errors arose.
        no_progress: Whether no progress is shown; else it is a bar on a terminal, a line now and then elsewhere.
    """

    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print data and errors only.")] = False
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what is asked, and where errors arose.")] = (
        False
    )
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Hide progress.")] = False

    def data(self, value: Any, text: str) -> None:
        """Write the answer of a command: `value` as JSON, or `text`."""
        _ANSWERED.set(True)
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

    def tell(self, text: Callable[[], str]) -> None:
        """Write a line for who looks for a fault; the text is made only then."""
        if self.verbose:
            sys.stderr.write(legible(text(), _LAYOUT) + "\n")

    def fail(self, failure: Failure) -> int:
        """Write the error that is being handled, and return its exit code.

        A program that asked for JSON gets one object: the error, unless an answer has already been written.
        """
        if self.verbose:
            sys.stderr.write(legible(traceback.format_exc(), _LAYOUT))
        if self.as_json and not _ANSWERED.get():
            self.data(failure.document, "")
        else:
            sys.stderr.write(legible(failure.line) + "\n")
        return failure.exit_code

    @property
    def width(self) -> int | None:
        """Signs in a line of the answer: those of a terminal, or what `COLUMNS` says; None in a pipe and in a file."""
        asked = os.environ.get("COLUMNS", "")
        if asked.isascii() and asked.isdigit() and int(asked):
            return int(asked)
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    @contextmanager
    def waiting(self, text: Callable[[float], str]) -> Iterator[Callable[[], None]]:
        """Say a line should nothing be heard for long, and then again and again; give what to call when something is.

        Args:
            text: Of the seconds for which nothing was heard.
        """
        heard, ended = [time.monotonic()], threading.Event()

        def watch() -> None:
            last, due = heard[0], _FIRST_LINE
            while not ended.wait(max(0.0, last + due - time.monotonic())):
                if heard[0] != last:
                    last, due = heard[0], _SILENCE
                    continue
                self.say(text(due))
                due = _SILENCE if due < _SILENCE else due + _SILENCE

        def hear() -> None:
            heard[0] = time.monotonic()

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield hear
        finally:
            ended.set()

    @contextmanager
    def bar(self, work: str, *, in_bytes: bool = False) -> Iterator[Report]:
        """Give a function that shows how far a piece of work is.

        Args:
            work: What it is called.
            in_bytes: Whether bytes are counted, which come steadily, so that a line tells how long the rest may take.
        """
        if self.quiet or self.no_progress:
            yield silent
            return
        if not sys.stderr.isatty():
            yield self._lines(work, in_bytes)
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        text = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
        far = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (text[0], BarColumn(), far, TimeRemainingColumn(), text[1])
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(work, total=None, note="")

            def show(now: Progress) -> None:
                described = legible(_named(work, now))
                bar.update(
                    task, completed=now.done, total=now.total, description=described, note=_short(legible(now.note))
                )

            yield show

    def _lines(self, work: str, in_bytes: bool) -> Report:
        """Return a function that says a line now and then, ever less often."""
        began = time.monotonic()
        due = _FIRST_LINE
        first, since = Progress("", 0, 0), began

        def show(now: Progress) -> None:
            nonlocal due, first, since
            passed = time.monotonic() - began
            more = in_bytes and now.total != first.total  # has become known, and a part may have been there before
            if more:
                first, since = now, time.monotonic()
            if passed >= due and not more:
                due = passed + min(passed, _LONGEST_SILENCE)
                done, total = (megabytes(each) if in_bytes else str(each) for each in (now.done, now.total))
                rest = _rest(now, first, time.monotonic() - since) if in_bytes else ""
                self.say(f"{_named(work, now)}: {done} of {total} after {passed:.0f} s{rest}")

        return show


def _rest(now: Progress, first: Progress, passed: float) -> str:
    """Return how long the rest takes if it comes as what came within some seconds; nothing where nothing came."""
    come = now.done - first.done
    return f", about {(now.total - now.done) * passed / come:.0f} s more" if come > 0 else ""


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
    _ANSWERED.set(False)
    try:
        code = work()
    except BrokenPipeError:
        # The reader of our output has gone, as `upd-zoo list | head` does; the rest is nobody's.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (UpdZooError, KeyboardInterrupt, OSError) as error:
        code = terminal.fail(Failure.of(error))
    if code:
        raise SystemExit(code)


def reports_errors(command: Callable[Arguments, int | None]) -> Callable[Arguments, None]:
    """Let `finish` do the work of a command that has no options for what it says."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        finish(functools.partial(command, *args, **kwargs), Terminal())

    return wrapped
