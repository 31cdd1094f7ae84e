"""What the study says of its results, checked: claims are data (`claims.toml`), and there is one rule.

A claim is a list of comparisons, "this exceeds that". It holds where every difference lies above nothing by its whole
95 % interval; it does not hold where one lies below by its whole interval; else it cannot be told. A figure of a single
seed tells nothing. Where figures are missing, the rest can still refute a claim: a method that is not there can only
raise the best of its side. What the study printed goes through the same rule, with its rounding as the interval.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from upd_harness.reproduce.estimate import Estimate, half_of_difference
from upd_harness.reproduce.result import Block
from upd_harness.reproduce.scores import Figures, Printed
from upd_zoo.artefact.metrics import METRICS

_EACH: Final = "each"
_TITLES: Final = {metric.id: metric.title for metric in METRICS}


class Finding(StrEnum):
    """What becomes of a claim."""

    HOLDS = "holds"
    DOES_NOT = "does not hold"
    UNTOLD = "cannot be told"


class Standing(StrEnum):
    """How one comparison stands."""

    HOLDS = "holds"
    DOES_NOT = "does not hold"
    WITHIN = "lies within its interval"
    ONE_SEED_AHEAD = "is of one seed, and ahead"
    ONE_SEED_BEHIND = "is of one seed, and behind"
    SOME_AHEAD = "is ahead of the methods that are here"
    SOME_BEHIND = "is behind, with the methods that are here"
    LACKING = "lacks a figure"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the best of some methods, or the random classifier.

    Attributes:
        best_of: Ids; empty for the random classifier.
        on: Test set of the study.
        metric: Which.
        ccd: Whether the methods start from CCD.
        times: A factor.
        name: What the methods are called together.
    """

    best_of: tuple[str, ...]
    on: str
    metric: str
    ccd: bool
    times: float
    name: str

    def estimate(self, figures: Figures) -> tuple[Estimate | None, bool]:
        """Return its figure by the methods that are there, None of none, and whether all are."""
        if not self.best_of:
            found = [figures.chance(self.on, self.metric)]
        else:
            found = [figures.of(method, self.on, self.metric, ccd=self.ccd) for method in self.best_of]
        known = [each for each in found if each is not None]
        best = max(known, key=lambda each: each.mean).times(self.times) if known else None
        return best, len(known) == len(found)

    def __str__(self) -> str:
        who = self.name if len(self.best_of) < 2 else f"the best of {self.name}"
        factor = "" if self.times == 1 else f"{self.times:g} x "
        return f"{factor}{who}{' (CCD)' if self.ccd else ''} on {self.on}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison, made.

    Attributes:
        more: Of which it is claimed that it exceeds the other.
        less: The other.
        value: By how much it does; None where a figure is missing.
        half: Half width of the 95 % interval of that.
        seeds: Of the side with fewer.
        whole: Whether all methods of either side are there.
    """

    more: Side
    less: Side
    value: float | None = None
    half: float = 0.0
    seeds: int = 0
    whole: tuple[bool, bool] = (True, True)

    @classmethod
    def between(cls, more: Side, less: Side, figures: Figures) -> "Difference":
        """Return the difference of two sides."""
        (first, more_whole), (second, less_whole) = more.estimate(figures), less.estimate(figures)
        whole = (more_whole, less_whole)
        if first is None or second is None:
            return cls(more, less, whole=whole)
        half, seeds = half_of_difference(first, second), min(first.seeds, second.seeds)
        return cls(more, less, first.mean - second.mean, half, seeds, whole)

    @property
    def standing(self) -> Standing:
        """How it stands: what a missing method could turn round is not told."""
        if self.value is None:
            return Standing.LACKING
        if abs(self.value) <= self.half + _TIED:
            return Standing.WITHIN
        ahead = self.value > 0
        if self.seeds < 2:
            return Standing.ONE_SEED_AHEAD if ahead else Standing.ONE_SEED_BEHIND
        if not self.whole[ahead]:  # the best of the lesser side could be higher, or of the one that is behind
            return Standing.SOME_AHEAD if ahead else Standing.SOME_BEHIND
        return Standing.HOLDS if ahead else Standing.DOES_NOT


_TIED: Final = 1e-9
"""Of two-digit figures whose difference equals their rounding, but for that of the machine."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the study.

    Attributes:
        id: Its name.
        section: Where it stands.
        says: The sentence.
        tables: On whose pages it stands here.
        comparisons: What it comes to: pairs, each of which the first is claimed to exceed.
    """

    id: str
    section: str
    says: str
    tables: tuple[str, ...]
    comparisons: tuple[tuple[Side, Side], ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim, checked.

    Attributes:
        claim: Which.
        finding: What becomes of it here.
        reason: How many of its comparisons stand in which way, where it does not hold.
        differences: What was compared.
        in_print: What becomes of it by the study's own printed figures.
    """

    claim: Claim
    finding: Finding
    reason: str
    differences: tuple[Difference, ...]
    in_print: Finding


