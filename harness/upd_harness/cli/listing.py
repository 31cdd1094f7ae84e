"""The command `upd-zoo list`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.fetching import asking
from upd_harness.cli.options import Place, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import legible, table
from upd_zoo.artefact.metrics import METRICS, figure

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Result
    from upd_zoo.hub.catalogue import Row

Results = dict[str, "Result"]
_HEADER: Final = ("model", "revision", "method", "domain", "pre-training", "labels", "where", "results")
_NO_MODEL: Final = "no model yet. upd-zoo train makes one, upd-zoo publish puts it there."


@command
def list_models(
    method: Annotated[str | None, typer.Option(help="Only this method, by name or title.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain, or the domain of this test set.")] = None,
    *,
    place: Place,
    terminal: Terminal,
) -> None:
    """List the models of this package, and of a hub.

    Of those in the package it shows what they score, with 95 % intervals, and what the best of three that know nothing
    scores. A hub that is named is listed alone.
    """
    from dataclasses import asdict

    from upd_zoo.hub.hub import DEFAULT_HUB
    from upd_zoo.hub.packaged import results_of

    hub = place.open()
    with asking(hub, terminal):
        rows = list(hub.catalogue().filter(method, domain))
    if not rows:
        source = f"By this version's catalogue, {hub.location}" if hub.location == DEFAULT_HUB else hub.location
        terminal.say(f"{source} holds {'no such model.' if method or domain else _NO_MODEL}")
    results = [results_of(row.named) if row.packaged else {} for row in rows]
    documents = [asdict(row) | {"results": _documents(found)} for row, found in zip(rows, results, strict=True)]
    lines = [_line(row, found) for row, found in zip(rows, results, strict=True)]
    told = len(_HEADER) if any(results) else len(_HEADER) - 1
    terminal.data(documents, table(_HEADER[:told], [line[:told] for line in lines], terminal.width) if rows else "")


def _line(row: "Row", results: Results) -> tuple[str, ...]:
    where = "package" if row.packaged else "hub"
    told = (row.id, row.revision, row.title, row.domain, row.pretrain or "", ", ".join(row.labels), where)
    return tuple(map(legible, (*told, _figures(results))))


def _documents(results: Results) -> dict[str, Any]:
    return {
        name: result.model_dump(mode="json", include={"metrics", "intervals", "baselines"})
        for name, result in results.items()
    }


def _figures(results: Results) -> str:
    """Return what a model scores, test set by test set, as far as it is defined."""
    return "; ".join(f"{name}: {', '.join(_defined(result))}" for name, result in results.items())


def _defined(result: "Result") -> Iterator[str]:
    for metric in METRICS:
        value, interval = getattr(result.metrics, metric.id), result.intervals.get(metric.id)
        if value is not None:
            between = f" [{figure(interval[0])}, {figure(interval[1])}]" if interval else ""
            rival = result.rival(metric.id)
            beside = "" if rival is None else f" (trivial {figure(rival)})"
            yield f"{metric.title} {figure(value)}{between}{beside}"
