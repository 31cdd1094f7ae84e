"""Inputs read as a model takes them: every one is a case, or is refused with a reason, and none ends the run."""

import time
from dataclasses import dataclass
from typing import Final

from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.heads import Heads
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.likeness import doubts
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import hashes_of_what_is_read
from upd_zoo.runtime.model import Model

AGAIN: Final = "add --continue to try it again"


@dataclass(frozen=True, slots=True)
class Opened:
    """One input, read or refused.

    Attributes:
        source: The input.
        sha256: Of what was read of it.
        case: What the model sees of it.
        error: Why it is refused.
        seconds: How long that took.
    """

    source: Input
    sha256: str | None
    case: Case | None
    error: InputError | None
    seconds: float

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""
        return 0 if self.case is None else self.case.nbytes


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads inputs for a model.

    Attributes:
        model: What scores them.
        heads: How scans are prepared; None where they are scored as they are.
    """

    model: Model
    heads: Heads | None = None

    def open(self, source: Input) -> Opened:
        """Read one input, and compare it with the healthy images that the model knows."""
        began = time.monotonic()
        try:
            if source.refusal is not None:
                raise source.refusal
            with hashes_of_what_is_read() as hashes:
                case = self._case(source)
            case.cautions.extend(doubts(source, case.images, self.model, levels=case.levels))
            return Opened(source, source.sha256_of(hashes), case, None, time.monotonic() - began)
        except InputError as error:
            refusal = error
        except MemoryError:
            refusal = out_of_memory(source)
        except OSError as error:
            problem = f"{source.files[0].name}: it disappeared while it was being read ({error.strerror})"
            refusal = InputError(InputErrorCode.UNREADABLE, problem, "", AGAIN)
        return Opened(source, None, None, refusal, time.monotonic() - began)

    def _case(self, source: Input) -> Case:
        return open_case(source, self.model.config) if self.heads is None else self.heads.open(source)


def out_of_memory(source: Input) -> InputError:
    """Return the error of an input that is too large for this machine."""
    problem = f"{source.files[0].name}: it needs more memory than is available"
    return InputError(InputErrorCode.TOO_LARGE, problem, "", "lower UPD_ZOO_MAX_INPUT_BYTES or add memory")
