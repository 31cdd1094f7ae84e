"""The command `upd-zoo compare`."""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.options import Output, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import table


@command
def compare(
    evaluations: Annotated[
        list[Path], typer.Argument(metavar="EVALUATION...", help="Folders that upd-zoo evaluate wrote, or of a grid.")
    ],
    output: Output,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Draws of subjects.")] = 10_000,
    *,
    terminal: Terminal,
) -> None:
    """Tell evaluated models apart on the same images.

    For each pair the difference in every metric, with its interval and p over draws of subjects, corrected by Holm.
    Over several test sets, mean ranks with the critical difference.
    """
    from upd_harness.evaluation.compare import compare as run_comparison
    from upd_harness.evaluation.compare import write

    comparison = run_comparison(evaluations, resamples)
    rows = [
        (
            each.test_set,
            each.metric,
            f"{each.first} - {each.second}",
            f"{each.value:+.3f}",
            f"{each.interval[0]:+.3f} to {each.interval[1]:+.3f}",
            f"{each.corrected:.2g}",
        )
        for each in comparison.differences
    ]
    text = table(("test set", "metric", "pair", "difference", "95 % interval", "p (Holm)"), rows, terminal.width)
    terminal.data(write(comparison, output), f"{text}\n\n{output / 'comparison.md'}")
