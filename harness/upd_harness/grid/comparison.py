"""Trials of several variants and seeds, taken together: which variant is best, and whether that is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, Final

from upd_harness.evaluation.contenders import MODEL
from upd_harness.evaluation.planted import EVERY
from upd_harness.report.text import table

METRICS: Final = {"ap_pixel": "AP_p", "auroc": "AUROC", "ap_image": "AP_i"}
"""Metrics by which variants are compared, and what they are called."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of several seeds.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation; None of a single one.
    """

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return that of one value or more."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ±{self.deviation:.3f}")


Trials = Mapping[str, Sequence[Mapping[str, Any]]]
"""The trials of each variant, by its name, those of one seed at the same place."""


def values_of(trials: Sequence[Mapping[str, Any]], metric: str, kind: str = EVERY, who: str = MODEL) -> list[float]:
    """Return a metric of each trial; 0 where it is not defined."""
    return [trial["metrics"][who].get(kind, {}).get(metric) or 0.0 for trial in trials]


def best_of(trials: Trials, metric: str) -> str:
    """Return the name of the variant with the highest mean of a metric."""
    return max(trials, key=lambda name: mean(values_of(trials[name], metric)))


def verdict(trials: Trials, metric: str) -> str:
    """Say which variant is best by a metric, and how its lead over the next one compares with that lead's spread."""
    best, called = best_of(trials, metric), METRICS[metric]
    others = {name: found for name, found in trials.items() if name != best}
    if not others:
        return f"Only one variant was tried: {best}."
    second = best_of(others, metric)
    pairs = zip(values_of(trials[best], metric), values_of(trials[second], metric), strict=True)
    lead = Spread.of([first - other for first, other in pairs])
    head = f"Best by {called}: {best}, {lead} ahead of {second} over {len(trials[best])} seed(s)"
    if lead.deviation is None:
        return f"{head}; one seed does not tell how far this is chance."
    return f"{head}" + ("." if lead.mean > lead.deviation else "; the lead is within its spread, so both are as good.")


def summary(trials: Trials) -> dict[str, Any]:
    """Return the mean and spread of every metric of every variant, by kind, for programs to read."""
    kinds = sorted({kind for found in trials.values() for kind in found[0]["metrics"][MODEL]})
    return {
        name: {
            kind: {metric: vars_of(Spread.of(values_of(found, metric, kind))) for metric in METRICS} for kind in kinds
        }
        for name, found in trials.items()
    }


def vars_of(spread: Spread) -> dict[str, float | None]:
    """Return a spread as JSON keeps it."""
    return {"mean": spread.mean, "deviation": spread.deviation}


def as_table(trials: Trials, metric: str) -> str:
    """Return the variants, best first by a metric, beside plain intensity, and AP_p by kind below."""
    order = sorted(trials, key=lambda name: -mean(values_of(trials[name], metric)))
    rows = [(name, *(str(Spread.of(values_of(trials[name], each))) for each in METRICS)) for name in order]
    first = next(iter(trials.values()))
    for who in (who for who in first[0]["metrics"] if who != MODEL):
        rows.append((f"({who})", *(str(Spread.of(values_of(first, each, who=who))) for each in METRICS)))
    kinds = [kind for kind in first[0]["metrics"][MODEL] if kind != EVERY]
    by_kind = [(name, *(f"{mean(values_of(trials[name], metric, kind)):.3f}" for kind in kinds)) for name in order]
    tables = (table(("variant", *METRICS.values()), rows), table((f"{METRICS[metric]} by kind", *kinds), by_kind))
    return "\n\n".join(tables)
