"""A comparison of evaluated models, written as JSON for programs and Markdown and pictures for people."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from upd_harness.evaluation.paired import Difference, Field, differences, field_of, metrics_of, results_in
from upd_harness.evaluation.ranking import Ranking, ranking
from upd_harness.evaluation.resampling import interval
from upd_harness.report.ranks import draw_ranks
from upd_zoo.artefact.metrics import BESIDE, METRICS, figure
from upd_zoo.errors import UsageError
from upd_zoo.files import write_json, write_text
from upd_zoo.vocabulary import TEST_SETS

SCHEMA: Final = "upd-zoo/paired-comparison/1"
RESAMPLES: Final = 10_000
"""The smallest p of 1,000 draws is 0.002: times the 78 pairs of thirteen methods, none would ever be told apart."""
_LEVEL: Final = 0.05
_SEVERAL: Final = "The models met these images in several sizes or preparations, so no pixels are compared."
_TITLES: Final = {metric.id: metric.title for metric in (*METRICS, *BESIDE)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison came to.

    Attributes:
        field: Standings by test set and contestant.
        differences: Of all pairs in all metrics.
        rankings: By each metric that two contestants have on two test sets.
        resamples: How many draws.
    """

    field: Field
    differences: tuple[Difference, ...]
    rankings: tuple[Ranking, ...]
    resamples: int


def compare(places: Sequence[Path], resamples: int = RESAMPLES) -> Comparison:
    """Compare evaluated models, from what their evaluations kept.

    Args:
        places: Folders of evaluations, folders of such folders, or results.
        resamples: How many draws of subjects.

    Raises:
        NotFoundError: A place holds no result, or one of an older version.
        UsageError: There is nothing to compare, or what cannot be compared.
        IntegrityError: A file is damaged.
    """
    field = field_of(results_in(places), resamples)
    names = metrics_of(field)
    found = tuple(each for name in names for each in differences(field, name))
    if not found:
        raise UsageError(
            "no two results are of the same test set", "two models on one test set", "name another evaluation"
        )
    rankings = tuple(each for name in names if (each := ranking(field, name)) is not None)
    return Comparison(field, found, rankings, resamples)


def write(comparison: Comparison, output: Path) -> dict[str, Any]:
    """Write `comparison.json` and `comparison.md`, and a picture of every ranking; return the document.

    Raises:
        MissingExtraError: There is a ranking and matplotlib is not installed.
    """
    document = as_document(comparison)
    write_json(output / "comparison.json", document)
    write_text(output / "comparison.md", "\n".join(_markdown(comparison)) + "\n")
    for each in comparison.rankings:
        title = f"Mean rank by {_TITLES[each.metric]} over {len(each.test_sets)} test sets"
        draw_ranks(output / _picture(each), each.ranks, each.difference, each.cliques, title)
    return document


def _picture(found: Ranking) -> str:
    return f"ranks-{found.metric}.png"


def as_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it."""
    standings = [
        {
            "test_set": test_set,
            "contestant": name,
            "models": [f"{result.model}@{result.revision}" for result in each.results],
            "labels": list(dict.fromkeys(label for result in each.results for label in result.labels)),
            "metrics": {metric: each.value(metric) for metric in each.drawn},
            "intervals": {metric: interval(values) for metric, values in each.drawn.items()},
        }
        for test_set, rivals in comparison.field.items()
        for name, each in rivals.items()
    ]
    return {
        "schema": SCHEMA,
        "resamples": comparison.resamples,
        "standings": standings,
        "differences": [asdict(each) for each in comparison.differences],
        "rankings": [asdict(each) | {"cliques": each.cliques} for each in comparison.rankings],
    }


def _markdown(comparison: Comparison) -> Iterator[str]:
    yield from ("# Paired comparison", "")
    yield f"95 % intervals and p over {comparison.resamples:,} draws of subjects, the same for all models;"
    yield from ("p is corrected by Holm over all pairs and test sets of a metric.", "")
    for test_set, rivals in comparison.field.items():
        first = next(iter(rivals.values())).results[0]
        title = TEST_SETS[test_set].title if test_set in TEST_SETS else test_set
        labels = list(dict.fromkeys(label for each in rivals.values() for row in each.results for label in row.labels))
        yield from (f"## {title}", "", f"{', '.join((*labels, f'{first.images} images'))}.", "")
        if len({row.store for each in rivals.values() for row in each.results}) > 1:
            yield from (_SEVERAL, "")
        yield from _standings(comparison, test_set)
        yield from _pairs(comparison, test_set)
    for each in comparison.rankings:
        yield from (f"## Mean ranks by {_TITLES[each.metric]}", "", f"![{each.metric}]({_picture(each)})", "")


def _standings(comparison: Comparison, test_set: str) -> Iterator[str]:
    rivals = comparison.field[test_set]
    names = [name for name in metrics_of(comparison.field) if any(name in each.drawn for each in rivals.values())]
    yield "| contestant | seeds | " + " | ".join(_TITLES[name] for name in names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for contestant, each in rivals.items():
        cells = (
            _with_bounds(each.value(name), interval(each.drawn[name]) if name in each.drawn else None) for name in names
        )
        yield f"| `{contestant}` | {len(each.results)} | {' | '.join(cells)} |"
    yield ""


def _with_bounds(value: float | None, bounds: tuple[float, float] | None) -> str:
    return figure(value) if bounds is None else f"{figure(value)} ({figure(bounds[0])} to {figure(bounds[1])})"


def _pairs(comparison: Comparison, test_set: str) -> Iterator[str]:
    yield "| first | second | metric | first - second | p | told apart |"
    yield "|---|---|---|---|---|---|"
    for d in (each for each in comparison.differences if each.test_set == test_set):
        apart = "yes" if d.corrected <= _LEVEL else "no"
        ahead = f"{d.value:+.3f} ({d.interval[0]:+.3f} to {d.interval[1]:+.3f})"
        yield f"| `{d.first}` | `{d.second}` | {_TITLES[d.metric]} | {ahead} | {d.corrected:.2g} | {apart} |"
    yield ""
