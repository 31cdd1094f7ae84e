"""What decides what a training comes to: recipe, seed, stores, weights and code.

By it, and not by the name of a folder alone, what is finished is known again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import upd_zoo
from upd_harness.grid.plan import ARTEFACT, FINISHED, Plan, Start, Task
from upd_zoo.artefact.folder import first_lost
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.files import sha256_of, to_json, write_json
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import Store

IDENTITY: Final = "task.json"
SCHEMA: Final = "upd-zoo/task/1"
_DECIDING: Final = ("methods/*.py", "layers/*.py", "fitting/*.py", "pretrain/*.py", "detector.py", "training.py")
"""The code that decides what is learnt and mapped; what other code gives is a store, whose hash is known."""
_CODE: Final = "code"
_OF_THE_METHOD: Final = ("smoothing", "erosion", "score_rule", "weights", "pretrain")
"""What the recipe of a pre-training keeps of the method for which it was asked."""
_NAMED: Final = 4
"""How many differences an error names."""


def recipe_of(task: Task, plan: Plan) -> Recipe:
    """Return the recipe of a task."""
    model = ModelId.parse(task.model)
    learns = bool(load_recipe(model).phases)
    return load_recipe(model, plan.protocol, plan.profile, plan.steps if learns else None, side=plan.side)


def base_of(task: Task, plan: Plan) -> Recipe:
    """Return the recipe of the model without CCD, by which what it starts from is pre-trained."""
    return load_recipe(replace(ModelId.parse(task.model), ccd=False), plan.protocol, plan.profile, side=plan.side)


def identity_of(task: Task, plan: Plan) -> dict[str, Any]:
    """Return all that decides what a task comes to; None stands for stores that are not at hand."""
    recipe, domain = recipe_of(task, plan), ModelId.parse(task.model).domain.id
    weights = None if "backbone" not in recipe.settings else "random" if task.start is Start.RANDOM else plan.weights

    def hash_at(name: str, part: Part) -> str | None:
        with suppress(NotFoundError):
            return Store(store_path(plan.data, name, part, plan.protocol, recipe.side)).sha256
        return None

    return {
        "schema": SCHEMA,
        **asdict(task),
        "weights": weights_identity(weights),
        "train": hash_at(domain, Part.TRAIN),
        "validation": hash_at(domain, Part.VALIDATION),
        "tests": {test_set.id: hash_at(test_set.id, Part.TEST) for test_set in task.tests()},
        _CODE: code(),
        "recipe": recipe.document,
    }


def pretraining_identity(task: Task, recipe: Recipe, weights: str | None, store: Store) -> dict[str, Any]:
    """Return all that decides what a pre-training comes to that several methods may share.

    Args:
        task: The first that starts from it.
        recipe: Of the pre-training.
        weights: What it starts from itself; None for what the recipe says.
        store: Its images.
    """
    own = {name: value for name, value in recipe.document.items() if name not in _OF_THE_METHOD}
    return {
        "schema": SCHEMA,
        "seed": task.seed,
        "fraction": task.fraction,
        "weights": weights_identity(weights) or recipe.pretrain,
        "train": store.sha256,
        _CODE: code(),
        "recipe": own,
    }


def is_finished(task: Task, plan: Plan) -> bool:
    """Tell whether a task is finished that is this one in all that decides what it comes to, and has its artefact."""
    folder = plan.out / task.name
    made = (folder / FINISHED).is_file() and not first_lost(folder / ARTEFACT)
    return made and not _differences(folder, identity_of(task, plan), plan)


def described(tasks: Sequence[Task], plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield what each task is, where its folder lies, and whether it is finished, for programs to read."""
    for task in tasks:
        model = ModelId.parse(task.model)
        yield {
            **asdict(task),
            "method": model.method,
            "domain": model.domain.id,
            "test_sets": [test_set.id for test_set in task.tests()],
            "folder": str(plan.out / task.name),
            "finished": is_finished(task, plan),
        }


def settle(folder: Path, identity: Mapping[str, Any], plan: Plan) -> None:
    """Hold what a folder was begun as against what it is to be now, and write that into a new one.

    Raises:
        UsageError: It was begun with another recipe, seed, store, weights or, unless the plan takes any, code.
    """
    differ = _differences(folder, identity, plan)
    if {*differ} == {_CODE}:
        raise UsageError(
            f"{folder} was made with other code of the methods",
            f"the code that is installed, {identity[_CODE]}",
            "choose another folder for the grid, or add --any-code to keep what other versions made",
        )
    if differ:
        told = [f"{name} {_told(was)} instead of {_told(now)}" for name, (was, now) in differ.items()][:_NAMED]
        more = f" and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
        raise UsageError(
            f"{folder} was made with {', '.join(told)}{more}",
            "what it was made with",
            "choose another folder for the grid",
        )
    if not (folder / IDENTITY).is_file():
        write_json(folder / IDENTITY, identity)


def _differences(folder: Path, identity: Mapping[str, Any], plan: Plan) -> dict[str, tuple[Any, Any]]:
    """Return what a folder was begun with, and what it is to be now, where both are known and not the same."""
    path = folder / IDENTITY
    if not path.is_file():  # a new folder, or one of a version that did not write this down
        return {}
    documents = json.loads(path.read_bytes()), json.loads(to_json(identity))
    was, now = (dict(_fields(document)) for document in documents)
    ignored = {_CODE} if plan.any_code else set()
    names = [name for name in {**was, **now} if name not in ignored and was.get(name) != now.get(name)]
    return {name: (was.get(name), now.get(name)) for name in names if not _not_at_hand(name, was, now)}


def _not_at_hand(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return name.startswith(("train", "validation", "tests.")) and None in (was.get(name), now.get(name))


def _fields(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested document by their dotted names."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _told(value: Any) -> str:
    return to_json(value, indent=None)


# Parts of an identity


def weights_identity(weights: str | None) -> str | None:
    """Return what decides which weights a backbone starts from: the hash of a file, or the word that was given."""
    return sha256_of(Path(weights)) if weights is not None and Path(weights).is_file() else weights


@cache
def code() -> str:
    """Return a hash of the code that decides what is learnt and mapped."""
    root = Path(upd_zoo.__file__).parent
    files = sorted(path for pattern in _DECIDING for path in root.glob(pattern))
    return hash_of({path.relative_to(root).as_posix(): sha256_of(path) for path in files})


def hash_of(document: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for a document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
