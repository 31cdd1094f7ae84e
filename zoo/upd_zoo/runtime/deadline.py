"""Waiting for work of unknown length, such as a graph that somebody else made: only so long."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

Answer = TypeVar("Answer")
_LAST_WAIT: Final = 2.0
"""Seconds that an interrupted program gives its work to stop: the C++ runtime aborts one that ends in its midst."""


class Overdue(Exception):  # noqa: N818 - it is no error before somebody says what was waited for
    """The work did not end in time."""


def within(seconds: float, work: Callable[[], Answer], give_up: Callable[[], None] | None = None) -> Answer:
    """Return what a piece of work returns, or raise what it raises.

    The work runs in a thread of its own, which no exit of the program waits for: native code cannot be stopped from
    outside.

    Args:
        seconds: How long to wait.
        work: What to do.
        give_up: Called where it takes longer, or is interrupted, to tell the work, which may go on, that nobody waits
            any more.

    Raises:
        Overdue: The work takes longer.
    """
    answers: list[Answer] = []
    failures: list[BaseException] = []
    ended = threading.Event()  # Thread.join of Python 3.11 that was interrupted takes the thread for ended

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # whatever it is, who waits raises it below
            failures.append(error)
        finally:
            ended.set()

    try:
        threading.Thread(target=run, name="upd-zoo work", daemon=True).start()
        ended.wait(seconds)
    except KeyboardInterrupt:
        if give_up is not None:
            give_up()
        ended.wait(_LAST_WAIT)
        raise
    if failures:
        raise failures[0]
    if not answers:
        if give_up is not None:
            give_up()
        raise Overdue
    return answers[0]
