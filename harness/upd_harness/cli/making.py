"""What the commands that make models share: their options, where they put things, what they say before and after."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.options import Data, Device
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import counted
from upd_zoo.errors import MissingExtraError
from upd_zoo.names import ModelId
from upd_zoo.progress import Report
from upd_zoo.recipe import Recipe, load_recipe, usual_profile
from upd_zoo.vocabulary import Protocol

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Backbone, Config
    from upd_zoo.fitting.run import RunSettings

ARTEFACT: Final = "artefact"
"""Folder, within that of a run, of the artefact made of it."""
KEPT: Final = "what was learnt up to the last checkpoint is kept; --continue goes on with it"
_OWN: Final = ("upd_zoo", "upd_harness")

ProtocolOption = Annotated[
    Protocol, typer.Option("--protocol", help="study repeats the study's faults, sound corrects them.")
]
ProfileOption = Annotated[str, typer.Option("--profile", help="full (the study's budget), quick, tiny; light, if any.")]
SideOption = Annotated[
    int | None,
    typer.Option(
        "--side", help="Height and width of images: 128, 192 or 256 pixels; default: the recipe's, mostly 128."
    ),
]
StepsOption = Annotated[int | None, typer.Option("--steps", min=1, help="Steps of every phase; default: the recipe's.")]


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a network is trained, and on what.

    Attributes:
        data: Folder of the prepared stores; None for the default one.
        profile: Which budget of the recipe; None for the usual one of a model.
        protocol: Whether the study's faults are repeated.
        seed: Of everything random.
        device: Where.
        weights: What a backbone starts from; None for what the recipe says.
        steps: Of every phase; None for what the recipe says.
        batch_size: Images per step; None for what the recipe says.
        side: Of the images in pixels; None for what the recipe says.
        resume: Whether the run in the folder goes on.
    """

    data: Data = None
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="full (the usual budget), quick, tiny; light, if any, is usual for own images."),
    ] = None
    protocol: ProtocolOption = Protocol.SOUND
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0
    device: Device = "auto"
    weights: Annotated[
        str | None, typer.Option("--weights", help="What a backbone starts from: random, timm, packaged, or a file.")
    ] = None
    steps: StepsOption = None
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Images per step; default: the recipe's.")
    ] = None
    side: SideOption = None
    resume: Annotated[bool, typer.Option("--continue", help="Continue the run in the folder.")] = False

    def recipe(self, model: ModelId) -> Recipe:
        """Return how a model is trained."""
        profile = self.profile or usual_profile(model)
        return load_recipe(model, self.protocol, profile, self.steps, self.batch_size, self.side)

    def settings(self) -> "RunSettings":
        """Return what is chosen for this run, as the calls that train take it."""
        from upd_zoo.fitting.run import RunSettings

        return RunSettings(self.seed, self.device, self.weights, self.resume)


def heard(terminal: Terminal, name: str, advance: Report) -> dict[str, Any]:
    """Return, by the names of the calls that train, what hears that they begin and how far they are."""
    return {
        "on_begin": lambda record, note: _begin(terminal, name, record, note),
        "on_progress": advance,
    }


def _begin(terminal: Terminal, name: str, record: "Config | Backbone", note: str) -> None:
    """Say what is trained, on what, and for how long."""
    if note:
        terminal.say(note)
    training, origin = record.training, record.weights_origin
    if origin is not None and origin.source == "file" and origin.pixels != origin.name and origin.mean is not None:
        terminal.say(
            f"{origin.name} does not say what pixels it expects; those of {origin.pixels or 'drawn weights'} are taken"
        )
    steps = f"{training.steps} steps of {training.batch_size} images" if training.steps else "no gradient steps"
    whom = f"from {counted(training.images, 'image')} of {counted(training.subjects, 'subject')}"
    terminal.say(f"{name} on {training.device}: {steps}, {whom}")


@contextmanager
def needs_train(purpose: str) -> Iterator[None]:
    """Tell which extra is missing where the imports in the block find no torch, or none of what stands beside it.

    Raises:
        MissingExtraError: So it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN:
            raise
        raise MissingExtraError(purpose, "train") from error


def run_folder(model: ModelId) -> Path:
    """Return where a model is trained if its user names no folder."""
    return Path("out", "runs", model.name)


def pretraining_folder(model: ModelId) -> Path:
    """Return where CCD makes what a model starts from if its user names no folder; test sets of a domain share it."""
    return Path("out", "pretraining", replace(model, ccd=False).canonical.name)


def next_command(*words: object) -> str:
    """Return a line that names the command that follows."""
    return f"next: {shlex.join(map(str, words))}"


def options(**given: object) -> list[str]:
    """Return options as they are typed, without those that were not given."""
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]
