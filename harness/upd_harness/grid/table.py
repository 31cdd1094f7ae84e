"""The results of a grid as tables: Markdown for people, JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from upd_harness.grid.plan import Plan, Start
from upd_harness.grid.results import Found, spread
from upd_zoo.artefact.metrics import Metric, figure, shown
from upd_zoo.artefact.records import Metrics, Result
from upd_zoo.vocabulary import TEST_SETS

SCHEMA: Final = "upd-zoo/comparison/1"


def as_document(found: Found, plan: Plan) -> dict[str, Any]:
    """Return all results, with the plan that they were made by; paths of the machine are left out."""
    common = {name: value for name, value in asdict(plan).items() if name not in ("out", "data")}
    weights = Path(plan.weights).name if plan.weights else None
    rows = [result for models in found.values() for results in models.values() for result in results]
    return {
        "schema": SCHEMA,
        "plan": common | {"weights": weights},
        "results": [row.model_dump(mode="json", by_alias=True) for row in rows],
    }


def as_markdown(found: Found, plan: Plan, *, pictures: bool = True) -> str:
    """Return the tables of all test sets, each under the labels that its reader must know.

    Args:
        found: Results.
        plan: What they were made by.
        pictures: Whether the picture of each test set, beside the page, is shown.
    """
    lines = ["# Comparison", "", f"Profile `{plan.profile}`, protocol `{plan.protocol}`.", ""]
    if any(f"+{Start.RANDOM}" in model for models in found.values() for model in models):
        lines += ["Networks start from ImageNet weights; `+random`: from drawn ones; `-ccd`: from CCD.", ""]
    for test_set, models in found.items():
        lines += [*_table(test_set, models), ""]
        if pictures:
            lines += [f"![{test_set}]({test_set}.png)", ""]
    return "\n".join(lines)


def _table(test_set: str, models: Mapping[str, Sequence[Result]]) -> Iterator[str]:
    """Yield the lines of the table of one test set: a row for each model, then one for each baseline."""
    rows = [row for results in models.values() for row in results]
    first, seeds = rows[0], sorted({row.seed for row in rows})
    labels = [label for label in first.labels if all(label in row.labels for row in rows)]
    numbers = f"{first.images} images, {first.anomalous} anomalous, of {first.subjects} subjects"
    spread_over = "; mean ± standard deviation" if len(seeds) > 1 else ""
    yield from (f"## {TEST_SETS[test_set].title}", "")
    yield from (f"{', '.join(labels)}. {numbers}; seeds {', '.join(map(str, seeds))}{spread_over}.", "")
    columns = shown(row.metrics for row in rows)
    yield from (f"| model | {' | '.join(metric.title for metric in columns)} |", f"|---|{'---|' * len(columns)}")
    for model, results in models.items():
        own = [label for label in results[0].labels if label not in labels]
        yield _row(f"`{model}` ({', '.join(own)})" if own else f"`{model}`", [row.metrics for row in results], columns)
    for name, metrics in first.baselines.items():
        yield _row(name, [metrics], columns)


def _row(name: str, metrics: Sequence[Metrics], columns: Sequence[Metric]) -> str:
    cells = (_cell(*spread(metrics, metric.id)) for metric in columns)
    return f"| {name} | {' | '.join(cells)} |"


def _cell(mean: float | None, deviation: float | None) -> str:
    return figure(mean) if deviation is None else f"{figure(mean)} ± {figure(deviation)}"
