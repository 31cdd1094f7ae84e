"""Make the whole zoo: every model whose data stand on this machine is trained, exported, evaluated and published.

    python scripts/make_zoo.py --hub HUB
    python scripts/make_zoo.py --hub out/hub --method rd --domain camcan-t2 --profile tiny --weights random

Method by data set by start (ImageNet or random, and CCD where a method has a network for it) by seed, through the grid:
what is finished is not made again, and what is published is not sent again, so the same command goes on after a kill.
Every seed is a revision, `seed-N`; the first one is `main` too. With --sign KEY each is signed before, as by
`upd-zoo publish --sign`, which needs the extra `sign`. The catalogue at the end has the figures of what is there, and
says of everything else what it lacks. Models that fail are named; exit code 3.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.cli.app import run_alone
from upd_harness.cli.listing import figures_of
from upd_harness.cli.options import Data
from upd_harness.cli.publish import Key
from upd_harness.cli.signing import signing_by
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_harness.engines.local import LocalEngine
from upd_harness.grid.outcomes import carry_out
from upd_harness.grid.plan import ARTEFACT, Choice, Plan, Start, Task, tasks_of
from upd_zoo.errors import InputError, UpdZooError, UsageError
from upd_zoo.files import write_text
from upd_zoo.hub import open_hub
from upd_zoo.hub.catalogue import Row
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress
from upd_zoo.recipe import FULL_PROFILE
from upd_zoo.roster import known_methods
from upd_zoo.stores.places import Part, data_folder, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Protocol

MAIN: Final = "main"
STARTS: Final = (None, Start.CCD)
CATALOGUE: Final = "zoo.md"
_NAMED: Final = 5
_KEPT: Final = "what is finished is kept and published; the same command goes on"
Some = Annotated[list[str] | None, typer.Option(help="May be given again; else all.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the zoo shall hold, and why a part of it cannot be.

    Attributes:
        tasks: Models that can be made here.
        lacking: Why others cannot, by what they are called.
    """

    tasks: list[Task]
    lacking: dict[str, str]


def wanted(
    plan: Plan, methods: Sequence[str], domains: Sequence[str], seeds: Sequence[int], backbone: str | None
) -> Wanted:
    """Return every model of methods and data sets, and what some of them lack.

    Raises:
        NotFoundError: There is no such method or data set.
    """
    found = Wanted([], {})
    for domain in domains:
        try:
            for part in (Part.TRAIN, Part.VALIDATION):
                Store(store_path(plan.data, domain, part, plan.protocol))
        except UpdZooError as error:
            found.lacking[f"everything of {domain}"] = str(error)
            continue
        for method in methods:
            for start in STARTS:
                starts = () if start is None else (start,)
                try:
                    found.tasks.extend(tasks_of(Choice((method,), (domain,), starts, seeds, backbone)))
                except UsageError as error:
                    found.lacking[f"{method} of {domain} from {start}"] = str(error)
    return found


def publish(
    task: Task, plan: Plan, hub: Hub, first: int, *, public: bool, sign: Callable[[Path], object] | None = None
) -> list[Row]:
    """Publish a finished model under its seed, and as the main one if it is of the first; return its rows."""
    artefact, model = plan.out / task.name / ARTEFACT, ModelId.parse(task.model)
    if sign is not None:
        sign(artefact)
    revisions = [f"seed-{task.seed}", *([MAIN] if task.seed == first else [])]
    return [hub.publish(artefact, replace(model, revision=each), public=public).row for each in revisions]


def page_of(rows: Sequence[Row], lacking: dict[str, str], hub: str) -> Iterator[str]:
    """Yield the lines of the catalogue: what there is with its figures, then what there is not and why."""
    yield from ("# The zoo", "", f"{len(rows)} models on {hub}. Brackets hold 95 % intervals over subjects; trivial is")
    yield from ("the best of what knows nothing. Research only.", "")
    if rows:
        yield from ("| model | revision | labels | results |", "|---|---|---|---|")
    for row in rows:
        yield f"| `{row.id}` | {row.revision} | {', '.join(row.labels)} | {'<br>'.join(figures_of(row.results))} |"
    if lacking:
        yield from ("", "## Not there", "", "| what | why |", "|---|---|")
        yield from (f"| {name} | {why.replace('|', '/')} |" for name, why in lacking.items())


def summary_of(rows: Sequence[Row], lacking: dict[str, str], hub: str, page: Path) -> Iterator[str]:
    """Yield what is told in the end: how much there is, and of some of the rest why not."""
    yield f"{len(rows)} published on {hub}, {len(lacking)} lacking: {page}"
    yield from (f"  {name}: {why}" for name, why in [*lacking.items()][:_NAMED])
    if len(lacking) > _NAMED:
        yield f"  and {len(lacking) - _NAMED} more that {page} names"


@reports_errors
def main(
    hub: Annotated[str, typer.Option(help="Where models are published: hf://ORG or a folder.")],
    data: Data = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Of the grid and the catalogue.")] = Path("out/zoo"),
    method: Some = None,
    domain: Some = None,
    seeds: Annotated[str, typer.Option(help="Such as 10,20,30, the study's.")] = "10,20,30",
    profile: Annotated[str, typer.Option(help="Budget of the recipes.")] = FULL_PROFILE,
    protocol: Annotated[Protocol, typer.Option(help="Of the recipes.")] = Protocol.SOUND,
    backbone: Annotated[str, typer.Option(help="timm name; '' for the study's own.")] = "",
    weights: Annotated[str | None, typer.Option(help="Of backbones: random, timm, or a file.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many models at a time.")] = 1,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see them on the Hugging Face Hub.")] = False,
    key: Key = None,
    token: Annotated[str | None, typer.Option(help="Access token of the Hugging Face Hub.")] = None,
) -> int:
    """Make every model whose data stand here, and publish it."""
    terminal, opened = Terminal(), open_hub(hub, token=token)
    sign = None if key is None else signing_by(key)
    numbers = [int(each) for each in seeds.split(",")]
    plan = Plan(out.absolute(), data_folder(data).absolute(), profile, protocol, weights, None, None)
    found = wanted(plan, method or known_methods(), domain or list(DOMAINS), numbers, backbone or None)
    rows, lacking = [], dict(found.lacking)
    failed = False
    terminal.say(
        f"{len(found.tasks)} models to make, as {profile} profile, and to publish on {opened.location}, visible to "
        f"{opened.audience(public)}; {len(lacking)} cannot be made"
    )
    with when_interrupted(_KEPT), terminal.bar("the zoo") as advance:
        for outcome in carry_out(found.tasks, plan, LocalEngine(jobs)):
            name = outcome.task.name
            try:
                if outcome.error:
                    raise UpdZooError(outcome.error)
                if outcome.what == "make":
                    rows += publish(outcome.task, plan, opened, numbers[0], public=public, sign=sign)
            except UpdZooError as error:
                lacking[name], failed = str(error), True
            advance(Progress(outcome.what, outcome.done, outcome.total, name))
    rows.sort(key=lambda row: (row.id, row.revision))
    write_text(out / CATALOGUE, "\n".join(page_of(rows, lacking, opened.location)) + "\n")
    terminal.data(
        {"published": [str(row.named) for row in rows], "lacking": lacking},
        "\n".join(summary_of(rows, lacking, opened.location, out / CATALOGUE)),
    )
    return InputError.exit_code if failed else 0


if __name__ == "__main__":
    run_alone(main)
