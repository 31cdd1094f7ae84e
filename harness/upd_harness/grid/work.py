"""One task: a model trained, exported and evaluated in a folder of its own.

    run/                     of the training
    artefact/                what was exported, with the results
    evaluation/<test set>/   one evaluation each
    task.json                all that decides what the task comes to; it is only ever gone on with as what it was
    times.json               the seconds of each stage, and of processor time of all; written last, so that what has it
                             is finished

A task that was killed goes on with its training where the last checkpoint stood. One that was finished and is no longer
whole is exported and evaluated again; where results alone are missing, these are made. Of several processes that are
told to carry out a task, one does, under a lock of its folder, and the others find it finished. Torch is imported here
alone, and only when a task is carried out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from upd_harness.grid.identity import IDENTITY, base_of, identity_of, pretraining_identity, recipe_of, settle
from upd_harness.grid.plan import ARTEFACT, EVALUATION, FINISHED, Plan, Start, Task, fraction_suffix
from upd_harness.grid.results import lacking
from upd_zoo.artefact.folder import is_whole
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.errors import UsageError
from upd_zoo.files import held, write_json
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_pretraining
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import STUDY_SIDE, TestSet

RUN: Final = "run"
LOCK: Final = ".lock"
PROCESSOR: Final = "processor"
FOR_EVER: Final = -1.0


def make(task: Task, plan: Plan, patience: float = FOR_EVER) -> dict[str, float]:
    """Train, export and evaluate one model, and write its folder.

    Args:
        task: The model.
        plan: Of the grid.
        patience: Seconds to wait while another process carries it out.

    Returns:
        The seconds of each stage, and of processor time; nothing where the task was finished before, and is whole.

    Raises:
        UsageError: It was begun with another recipe, seed, store, weights or code.
        Timeout: Another process still carries it out.
        UpdZooError: A stage failed.
    """
    folder, recipe = plan.out / task.name, recipe_of(task, plan)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK, patience):
        exported = (folder / FINISHED).is_file() and is_whole(folder / ARTEFACT)
        if exported and not (folder / IDENTITY).is_file():
            _check_same(folder, recipe)
        else:
            settle(folder, identity_of(task, plan), plan)
        if not exported:
            (folder / FINISHED).unlink(missing_ok=True)
            return _make(task, plan, recipe)
        left = lacking(task, plan, recipe.side)
        return _timed(plan, {"evaluate": lambda: _evaluate(task, plan, left)}) if left else {}


def _make(task: Task, plan: Plan, recipe: Recipe) -> dict[str, float]:
    seconds = _timed(
        plan,
        {
            "train": lambda: _train(task, plan, recipe),
            "export": lambda: _export(task, plan, recipe),
            "evaluate": lambda: _evaluate(task, plan, task.tests()),
        },
    )
    write_json(plan.out / task.name / FINISHED, seconds)
    return seconds


def _timed(plan: Plan, stages: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Carry out stages one after the other, in as many threads as the plan says.

    Returns:
        The seconds of each, and what all threads of this process computed, which other work beside it hardly changes.
    """
    _limit_threads(plan)
    seconds: dict[str, float] = {}
    computed = time.process_time()
    for stage, action in stages.items():
        began = time.monotonic()
        action()
        seconds[stage] = round(time.monotonic() - began, 1)
    return {**seconds, PROCESSOR: round(time.process_time() - computed, 1)}


def pretrain_for(task: Task, plan: Plan, patience: float = FOR_EVER) -> dict[str, float]:
    """Pre-train the network that a task starts from; its folder holds a `task.json` as that of a task does.

    Returns:
        The seconds that it took, as of `make`; nothing where it was finished before.

    Raises:
        UsageError: It was begun with another recipe, seed, store, weights or code.
        Timeout: Another process still pre-trains it.
        UpdZooError: It failed.
    """
    from upd_zoo.fitting.run import RunSettings
    from upd_zoo.pretrain.run import BACKBONE, encoder_of, pretrain

    base = base_of(task, plan)
    run = plan.out / pretraining_of(task, plan)
    run.mkdir(parents=True, exist_ok=True)
    store = Store(store_path(plan.data, base.domain.id, "train", plan.protocol, base.side))
    weights = plan.weights if "backbone" in base.settings else None
    with held(run.with_name(f".{run.name}{LOCK}"), patience):
        finished = (run / BACKBONE).is_dir()
        if not finished or (run / IDENTITY).is_file():
            recipe = load_pretraining(base, encoder_of(base).name, plan.steps)
            settle(run, pretraining_identity(task, recipe, weights, store), plan)
        if finished:
            return {}
        settings = RunSettings(seed=task.seed, weights=weights, resume=True, fraction=task.fraction)
        return _timed(plan, {"pretrain": lambda: pretrain(base, store, run, settings, steps=plan.steps)})


