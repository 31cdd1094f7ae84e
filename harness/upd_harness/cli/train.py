"""The command `upd-zoo train`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.export import make_artefact, say_what_follows
from upd_harness.cli.making import (
    ARTEFACT,
    KEPT,
    Fitting,
    heard,
    needs_train,
    next_command,
    options,
    pretraining_folder,
    run_folder,
)
from upd_harness.cli.options import command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.errors import NotFoundError
from upd_zoo.names import ModelId


@command
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name such as vae-phantom-t2.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run; default: out/runs/MODEL.")
    ] = None,
    no_export: Annotated[bool, typer.Option("--no-export", help="Make no artefact of the run.")] = False,
    *,
    fitting: Fitting,
    terminal: Terminal,
) -> None:
    """Train a model and make its artefact.

    The artefact is ready to score with and to publish. A run that was stopped, even killed, goes on with --continue and
    ends as if it had not been.
    """
    with needs_train("Training"):
        from upd_zoo.training import train as train_model
    from upd_zoo.recipe import load_recipe
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store

    name = ModelId.parse(model)
    run = run_folder(name) if output is None else output
    recipe = load_recipe(name, fitting.protocol, fitting.profile, fitting.steps, fitting.batch_size, fitting.side)
    data, known = data_folder(fitting.data), (fitting.protocol, recipe.side)
    store = Store(store_path(data, name.domain.id, "train", *known))
    unseen = store_path(data, name.domain.id, "validation", *known)
    if not (no_export or unseen.is_dir()):
        terminal.say(f"without the store {unseen} there will be a run, and no artefact")
    fitting = replace(fitting, weights=_start(name, fitting.weights, terminal))
    with when_interrupted(KEPT), terminal.bar(f"training {name}") as advance:
        config = train_model(name, recipe, store, run, fitting.settings(), **heard(terminal, name.name, advance))
    artefact = None if no_export else _export(run, unseen, fitting.data, terminal)
    if artefact is None:
        terminal.say(next_command(*_export_of(run, fitting.data)))
    document = {"run": str(run), "artefact": None if artefact is None else str(artefact)}
    terminal.data(document | {"config": config.model_dump(mode="json", by_alias=True)}, str(artefact or run))


def _export_of(run: Path, data: Path | None) -> tuple[object, ...]:
    return "upd-zoo", "export", run, *options(data=data)


def _export(run: Path, validation: Path, data: Path | None, terminal: Terminal) -> Path:
    """Make the artefact of a run within its folder.

    Raises:
        NotFoundError: There is no validation store.
    """
    if not validation.is_dir():
        raise NotFoundError(
            f"the run {run} is whole, but there is no store {validation} to calibrate its artefact with",
            "a store of healthy images that the model did not see",
            f"upd-zoo prepare {validation.parent.name}, then {shlex.join(map(str, _export_of(run, data)))}",
        )
    artefact = run / ARTEFACT
    manifest = make_artefact(run, artefact, data, terminal)
    say_what_follows(artefact, manifest.id, terminal)
    return artefact


def _start(model: ModelId, weights: str | None, terminal: Terminal) -> str | None:
    """Return what a model starts from: what was given, or what `upd-zoo pretrain` left for it."""
    from upd_zoo.artefact.records import CONFIG

    made = pretraining_folder(model) / "backbone"
    if weights is not None or not model.ccd or not (made / CONFIG).is_file():
        return weights
    terminal.say(f"{model.name} starts from {made}")
    return str(made)
