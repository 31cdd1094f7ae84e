"""Measure what each switch between the protocols does, on the test sets, and write the page of it.

    python scripts/effects.py --method rd.mobilenetv2_100 --method dae --domain phantom-t2 --profile quick \
        --weights FILE --seeds 0,1,2 --minutes 60

For every method and domain: the sound recipe, then one value of the study's at a time (`--switch` names which), further
variants (`--variant side=256`), then all of the study's; of brains whose stores stand under both protocols, also images
and masks as the study prepared them. Variants that differ in keys of `--map-only` alone share one training. Seeds come
one after the other, so that the page has every row early; it is written after each, and what it held stays, but for
lines that were made again with as many seeds or more. What is finished is not made again, so the same command goes on
after a kill or where `--minutes` ended it; `--page-only` makes nothing and writes the page of what is there.
"""

import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from choose import seeds_of
from upd_harness.cli.app import run_alone
from upd_harness.cli.options import Data
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.grid.effects import Row, as_markdown, carry_out, document_of, finished, joined, rows_of
from upd_harness.grid.trial import Contest
from upd_harness.grid.variants import variants_of
from upd_zoo.errors import UsageError
from upd_zoo.files import write_json, write_text
from upd_zoo.stores.places import data_folder

PAGES: Final = Path(__file__).resolve().parents[1] / "cards" / "results"
HEAD: Final = """# Effects of switches

Written by `scripts/effects.py`. Profile `{profile}`. Each model is made by its `sound` recipe, then with one value
changed, mostly to the study's, then with all that the study's recipe changes (`study`); on brains also from images that
were prepared as by the study (divided by their maximum, masks by its rule), and with its masks alone.

The first table has every change, of AP_p where lesions are drawn and of AUROC where they are not, and how far the Dice
of the study's 100 evenly spaced thresholds lies below the best of all. Then come the figures, by test set: mean ±
standard deviation over seeds; in brackets the 95 % bootstrap interval over subjects, its ends averaged over seeds; then
the change against `sound`, by pairs of seeds. No value was chosen here: choices are made on planted anomalies. Of
trivial baselines, brightness and darkness alone stand here; [others](starters.md) are higher.
"""
Methods = Annotated[list[str], typer.Option("--method", help="A method, such as rd or rd.mobilenetv2_100; again.")]
Domains = Annotated[list[str], typer.Option("--domain", help="A domain, such as idrid; may be given again.")]
Fractions = Annotated[
    list[str] | None,
    typer.Option("--fraction", help="DOMAIN=SHARE of its training subjects that is learnt from; else all."),
]
Switches = Annotated[list[str] | None, typer.Option("--switch", help="A value of the study's, by name; else all.")]
MapOnly = Annotated[list[str] | None, typer.Option("--map-only", help="A key that changes no training.")]
Explicit = Annotated[list[str] | None, typer.Option("--variant", help="A further row: 'KEY=VALUE KEY=VALUE'.")]


def shares_of(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of the training subjects by domain of texts such as `ixi-t1=0.1`.

    Raises:
        UsageError: A text has another form.
    """
    try:
        return {domain: float(share) for domain, _, share in (text.partition("=") for text in texts)}
    except ValueError:
        raise UsageError(f"{', '.join(texts)} names no shares", "DOMAIN=SHARE", "--fraction ixi-t1=0.1") from None


def gathered(rows: Sequence[Row], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return all outcomes that are there."""
    return [outcome for row, seed in product(rows, seeds) for outcome in finished(row, seed)]


def write_pages(rows: Sequence[Row], seeds: Sequence[int], pages: Path) -> int:
    """Add outcomes to the page and its JSON, and return how many; of none, nothing is written."""
    outcomes, path = gathered(rows, seeds), pages / "effects.json"
    if outcomes:
        document = document_of(rows[0].contest.profile, outcomes)
        document = joined(json.loads(path.read_bytes()) if path.exists() else document, document)
        write_text(pages / "effects.md", HEAD.format(profile=document["profile"]) + "\n" + as_markdown(document))
        write_json(path, document)
    return len(outcomes)


@reports_errors
def main(
    method: Methods,
    domain: Domains,
    switch: Switches = None,
    variant: Explicit = None,
    map_only: MapOnly = None,
    fraction: Fractions = None,
    seeds: Annotated[str, typer.Option(help="Such as 0,1,2.")] = "0,1,2",
    profile: Annotated[str, typer.Option(help="Budget of the recipes.")] = "quick",
    weights: Annotated[str | None, typer.Option(help="What backbones start from: random, timm or a file.")] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Where outcomes are kept.")] = Path("out/effects"),
    pages: Annotated[Path, typer.Option(help="Folder of the page.")] = PAGES,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin nothing new after so long.")] = None,
    page_only: Annotated[bool, typer.Option("--page-only", help="Make nothing.")] = False,
) -> None:
    """Train models with and without each switch, and measure them on the test sets."""
    terminal, began, numbers = Terminal(), time.monotonic(), seeds_of(seeds)
    more = variants_of((), variant) if variant else []
    shares, where = shares_of(fraction or ()), data_folder(data)
    contests = [
        Contest(
            f"{each}-{target}",
            out,
            where,
            profile,
            weights=weights,
            fraction=shares.get(target, 1.0),
            map_only=tuple(map_only or ()),
        )
        for target, each in product(domain, method)
    ]
    rows = [row for contest in contests for row in rows_of(contest, switch or (), more)]
    for seed, row in () if page_only else product(numbers, rows):
        if minutes is not None and time.monotonic() - began > 60 * minutes:
            terminal.say("the time is over: the same command goes on")
            break
        what = f"{row.contest.model}, {row.name}, seed {seed}"
        with terminal.bar(what) as report:
            carry_out(row, seed, report)
        terminal.say(f"{what}: done")
        write_pages(rows, numbers, pages)
    count = write_pages(rows, numbers, pages)
    terminal.data(
        {"outcomes": count, "rows": len(rows)}, f"{pages / 'effects.md'}: {count} outcomes of {len(rows)} rows"
    )


if __name__ == "__main__":
    run_alone(main)
