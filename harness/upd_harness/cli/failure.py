"""What ended a command, as a line for people and as an object for programs."""

import errno
import re
from dataclasses import dataclass
from typing import Any, Final

from upd_zoo.errors import InputError, UpdZooError

SCHEMA: Final = "upd-zoo/error/1"
INTERRUPTED: Final = 130
_SYSTEM, _INTERRUPT = "system", "interrupted"
_NO_ROOM: Final = "make room there, or choose a folder elsewhere, and type the command again"
_NOT_OURS: Final = "choose a folder that you may write to"
_STEPS: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _NOT_OURS),
}
"""What helps against what the system refuses, by its number."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a command.

    Attributes:
        code: Its kind in a word, such as `not-found`; of an input, why it cannot be used.
        exit_code: What the command ends with.
        message: What was wrong, as a sentence.
        accepted: What would have been right; may be empty.
        do_this: What to type or do next; may be empty.
        line: All of it for people.
    """

    code: str
    exit_code: int
    message: str
    line: str
    accepted: str = ""
    do_this: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Return what ended a command by an error of upd-zoo, by one of the operating system, or by an interrupt."""
        if isinstance(error, UpdZooError):
            kind = error.code if isinstance(error, InputError) else _kind_of(type(error))
            told = (error.message, f"error: {error}", error.accepted, error.next_step)
            return cls(kind, error.exit_code, *told)
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            message, step = f"{where}{error.strerror or error}.", _STEPS.get(error.errno or 0, "")
            line = f"error: {message} Do this: {step}." if step else f"error: {message}"
            return cls(_SYSTEM, UpdZooError.exit_code, message, line, do_this=step)
        message = ": ".join((_INTERRUPT, *map(str, error.args)))
        return cls(_INTERRUPT, INTERRUPTED, message, message)

    @property
    def document(self) -> dict[str, Any]:
        """The object for programs."""
        names = ("code", "exit_code", "message", "accepted", "do_this")
        return {"schema": SCHEMA, "error": {name: getattr(self, name) for name in names}}


def _kind_of(kind: type[UpdZooError]) -> str:
    """Return the name of a kind of error in words of small letters, without "error" at its end."""
    words = re.findall("[A-Z][a-z]*", kind.__name__ if kind is not UpdZooError else "Error")
    return "-".join(words[:-1] or words).lower()
