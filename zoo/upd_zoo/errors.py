"""Every error that upd-zoo raises on purpose, and the exit code each one ends a command with.

    UpdZooError             1  an error with an explanation
    ├── UsageError          2  the request itself cannot be carried out
    ├── InputError          3  one input file cannot be used; the others go on
    ├── NotFoundError       4  no such model, revision, file or data set
    ├── IntegrityError      5  bytes are not what their manifest says
    ├── OfflineError        6  the network is needed and not to be had
    ├── MissingExtraError   7  an optional dependency is not installed
    └── ToleranceError      8  numbers lie outside their stated tolerance

Anything else that escapes is a bug and keeps its traceback.

An error speaks in three beats: what was wrong with the value, what is accepted, what to do next. It is read as whole
sentences: "No device is called 'tpu'. Accepted: auto, cpu or cuda. Do this: upd-zoo doctor."
"""

import difflib
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar


class UpdZooError(Exception):
    """An error with an explanation that fits on one line.

    Args:
        problem: What was wrong, with the offending value, as a sentence; a capital and a full stop are put where they
            are missing.
        accepted: What would have been right, as it goes on from "Accepted:"; or a question; may be empty.
        next_step: What to type or do next, as it goes on from "Do this:"; may be empty.
    """

    exit_code: ClassVar[int] = 1
    _begins_with_a_name: ClassVar[bool] = False

    def __init__(self, problem: str, accepted: str = "", next_step: str = "") -> None:
        self.problem, self.accepted, self.next_step = problem, accepted, next_step
        beats = (("", problem), ("Accepted: ", accepted), ("Do this: ", next_step))
        sentences = [_sentence(opening, beat) for opening, beat in beats if beat]
        super().__init__(" ".join(sentences if self._begins_with_a_name else (_capital(sentences[0]), *sentences[1:])))

    @property
    def message(self) -> str:
        """The first beat as a sentence."""
        sentence = _sentence("", self.problem)
        return sentence if self._begins_with_a_name else _capital(sentence)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error cross to another process, whatever arguments its class takes."""
        return _restored, (type(self), str(self), self.__dict__)


_WORD = re.compile(r"[a-z]+(?=[ ,;]|\.?$)")
"""What gets a capital where it begins a sentence; a name such as `scan.nii.gz` or `vae-idrid` keeps its letters."""


def _sentence(opening: str, beat: str) -> str:
    """Return a beat on one line as a sentence; a question needs no opening."""
    text = " ".join(beat.split()).rstrip(".")
    if opening and not text.endswith("?"):
        return f"{opening}{text}."
    text = _capital(text) if opening else text
    return text if text.endswith("?") else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if _WORD.match(text) else text


def _restored(kind: type[UpdZooError], message: str, state: dict[str, Any]) -> UpdZooError:
    error = kind.__new__(kind, message)
    error.__dict__ |= state
    return error


class UsageError(UpdZooError):
    """The request itself cannot be carried out: a bad option, or a full output folder."""

    exit_code = 2


class InputErrorCode(StrEnum):
    """Why one input file cannot be used; written to `results.jsonl` as `error.code`."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    CHANNELS = "channels"
    GEOMETRY = "geometry"
    NOT_FINITE = "not-finite"
    EMPTY = "empty"
    IMPLAUSIBLE = "implausible"
    UNWRITABLE = "unwritable"


class InputError(UpdZooError):
    """One input file cannot be used.

    Args:
        code: The reason, for programs.
        problem: The reason, for people. It begins with the name of a file or comes to stand behind one, and so gets no
            capital.
        accepted: What would have been right.
        next_step: What to do next.
    """

    exit_code = 3
    _begins_with_a_name = True

    def __init__(self, code: InputErrorCode, problem: str, accepted: str = "", next_step: str = "") -> None:
        self.code = code
        super().__init__(problem, accepted, next_step)


class NotFoundError(UpdZooError):
    """No such model, revision, file or data set."""

    exit_code = 4


class IntegrityError(UpdZooError):
    """Bytes are not what their manifest says; nothing of them was used."""

    exit_code = 5


class OfflineError(UpdZooError):
    """The network is needed and not to be had."""

    exit_code = 6


class MissingExtraError(UpdZooError):
    """An optional dependency is not installed.

    Args:
        purpose: What needs it, as the start of a sentence.
        extra: The extra of upd-zoo that brings it, such as `train`.
    """

    exit_code = 7

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}'", "", f"pip install 'upd-zoo[{extra}]'")


class ToleranceError(UpdZooError):
    """Numbers lie outside their stated tolerance."""

    exit_code = 8


_NAMED = 16
"""How many known names an error lists where none is near."""
_NEAR, _MOST = 0.5, 3
ALIKE = 0.05
"""How much less alike than the nearest a name may be, by the ratio of difflib, to be offered beside it."""


def fold(name: str) -> str:
    """Return a name in the form in which names are compared: case and the kind of dash between words do not count."""
    return name.casefold().replace("_", "-").replace(" ", "-")


def did_you_mean(names: Iterable[str]) -> str:
    """Return names as a question, for what is accepted in place of a wrong one."""
    return f"did you mean {' or '.join(names)}?"


def closest(value: str, known: Iterable[str]) -> str:
    """Return the known names nearest to `value` as a question such as "did you mean a or b?", or else all of them."""
    names = sorted(known)
    folded = {fold(name): name for name in names}
    wanted = fold(value)
    near = [wanted] if wanted in folded else _nearest(wanted, folded)
    if near:
        return did_you_mean(folded[name] for name in near)
    if not names:
        return "nothing, for none is known"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the names most like the one wanted, and those that are next to as much."""
    likeness = {name: difflib.SequenceMatcher(None, wanted, name).ratio() for name in names}
    least = max(_NEAR, max(likeness.values(), default=0.0) - ALIKE)
    return sorted((name for name in likeness if likeness[name] >= least), key=lambda name: (-likeness[name], name))[
        :_MOST
    ]
