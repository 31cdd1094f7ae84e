"""Which part of a run a process does, where several share the inputs of one folder and write to one other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from upd_harness.scoring.inputs import Input, Kind
from upd_zoo.errors import UsageError

_ORDER: Final = list(Kind)


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `part` of `parts` of a run, counted from 0.

    Raises:
        UsageError: There is no such part.
    """

    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if self.parts < 1 or not 0 <= self.part < self.parts:
            raise UsageError(
                f"there is no part {self.part} of {self.parts}", f"0 to {self.parts - 1}, for parts are counted from 0"
            )

    @property
    def is_whole(self) -> bool:
        """Whether one process does all."""
        return self.parts == 1

    def named(self, name: str) -> str:
        """Return the file name of this part's results, such as `results.jsonl` or `results-1-of-4.jsonl`."""
        stem, suffix = name.split(".")
        return name if self.is_whole else f"{stem}-{self.part}-of-{self.parts}.{suffix}"

    def share(self, inputs: Sequence[Input]) -> list[Input]:
        """Return this part's inputs, in their order: of every kind as many as of any other part, to within one.

        The list of inputs alone decides, not their sizes: every process finds the same parts.
        """
        dealt = sorted(inputs, key=lambda each: _ORDER.index(each.kind))[self.part :: self.parts]
        mine = {each.name for each in dealt}
        return [each for each in inputs if each.name in mine]


def batches(inputs: Sequence[Input], batch_size: int) -> list[list[Input]]:
    """Return which inputs share batches: photographs come `batch_size` together, anything else stands alone."""
    flat = [each for each in inputs if each.kind is Kind.PHOTOGRAPH]
    others = [[each] for each in inputs if each.kind is not Kind.PHOTOGRAPH]
    return others + [flat[start : start + batch_size] for start in range(0, len(flat), batch_size)]