def claims_of(item: str) -> list[Claim]:
    """Return the claims that stand on the page of a table."""
    return [claim for claim in all_claims() if item in claim.tables]


@cache
def all_claims() -> tuple[Claim, ...]:
    """Return every claim."""
    text = (files("upd_harness") / "reproduce" / "claims.toml").read_text(encoding="utf-8")
    return read_claims(tomllib.loads(text))


def read_claims(document: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return the claims of a document such as `claims.toml`."""
    groups = document["groups"]
    return tuple(
        Claim(
            entry["id"],
            entry["section"],
            entry["says"],
            tuple(entry["tables"]),
            tuple(pair for each in entry["comparisons"] for pair in _pairs(each, groups)),
        )
        for entry in document["claims"]
    )


def _pairs(comparison: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> Iterator[tuple[Side, Side]]:
    for method in _spelled_out(comparison.get(_EACH, ["-"]), groups):
        for on in comparison["on"]:
            for metric in comparison["metrics"]:
                more, less = (_side(comparison[key], method, on, metric, groups) for key in ("more", "less"))
                yield more, less


def _side(entry: Mapping[str, Any], each: str, on: str, metric: str, groups: Mapping[str, Sequence[str]]) -> Side:
    names = [each if name == _EACH else name for name in entry.get("best_of", ())]
    methods = tuple(_spelled_out(names, groups))
    return Side(methods, entry.get("on", on), metric, entry.get("ccd", False), entry.get("times", 1.0), _listed(names))


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names or ["random"])


def _spelled_out(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the methods of names, some of which are groups."""
    for name in names:
        yield from groups.get(name, (name,))


def checked(claims: Sequence[Claim], figures: Figures) -> list[Checked]:
    """Return claims with what becomes of them."""
    return [_checked(claim, figures) for claim in claims]


def _checked(claim: Claim, figures: Figures) -> Checked:
    found = tuple(Difference.between(more, less, figures) for more, less in claim.comparisons)
    printed = [Difference.between(more, less, Printed()) for more, less in claim.comparisons]
    counts = Counter(each.standing for each in found)
    reason = "; ".join(f"{standing}: {counts[standing]}" for standing in Standing if counts[standing])
    finding = _together(found)
    return Checked(claim, finding, "" if finding is Finding.HOLDS else reason, found, _together(printed))


def _together(differences: Sequence[Difference]) -> Finding:
    """Return what becomes of a claim by all its comparisons: one refutes it, and all bear it out."""
    standings = {each.standing for each in differences}
    if Standing.DOES_NOT in standings:
        return Finding.DOES_NOT
    return Finding.HOLDS if standings == {Standing.HOLDS} else Finding.UNTOLD


def shown(claims: Sequence[Checked], banner: str = "") -> Block:
    """Return claims as a table, with the comparison that speaks least for each.

    Args:
        claims: What became of them.
        banner: Whose images these are, where not the study's.
    """
    head = ("claim", "here", "in print", "least difference and its interval", "its comparisons")
    rows = [
        [f"{each.claim.says} ({each.claim.section})", each.finding, each.in_print, _least(each), each.reason]
        for each in claims
    ]
    notes = ["Test sets have the study's names here; above stands what is in place of each."] if banner else []
    return Block("What section VI says of this", head, rows, notes)


def _least(checked_claim: Checked) -> str:
    known = [(each.value - each.half, each) for each in checked_claim.differences if each.value is not None]
    if not known:
        return ""
    least = min(known, key=lambda pair: pair[0])[1]
    assert least.value is not None  # noqa: S101 - for the types
    sides = f"{_TITLES[least.more.metric]}, {least.more} - {least.less}"
    return f"{sides}: {least.value:+.3f} [{least.value - least.half:+.3f}, {least.value + least.half:+.3f}]"


def described(claims: Sequence[Checked]) -> list[dict[str, Any]]:
    """Return claims for programs, with every comparison."""
    return [
        {
            "id": each.claim.id,
            "section": each.claim.section,
            "says": each.claim.says,
            "finding": str(each.finding),
            "in_print": str(each.in_print),
            "reason": each.reason,
            "comparisons": [_as_record(difference) for difference in each.differences],
        }
        for each in claims
    ]


def _as_record(difference: Difference) -> dict[str, Any]:
    value, half = difference.value, difference.half
    return {
        "metric": difference.more.metric,
        "more": str(difference.more),
        "less": str(difference.less),
        "difference": None if value is None else round(value, 4),
        "interval": None if value is None else [round(value - half, 4), round(value + half, 4)],
        "seeds": difference.seeds,
        "standing": str(difference.standing),
    }
