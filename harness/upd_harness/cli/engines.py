"""Options that say where work is carried out which can be divided."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from upd_harness.engines.engine import Engine
from upd_harness.engines.local import LocalEngine
from upd_zoo.errors import UsageError


class EngineName(StrEnum):
    """Where work is carried out."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where work is carried out.

    Attributes:
        engine: On this machine, or on a Ray cluster whose nodes share storage.
        jobs: Of this machine, how many at the same time; None for one.
        address: Of the Ray cluster; None starts one here.
        cpus_per_task: Of the Ray cluster, what each task takes; None for one.
        gpus_per_task: Likewise, a fraction lets tasks share one; None for none.
        max_retries: How many times a task of the Ray cluster is begun again whose process or node has died; None for 3.
    """

    engine: Annotated[EngineName, typer.Option("--engine", help="This machine, or a Ray cluster.")] = EngineName.LOCAL
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Of --engine local: how many at a time.")] = None
    address: Annotated[
        str | None, typer.Option("--address", help="Of --engine ray; default: RAY_ADDRESS, else one is started.")
    ] = None
    cpus_per_task: Annotated[int | None, typer.Option("--cpus-per-task", min=1, help="Of --engine ray.")] = None
    gpus_per_task: Annotated[
        float | None, typer.Option("--gpus-per-task", min=0, help="Of --engine ray; 0.5 lets two share one.")
    ] = None
    max_retries: Annotated[
        int | None, typer.Option("--max-retries", min=0, help="Of --engine ray: after a death of a process or node.")
    ] = None

    @property
    def is_usual(self) -> bool:
        """Whether nothing was said of engines but what is not theirs to say."""
        return self.engine is EngineName.LOCAL and self.jobs is None

    def threads(self, asked: int | None) -> int | None:
        """Return the CPU threads of each task: what was asked for, or on Ray what a task takes of a node."""
        return (self.cpus_per_task or 1) if asked is None and self.engine is EngineName.RAY else asked

    def check(self) -> None:
        """Refuse options of the other engine.

        Raises:
            UsageError: There is one.
        """
        foreign = {
            EngineName.LOCAL: ("address", "cpus_per_task", "gpus_per_task", "max_retries"),
            EngineName.RAY: ("jobs",),
        }[self.engine]
        given = next((name for name in foreign if getattr(self, name) is not None), None)
        if given is not None:
            option = f"--{given.replace('_', '-')}"
            other = next(name for name in EngineName if name is not self.engine)
            raise UsageError(f"{option} says nothing of the engine {self.engine}", "", f"add --engine {other}")

    def opened(self) -> AbstractContextManager[Engine]:
        """Return the engine, to be used within a block.

        Raises:
            UsageError: An option is of the other engine.
            UpdZooError: The engine cannot be had.
        """
        self.check()
        if self.engine is EngineName.LOCAL:
            return nullcontext(LocalEngine(self.jobs or 1))
        from upd_harness.engines.cluster import RayEngine, connected

        retries = 3 if self.max_retries is None else self.max_retries
        engine = RayEngine(self.cpus_per_task or 1, self.gpus_per_task or 0, retries)
        return connected(self.address or os.environ.get("RAY_ADDRESS") or None, engine)
