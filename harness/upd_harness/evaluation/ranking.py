"""Who is ahead over many test sets: mean ranks, and how far apart they must be to mean anything.

    CD = q · √(k (k + 1) / (6 N))    for k contestants on N test sets; q: studentised range / √2 at the level of 5 %

Contestants whose mean ranks differ by less than CD cannot be told apart (Nemenyi). With few test sets CD exceeds every
difference that is possible: then nothing is told apart, and the picture says so.

Source: Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006, sections 3.2.2, 3.2.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from upd_harness.evaluation.paired import Field
from upd_zoo.errors import UsageError

_Q: Final = (
    *(1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219),
    *(3.268, 3.313, 3.354, 3.391, 3.426, 3.458, 3.489, 3.517, 3.544),
)
"""For 2 to 20 contestants; Demšar, table 5a, and the same function beyond ten."""
MOST: Final = len(_Q) + 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """Contestants by mean rank, 1 being best.

    Attributes:
        metric: By which.
        test_sets: Over which.
        ranks: Mean rank of each contestant, best first.
        difference: The critical one.
    """

    metric: str
    test_sets: tuple[str, ...]
    ranks: Mapping[str, float]
    difference: float

    @property
    def cliques(self) -> list[tuple[str, ...]]:
        """The largest groups of neighbours that cannot be told apart, of two and more."""
        names, ranks = list(self.ranks), np.array(list(self.ranks.values()))
        found: list[tuple[str, ...]] = []
        for start, rank in enumerate(ranks):
            end = int(np.searchsorted(ranks, rank + self.difference, side="left"))
            group = tuple(names[start:end])
            if len(group) > 1 and not (found and {*group} <= {*found[-1]}):
                found.append(group)
        return found


def critical_difference(contestants: int, test_sets: int) -> float:
    """Return by how much mean ranks of so many contestants over so many test sets must differ, at the level of 5 %.

    Raises:
        UsageError: There are fewer than 2 or more than 20 contestants.
    """
    if not 2 <= contestants <= MOST:
        raise UsageError(f"{contestants} contestants cannot be ranked", f"2 to {MOST}", "name fewer results")
    return float(_Q[contestants - 2] * np.sqrt(contestants * (contestants + 1) / (6 * test_sets)))


def ranking(field: Field, metric: str) -> Ranking | None:
    """Return the ranking of the contestants that have a metric on every test set on which any has it.

    Returns:
        None where these are fewer than two contestants or fewer than two test sets.

    Raises:
        UsageError: They are more than 20.
    """
    values = {
        test_set: {name: value for name, each in rivals.items() if (value := each.value(metric)) is not None}
        for test_set, rivals in field.items()
    }
    known = {test_set: found for test_set, found in values.items() if found}
    names = [
        name
        for name in dict.fromkeys(n for each in known.values() for n in each)
        if all(name in f for f in known.values())
    ]
    if len(known) < 2 or len(names) < 2:
        return None
    ranks = np.mean([_ranks([found[name] for name in names]) for found in known.values()], axis=0)
    order = np.argsort(ranks, kind="stable")
    by_name = {names[index]: float(ranks[index]) for index in order}
    return Ranking(metric, tuple(known), by_name, critical_difference(len(names), len(known)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 1 for the highest; equal ones share the mean of theirs."""
    numbers = np.array(values)
    return [float((numbers > value).sum() + ((numbers == value).sum() + 1) / 2) for value in numbers]