def pretraining_of(task: Task, plan: Plan) -> str:
    """Return the folder of the pre-training that a task starts from, which it may share with others."""
    from upd_zoo.pretrain.run import encoder_of

    base = base_of(task, plan)
    centred = "-centred" if base.centred else ""
    side = "" if base.side == STUDY_SIDE else f"-{base.side}"
    encoder = encoder_of(base)
    normalised = "" if encoder.normalisation is None else "-normalised"
    share = fraction_suffix(task.fraction)
    return f"ccd.{encoder.name}-{base.domain.id}{centred}{normalised}{side}{share}@seed-{task.seed}"


def pretrainings_of(tasks: Sequence[Task], plan: Plan) -> list[str]:
    """Return `pretraining_of` of every task."""
    return [pretraining_of(task, plan) for task in tasks]


def _check_same(folder: Path, recipe: Recipe) -> None:
    """Hold what an older version finished, which wrote no `task.json`, against the recipe."""
    config = read_record(folder / ARTEFACT / CONFIG, Config)
    found = config.training.profile, config.protocol, config.input.side
    wanted = recipe.profile, recipe.protocol, recipe.side
    if found != wanted:
        made = [f"profile {profile}, protocol {protocol}, {side} pixels" for profile, protocol, side in (found, wanted)]
        raise UsageError(f"{folder} was made with {made[0]}", made[1], "choose another folder for the grid")


def _limit_threads(plan: Plan) -> None:
    if plan.threads is not None:
        import torch

        torch.set_num_threads(plan.threads)
        threadpool_limits(plan.threads)  # of NumPy's products, which sum in another order with other threads


def _train(task: Task, plan: Plan, recipe: Recipe) -> None:
    from upd_zoo.fitting.run import RunSettings
    from upd_zoo.training import train

    model = ModelId.parse(task.model)
    store = Store(store_path(plan.data, model.domain.id, "train", plan.protocol, recipe.side))
    settings = RunSettings(seed=task.seed, weights=_weights(task, plan, recipe), resume=True, fraction=task.fraction)
    train(model, recipe, store, plan.out / task.name / RUN, settings)


def _weights(task: Task, plan: Plan, recipe: Recipe) -> str | None:
    """Return what a model is told to start from."""
    if task.start is Start.CCD:
        return str(plan.out / pretraining_of(task, plan) / "backbone")
    if "backbone" not in recipe.settings:
        return None
    return "random" if task.start is Start.RANDOM else plan.weights


def _export(task: Task, plan: Plan, recipe: Recipe) -> None:
    from upd_zoo.export import export_artefact

    folder = plan.out / task.name
    validation = Store(store_path(plan.data, recipe.domain.id, "validation", plan.protocol, recipe.side))
    export_artefact(folder / RUN, validation, folder / ARTEFACT)


def _evaluate(task: Task, plan: Plan, tests: Sequence[TestSet]) -> None:
    from upd_harness.evaluation.run import evaluate
    from upd_zoo.card.results import add_results
    from upd_zoo.runtime.folder import load_folder

    folder = plan.out / task.name
    model = load_folder(folder / ARTEFACT, device="cpu", threads=plan.threads)
    side = model.config.input.side
    places = {each: store_path(plan.data, each.id, "test", plan.protocol, side) for each in tests}
    stand = {each: path for each, path in places.items() if path.is_dir()}
    results = [
        evaluate(model, each, Store(path), folder / EVALUATION / each.id, revision=f"seed-{task.seed}").result
        for each, path in (stand or places).items()  # where none stands, the first one says so
    ]
    add_results(folder / ARTEFACT, results)
