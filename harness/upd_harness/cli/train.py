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
from upd_harness.cli.options import Healthy, ModalityOption, command
from upd_harness.cli.prepare import prepare_own, say_failures
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.errors import InputError, NotFoundError, UsageError, closest
from upd_zoo.names import ModelId
from upd_zoo.roster import known_methods
from upd_zoo.stores.domains import UNNAMED


@command
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name such as vae-phantom-t2.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run; default: out/runs/MODEL.")
    ] = None,
    no_export: Annotated[bool, typer.Option("--no-export", help="Make no artefact of the run.")] = False,
    healthy: Healthy = None,
    modality: ModalityOption = None,
    *,
    fitting: Fitting,
    terminal: Terminal,
) -> int:
    """Train a model and make its artefact.

    The artefact is ready to score with and to publish. A run that was stopped, even killed, goes on with --continue and
    ends as if it had not been. With --healthy, MODEL is a method alone, such as padim, and learns from your own images;
    exit code 3: some of them could not be used, the others were.
    """
    with needs_train("Training"):
        import upd_zoo.training  # noqa: F401 - before images are prepared for nothing
    if healthy is None:
        if modality is not None:
            raise UsageError("--modality is of images of your own", "", "add --healthy FOLDER")
        name = ModelId.parse(model)
        run = run_folder(name) if output is None else output
        _make(name, run, run / ARTEFACT, fitting, no_export, terminal)
        return 0
    folder = Path("out", "runs", f"{model}-{UNNAMED}") if output is None else output
    name, fitting, failures = _own(model, folder, healthy, modality, fitting, terminal)
    _make(name, folder / _RUN, folder / ARTEFACT, fitting, no_export, terminal)
    return InputError.exit_code if failures else 0


_RUN, _DATA = "run", "data"
"""Folders, beside that of the artefact, of the run of a model of one's own images, and of their stores."""


def _own(
    model: str, folder: Path, healthy: Path, modality: str | None, fitting: Fitting, terminal: Terminal
) -> tuple[ModelId, Fitting, int]:
    """Prepare images of one's own for a model; return its name, how it is trained, and how many cannot be used.

    Raises:
        UsageError: No method is called so, the images cannot be used so, or the folder is in use.
    """
    from upd_zoo.sources.collection import Collection
    from upd_zoo.sources.folders import Folders
    from upd_zoo.sources.source import Request
    from upd_zoo.stores.domains import add_own

    method = model.partition(".")[0]
    if method not in known_methods():
        near = closest(method, known_methods())
        raise UsageError(
            f"no method is called '{method}'", near, "with --healthy, give the method alone, such as padim"
        )
    if folder.is_dir() and any(folder.iterdir()) and not fitting.resume:
        raise UsageError(f"the folder {folder} is not empty", "a new folder", "add --continue to go on with it")
    data = folder / _DATA
    collection = Collection.of(UNNAMED, Folders(healthy), modality)
    add_own(data, collection.domain, [])
    name = ModelId.parse(f"{model}-{UNNAMED}")
    recipe = fitting.recipe(name)
    done = prepare_own(
        collection, data, Request(), {"protocol": fitting.protocol, "side": recipe.side, "force": False}, terminal
    )
    say_failures(done, terminal)
    return name, replace(fitting, data=data), len(done.failures)


def _make(name: ModelId, run: Path, artefact: Path, fitting: Fitting, no_export: bool, terminal: Terminal) -> None:
    """Train a model from its stores, and make its artefact."""
    from upd_zoo.export.folds import calibrate_by_folds
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store
    from upd_zoo.training import train as train_model

    recipe = fitting.recipe(name)
    data, known = data_folder(fitting.data), (fitting.protocol, recipe.side)
    store = Store(store_path(data, name.domain.id, "train", *known))
    unseen = store_path(data, name.domain.id, "validation", *known)
    if not (no_export or store.facts.folds or unseen.is_dir()):
        terminal.say(f"without the store {unseen} there will be a run, and no artefact")
    fitting = replace(fitting, weights=_start(name, fitting.weights, terminal))
    with when_interrupted(KEPT), terminal.bar(f"training {name}") as advance:
        config = train_model(name, recipe, store, run, fitting.settings(), **heard(terminal, name.name, advance))
    if store.facts.folds:
        with when_interrupted(KEPT), terminal.bar(f"calibrating {name}") as advance:
            calibrate_by_folds(name, recipe, store, run, fitting.settings(), advance)
    if no_export:
        terminal.say(next_command(*_export_of(run, fitting.data)))
    else:
        _export(run, artefact, None if store.facts.folds else unseen, fitting.data, terminal)
    document = {"run": str(run), "artefact": None if no_export else str(artefact)}
    made = run if no_export else artefact
    terminal.data(document | {"config": config.model_dump(mode="json", by_alias=True)}, str(made))


def _export_of(run: Path, data: Path | None) -> tuple[object, ...]:
    return "upd-zoo", "export", run, *options(data=data)


def _export(run: Path, artefact: Path, validation: Path | None, data: Path | None, terminal: Terminal) -> None:
    """Make the artefact of a run.

    Args:
        run: The run.
        artefact: Where it goes.
        validation: The store that calibrates it; None where the run is calibrated.
        data: Folder of the stores, as it was given.
        terminal: What is told of it.

    Raises:
        NotFoundError: There is no validation store.
    """
    if validation is not None and not validation.is_dir():
        raise NotFoundError(
            f"the run {run} is whole, but there is no store {validation} to calibrate its artefact with",
            "a store of healthy images that the model did not see",
            f"upd-zoo prepare {validation.parent.name}, then {shlex.join(map(str, _export_of(run, data)))}",
        )
    manifest = make_artefact(run, artefact, data, terminal)
    say_what_follows(artefact, manifest.id, data, terminal)


def _start(model: ModelId, weights: str | None, terminal: Terminal) -> str | None:
    """Return what a model starts from: what was given, or what `upd-zoo pretrain` left for it."""
    from upd_zoo.artefact.records import CONFIG

    made = pretraining_folder(model) / "backbone"
    if weights is not None or not model.ccd or not (made / CONFIG).is_file():
        return weights
    terminal.say(f"{model.name} starts from {made}")
    return str(made)
