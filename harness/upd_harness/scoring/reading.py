"""Inputs read as a model takes them: every one is a case, or is refused with a reason, and none ends the run."""

import time
from dataclasses import dataclass
from typing import Final

from upd_harness.scoring.cases import Case
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.panel import Panel, Scorer
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import hashes_of_what_is_read

AGAIN: Final = "add --continue to try it again"


@dataclass(frozen=True, slots=True)
class Opened:
    """One input, read or refused.

    Attributes:
        source: The input.
        sha256: Of what was read of it.
        scorer: The model that scores it; None where it is refused.
        case: What the model sees of it.
        error: Why it is refused.
        seconds: How long that took.
    """

    source: Input
    sha256: str | None
    scorer: Scorer | None
    case: Case | None
    error: InputError | None
    seconds: float

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""
        return 0 if self.case is None else self.case.nbytes


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads inputs for the models of a run.

    Attributes:
        panel: What scores them.
    """

    panel: Panel

    def open(self, source: Input) -> Opened:
        """Read one input as the model that scores it takes it."""
        began = time.monotonic()
        try:
            if source.refusal is not None:
                raise source.refusal
            with hashes_of_what_is_read() as hashes:
                chosen = self.panel.open(source)
            return Opened(source, source.sha256_of(hashes), *chosen, None, time.monotonic() - began)
        except InputError as error:
            refusal = error
        except MemoryError:
            refusal = out_of_memory(source)
        except OSError as error:
            problem = f"{source.files[0].name}: it disappeared while it was being read ({error.strerror})"
            refusal = InputError(InputErrorCode.UNREADABLE, problem, "", AGAIN)
        return Opened(source, None, None, None, refusal, time.monotonic() - began)


def out_of_memory(source: Input) -> InputError:
    """Return the error of an input that is too large for this machine."""
    problem = f"{source.files[0].name}: it needs more memory than is available"
    return InputError(InputErrorCode.TOO_LARGE, problem, "", "lower UPD_ZOO_MAX_INPUT_BYTES or add memory")
