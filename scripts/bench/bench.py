"""Measure upd-zoo's speed and memory on this machine and compare them with what it promises.

    python scripts/bench/bench.py
    python scripts/bench/bench.py --only metrics --pixels 200000 --json

What is promised is a ratio of two times of one run wherever it can be, so that it means the same on every machine. Each
group runs in a process of its own, so that none sees another's threads, imports or memory. Other work on the machine
only ever adds time: where two things are compared, each is repeated and the shortest times are taken.

Weights are random, for speed does not depend on them. Ends with exit code 8 where a limit is missed.
"""

import importlib
import importlib.metadata
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from figures import Figure
from upd_harness.cli.app import run_alone
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.engines.local import apart
from upd_harness.report.run_record import utc_now, versions
from upd_harness.report.text import table
from upd_harness.speed.hardware import hardware
from upd_zoo.errors import ToleranceError
from upd_zoo.files import write_json

SCHEMA: Final = "upd-zoo/bench/1"


class Group(StrEnum):
    """What is measured together."""

    COMMANDS = "commands"
    SCORING = "scoring"
    METRICS = "metrics"
    BACKENDS = "backends"
    PHANTOMS = "phantoms"
    READING = "reading"
    MEMORY = "memory"
    MODELS = "models"
    SIZES = "sizes"
    TRAINING = "training"


MODULES: Final = {
    Group.COMMANDS: "commands",
    Group.SCORING: "scoring",
    Group.METRICS: "pixels",
    Group.BACKENDS: "backends",
    Group.PHANTOMS: "drawing",
    Group.READING: "scoring",
    Group.MEMORY: "memory",
    Group.MODELS: "models",
    Group.SIZES: "models",
    Group.TRAINING: "training",
}
"""Where the function lies that measures a group, and is called like it."""


def measured(group: Group, *amounts: int) -> list[Figure]:
    """Return the figures of a group; only what it needs is imported."""
    figures: list[Figure] = getattr(importlib.import_module(MODULES[group]), group)(*amounts)
    return figures


def as_table(figures: Iterable[Figure]) -> str:
    """Return the figures as text."""
    verdicts = {True: "kept", False: "MISSED", None: ""}
    rows = []
    for figure in figures:
        sign = ">=" if figure.better == "higher" else "<="
        limit = "" if figure.limit is None else f"{sign} {figure.limit:g}"
        rows.append((figure.name, f"{figure.value:.3g}", figure.unit, limit, verdicts[figure.passed]))
    return table(("figure", "value", "unit", "limit", ""), rows)


def check_limits(figures: Iterable[Figure]) -> None:
    """Make sure that every promise is kept.

    Raises:
        ToleranceError: One is not.
    """
    missed = [figure.name for figure in figures if figure.passed is False]
    if missed:
        raise ToleranceError(f"{len(missed)} limits are missed: {'; '.join(missed)}", "", "repeat on an idle machine")


@reports_errors
def main(
    only: Annotated[list[Group] | None, typer.Option(help="Only this group; may be given again.")] = None,
    pixels: Annotated[int, typer.Option(min=1000, help="Pixels of the metrics.")] = 50_000_000,
    slices: Annotated[int, typer.Option(min=2, help="Slices to score.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Of what is compared.")] = 2,
    subjects: Annotated[int, typer.Option(min=1, help="Brain phantoms; 20 times as many flat ones.")] = 4,
    photographs: Annotated[int, typer.Option(min=1, help="Photographs of 12 megapixels to score.")] = 100,
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the figures.")] = Path("out/bench.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Measure speed and memory, and compare them with their limits."""
    terminal, started, machine = Terminal(as_json), utc_now(), hardware()
    amounts = {
        Group.SCORING: (slices, repeats),
        Group.METRICS: (pixels,),
        Group.BACKENDS: (10 * repeats,),
        Group.PHANTOMS: (subjects,),
        Group.READING: (repeats,),
        Group.MEMORY: (photographs,),
        Group.MODELS: (repeats,),
        Group.TRAINING: (10 * repeats,),
    }
    figures: list[Figure] = []
    for group in only or Group:
        terminal.say(f"{group} ...")
        figures += apart(measured, group, *amounts.get(group, ()))
    packages = versions() | {"scikit-learn": importlib.metadata.version("scikit-learn")}
    rows = [asdict(figure) | {"passed": figure.passed} for figure in figures]
    report = {"schema": SCHEMA, "started": started, "hardware": machine, "versions": packages, "figures": rows}
    write_json(output, report)
    terminal.data(report, as_table(figures))
    check_limits(figures)


if __name__ == "__main__":
    run_alone(main)
