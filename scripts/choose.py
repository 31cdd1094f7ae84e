"""Choose between variants of a recipe on validation images with planted anomalies, never on a test set.

    python scripts/choose.py padim.mobilenetv2_100-idrid --weights FILE --vary smoothing=0,2,4
    python scripts/choose.py dae-phantom-t2 --profile quick --vary settings.residual=ssim,absolute \
        --map-only settings.residual --vary erosion=0,2 --seeds 0,1,2

`--vary KEY=VALUE,VALUE` tries every combination of its values; `--variant 'KEY=VALUE KEY=VALUE'` tries one set, and
`--variant ''` the recipe as it is. Keys are fields of a recipe (`smoothing`, `erosion`, `score_rule`, `batch_size`, …),
`steps`, `optimiser.…`, `schedule.…` and `settings.…`. Variants that differ in smoothing, erosion, score rule, or in a
key named by `--map-only`, share one training. What is finished is not made again, so the same command goes on after a
kill, and one with more variants or seeds adds to what is there. Seeds decide training and anomalies.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.cli.app import run_alone
from upd_harness.cli.options import Data
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.evaluation.planted import USUAL_IMAGES, Planting
from upd_harness.grid.comparison import METRICS, Trials, as_table, summary, verdict
from upd_harness.grid.trial import Contest, carry_out
from upd_harness.grid.variants import Variant, variants_of
from upd_zoo.errors import UsageError, closest
from upd_zoo.files import write_json
from upd_zoo.phantoms.planting import Kind
from upd_zoo.recipe import FULL_PROFILE
from upd_zoo.stores.places import data_folder
from upd_zoo.vocabulary import Protocol

SCHEMA: Final = "upd-zoo/choice/1"
Vary = Annotated[list[str] | None, typer.Option("--vary", help="KEY=VALUE,VALUE; again for combinations.")]
Explicit = Annotated[list[str] | None, typer.Option("--variant", help="'KEY=VALUE KEY=VALUE'; may be given again.")]
MapOnly = Annotated[list[str] | None, typer.Option("--map-only", help="A key that changes no training.")]
Planted = Annotated[list[Kind] | None, typer.Option("--kind", help="Plant only this kind; may be given again.")]


def seeds_of(text: str) -> list[int]:
    """Return the seeds that a text such as `0,1,2` names.

    Raises:
        UsageError: It names something else.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(f"'{text}' are no seeds", "whole numbers from 0, with commas between them", "--seeds 0,1,2")
    return list(dict.fromkeys(map(int, parts)))


def compared(contest: Contest, variants: list[Variant], seeds: list[int], terminal: Terminal) -> Trials:
    """Return the trials of every variant, having carried out those that are not finished, seed after seed."""
    trials: dict[str, list[dict[str, object]]] = {variant.name: [] for variant in variants}
    for seed in seeds:
        for variant in variants:
            with terminal.bar(f"{variant.name}, seed {seed}") as report:
                trial = carry_out(contest, variant, seed, report)
            trials[variant.name].append(trial)
            terminal.say(f"{variant.name}, seed {seed}: {'done' if trial['fresh'] else 'was done before'}")
    return trials


@reports_errors
def main(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name such as padim-idrid.")],
    vary: Vary = None,
    variant: Explicit = None,
    map_only: MapOnly = None,
    seeds: Annotated[str, typer.Option(help="Such as 0,1,2.")] = "0",
    profile: Annotated[str, typer.Option(help="Budget of the recipe.")] = FULL_PROFILE,
    protocol: Annotated[Protocol, typer.Option(help="Of the recipe.")] = Protocol.SOUND,
    weights: Annotated[str | None, typer.Option(help="What backbones start from: random, timm or a file.")] = None,
    data: Data = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Where trials are kept.")] = Path("out/choose"),
    images: Annotated[int, typer.Option(min=1, help="Planted images.")] = USUAL_IMAGES,
    kind: Planted = None,
    by: Annotated[str, typer.Option(help=f"Metric that decides: {', '.join(METRICS)}.")] = "ap_pixel",
) -> None:
    """Train variants of a recipe, and measure them on validation images with planted anomalies."""
    if by not in METRICS:
        raise UsageError(f"no metric is called '{by}'", closest(by, METRICS))
    terminal = Terminal()
    planting = Planting(0, images, tuple(kind or ()))
    contest = Contest(model, out, data_folder(data), profile, protocol, weights, planting, tuple(map_only or ()))
    trials = compared(contest, variants_of(vary or (), variant or ()), seeds_of(seeds), terminal)
    verdicts = [verdict(trials, metric) for metric in sorted(METRICS, key=lambda metric: metric != by)]
    document = {"schema": SCHEMA, "by": by, "verdicts": verdicts, "summary": summary(trials), "trials": trials}
    write_json(out / "choice.json", document)
    terminal.data(document, "\n\n".join((as_table(trials, by), "\n".join(verdicts))))


if __name__ == "__main__":
    run_alone(main)
