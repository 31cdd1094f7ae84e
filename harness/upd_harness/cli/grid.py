"""The command `upd-zoo grid`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.engines import Where
from upd_harness.cli.making import ProfileOption, ProtocolOption, SideOption, StepsOption
from upd_harness.cli.options import Data, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.grid.identity import described
from upd_harness.grid.plan import Choice, Plan, Start, Task, part_of, tasks_of
from upd_zoo.errors import InputError, MissingExtraError
from upd_zoo.progress import Progress
from upd_zoo.stores.places import data_folder
from upd_zoo.vocabulary import Protocol

_KEPT = "what is finished is kept; the same command goes on with the rest"


@dataclass(frozen=True, kw_only=True)
class Models:
    """Which models a grid is made of.

    Attributes:
        method: Ids of methods; None for all.
        domain: Ids of domains; None for the phantoms.
        start: What networks start from; None for what the weights say.
        seed: Of the trainings; None for 0.
        backbone: Of methods that take one; empty for the study's own.
        fraction: Shares of the training subjects; None for all of them.
    """

    method: Annotated[list[str] | None, typer.Option("--method", help="May be given again; else all.")] = None
    domain: Annotated[list[str] | None, typer.Option("--domain", help="May be given again; else the phantoms.")] = None
    start: Annotated[
        list[Start] | None, typer.Option("--start", help="May be given again; else as --weights says.")
    ] = None
    seed: Annotated[list[int] | None, typer.Option("--seed", help="May be given again; else 0.")] = None
    backbone: Annotated[str, typer.Option("--backbone", help="timm name; '' for the study's own.")] = "mobilenetv2_100"
    fraction: Annotated[
        list[float] | None,
        typer.Option("--fraction", min=0, max=1, help="Of the training subjects; 0 for one. May be given again."),
    ] = None

    def tasks(self) -> list[Task]:
        """Return the tasks of the grid."""
        return tasks_of(
            Choice(
                self.method or (),
                self.domain or (),
                self.start or (),
                self.seed or (),
                self.backbone or None,
                self.fraction or (),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Making:
    """How every model of a grid is made.

    Attributes:
        data: Folder of the prepared stores; None for the default one.
        profile: Which budget of the recipes.
        protocol: Whether the study's faults are repeated.
        weights: What backbones start from.
        steps: Of every phase, instead of the recipe's.
        side: Of images in pixels, instead of the recipe's.
        threads: CPU threads of each model; None for what torch takes.
        any_code: Whether what other versions of the code have made is kept.
    """

    data: Data = None
    profile: ProfileOption = "quick"
    protocol: ProtocolOption = Protocol.SOUND
    weights: Annotated[str, typer.Option("--weights", help="Of backbones: random, timm, or a file.")] = "random"
    steps: StepsOption = None
    side: SideOption = None
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of each model.")] = None

    any_code: Annotated[
        bool, typer.Option("--any-code", help="Keep models that another version of the code has made.")
    ] = False

    def plan(self, out: Path, where: Where) -> Plan:
        """Return what the tasks of a grid in a folder have in common."""
        # On other nodes, what is relative to this process's folder would lie elsewhere.
        data = data_folder(self.data).absolute()
        weights = str(Path(self.weights).absolute()) if Path(self.weights).is_file() else self.weights
        threads = where.threads(self.threads)
        return Plan(out, data, self.profile, self.protocol, weights, self.steps, threads, self.side, self.any_code)


@command
def grid(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the grid.")],
    page: Annotated[Path | None, typer.Option("--page", help="File for the tables, without pictures.")] = None,
    only_tables: Annotated[bool, typer.Option("--only-tables", help="Make no model; show what is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the tasks as JSON, and do nothing.")] = False,
    num_parts: Annotated[int, typer.Option("--num-parts", min=1, help="Processes that share the tasks.")] = 1,
    part_id: Annotated[int, typer.Option("--part-id", min=0, help="Which of them this is, from 0.")] = 0,
    *,
    models: Models,
    making: Making,
    where: Where,
    terminal: Terminal,
) -> int:
    """Make and evaluate many models, and lay them side by side.

    What is finished is not made again, so a grid that was stopped goes on where it stood. Models that fail are named at
    the end; exit code 3.
    """
    tasks, plan = models.tasks(), making.plan(out.absolute(), where)
    mine = part_of(tasks, part_id, num_parts)
    if dry_run:
        planned = list(described(mine, plan))
        terminal.data(planned, json.dumps(planned, indent=2))
        return 0
    if find_spec("torch") is None:
        raise MissingExtraError("Making models", "train")
    from upd_harness.grid.page import write_page

    with when_interrupted(_KEPT):
        failed = {} if only_tables else _make(mine, plan, where, terminal)
        written = write_page(tasks, plan, page)
    terminal.data(written.document, written.text)
    if not failed:
        return 0
    terminal.say("\n".join(("these failed:", *(f"  {name}: {error}" for name, error in failed.items()))))
    return InputError.exit_code


def _make(tasks: list[Task], plan: Plan, where: Where, terminal: Terminal) -> dict[str, str]:
    """Carry out the tasks; return why each that failed did so."""
    from upd_harness.grid.outcomes import carry_out

    def wait(busy: Sequence[Task]) -> None:
        terminal.say(f"{len(busy)} are being made by another process, and waited for: {busy[0].name} first")

    failed = {}
    with where.opened() as engine, terminal.bar("grid") as advance:
        for outcome in carry_out(tasks, plan, engine, wait):
            name = outcome.task.name
            if outcome.error:
                failed[name] = outcome.error
            times = ", ".join(f"{stage} {seconds} s" for stage, seconds in outcome.seconds.items())
            terminal.say(f"{name}: {outcome.error or times or 'finished before'}")
            advance(Progress(outcome.what, outcome.done, outcome.total, name))
    return failed
