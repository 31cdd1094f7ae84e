"""The command `upd-zoo list`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from upd_harness.cli.fetching import asking
from upd_harness.cli.options import Place, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import legible, table
from upd_zoo.artefact.metrics import METRICS, figure

if TYPE_CHECKING:
    from upd_zoo.hub.catalogue import Measured, Row

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

    It shows what they score where they were evaluated, with 95 % intervals, and what the best of those that know
    nothing scores. A hub that is named is listed alone.
    """
    from dataclasses import asdict

    from upd_zoo.hub.hub import DEFAULT_HUB

    hub = place.open()
    with asking(hub, terminal):
        rows = list(hub.catalogue().filter(method, domain))
    if not rows:
        source = f"By this version's catalogue, {hub.location}" if hub.location == DEFAULT_HUB else hub.location
        terminal.say(f"{source} holds {'no such model.' if method or domain else _NO_MODEL}")
    told = len(_HEADER) if any(row.results for row in rows) else len(_HEADER) - 1
    lines = [_line(row)[:told] for row in rows]
    terminal.data([asdict(row) for row in rows], table(_HEADER[:told], lines, terminal.width) if rows else "")


def _line(row: "Row") -> tuple[str, ...]:
    where = "package" if row.packaged else "hub"
    told = (row.id, row.revision, row.title, row.domain, row.pretrain or "", ", ".join(row.labels), where)
    return tuple(map(legible, (*told, "; ".join(figures_of(row.results)))))


def figures_of(results: "Mapping[str, Measured]") -> Iterator[str]:
    """Yield what a model scores, test set by test set, as far as it is defined."""
    for name, measured in results.items():
        figures = ", ".join(defined(measured))
        yield f"{name} ({measured.images} images): {figures}"


def defined(measured: "Measured") -> Iterator[str]:
    """Yield every figure, with its interval and the best of what knows nothing."""
    for metric in METRICS:
        if (found := measured.figures.get(metric.id)) is not None:
            between = "" if found.interval is None else f" [{', '.join(map(figure, found.interval))}]"
            beside = "" if found.trivial is None else f" (trivial {figure(found.trivial)})"
            yield f"{metric.title} {figure(found.value)}{between}{beside}"
