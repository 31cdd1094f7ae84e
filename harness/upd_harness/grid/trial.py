"""One variant of a recipe, trained from one seed and measured on validation images with planted anomalies.

    planted/<store>-<hash>/    validation images with anomalies
    runs/<hash>/               of the trainings; variants that differ in post-processing alone share one
    trials/<hash>.json         what came of one variant and seed; what is there is not made again

Hashes are of everything that decides an outcome: recipe, seed, stores, weights, and the code that learns and maps. A
test store is never opened. Torch is imported where a trial is carried out.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from upd_harness.evaluation.planted import Planting, measure, planted
from upd_harness.grid.identity import code, hash_of, weights_identity
from upd_harness.grid.plan import fraction_suffix
from upd_harness.grid.variants import Variant, varied, without
from upd_harness.report.run_record import versions
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Config
from upd_zoo.errors import UsageError
from upd_zoo.files import write_json
from upd_zoo.names import ModelId
from upd_zoo.progress import Report, silent
from upd_zoo.recipe import FULL_PROFILE, Recipe, load_recipe
from upd_zoo.runtime.model import Predict
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Protocol

SCHEMA: Final = "upd-zoo/trial/1"
AFTERWARDS: Final = ("smoothing", "erosion", "score_rule")
"""What no training depends on: names of a recipe that the detector alone reads."""
_USUAL: Final = Planting()


@dataclass(frozen=True, slots=True)
class Contest:
    """What all variants of a comparison have in common.

    Attributes:
        model: Name of the model whose recipe is varied.
        out: Folder of the comparison.
        data: Folder of the prepared stores.
        profile: Budget of the recipe.
        protocol: Of the recipe.
        weights: What backbones start from; None for what the recipe says.
        planting: What is planted; the seed of a trial is added to its own, so that seeds differ in the anomalies too.
        fraction: Share of the training subjects that is learnt from, in [0, 1].
        prepared: By whose rules its images were prepared; None for those of the recipe.
        map_only: Names beside `AFTERWARDS` that change how a finished model maps and not what it learns.
    """

    model: str
    out: Path
    data: Path
    profile: str = FULL_PROFILE
    protocol: Protocol = Protocol.SOUND
    weights: str | None = None
    planting: Planting = _USUAL
    map_only: tuple[str, ...] = ()
    fraction: float = 1.0
    prepared: Protocol | None = None

    def recipe(self, changes: Mapping[str, Any]) -> Recipe:
        """Return the recipe of the model with other values; a side takes with it what is smoothed and eroded."""
        own = load_recipe(ModelId.parse(self.model), self.protocol, self.profile, side=changes.get("side"))
        return varied(own, changes)

    def store(self, recipe: Recipe, part: Part) -> Store:
        """Return the store of a part that is no test."""
        return Store(self.path(recipe, recipe.domain.id, part))

    def path(self, recipe: Recipe, target: str, part: Part) -> Path:
        """Return where the store of a domain or test set lies that a recipe reads."""
        return store_path(self.data, target, part, self.prepared or recipe.protocol, recipe.side)


@dataclass(frozen=True, slots=True)
class Planned:
    """A variant and seed, before anything is trained.

    Attributes:
        recipe: What the finished model does.
        learnt: What is trained: the recipe without what changes no training.
        train: The images that it learns from.
        inputs: All that decides the finished model, for a hash.
        run: The folder of the training.
    """

    recipe: Recipe
    learnt: Recipe
    train: Store
    inputs: Mapping[str, Any]
    run: Path


def planned(contest: Contest, variant: Variant, seed: int) -> Planned:
    """Return what a variant comes down to with one seed.

    Raises:
        NotFoundError: The training images are not prepared.
        UsageError: A name or value of the variant is unknown.
    """
    recipe = contest.recipe(variant.changes)
    learnt = contest.recipe(without(variant.changes, (*AFTERWARDS, *contest.map_only)))
    train = contest.store(recipe, Part.TRAIN)
    inputs = {
        "model": ModelId.parse(contest.model).name + fraction_suffix(contest.fraction),
        "seed": seed,
        "weights": weights_identity(contest.weights),
        "train": train.sha256,
        "code": code(),
    }
    run = contest.out / "runs" / hash_of({**inputs, "recipe": learnt.document})
    return Planned(recipe, learnt, train, {**inputs, "recipe": recipe.document, "run": run.name}, run)


def fitted(contest: Contest, plan: Planned, seed: int, on_progress: Report = silent) -> tuple[Predict, Config]:
    """Return the finished model of a plan, training it where that was not done before.

    Raises:
        UsageError: A name is said to change no training although it does.
        UpdZooError: The training fails.
    """
    config = _mapping(_train(contest, plan, seed, on_progress), plan.recipe)
    return _predict(plan.run, config), config


def carry_out(contest: Contest, variant: Variant, seed: int, on_progress: Report = silent) -> dict[str, Any]:
    """Return what a variant comes to with one seed, having trained and measured it where that was not done before.

    Raises:
        NotFoundError: A store is not prepared.
        UsageError: A name of the variant is unknown, or said to change no training although it does.
        UpdZooError: The training fails.
    """
    plan = planned(contest, variant, seed)
    planting = replace(contest.planting, seed=contest.planting.seed + seed)
    ground = planted(contest.store(plan.recipe, Part.VALIDATION), contest.out / "planted", planting)
    identity = {**plan.inputs, "planted": ground.sha256}

    def made() -> dict[str, Any]:
        predict, config = fitted(contest, plan, seed, on_progress)
        found = measure(predict, config, ground)
        by_kind = {who: {kind: each.model_dump() for kind, each in kinds.items()} for who, kinds in found.items()}
        return {"schema": SCHEMA, **identity, "planting": asdict(planting), "metrics": by_kind}

    result = contest.out / "trials" / f"{hash_of(identity)}.json"
    fresh = not result.is_file()
    return {**kept(result, made), "variant": variant.name, "fresh": fresh}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a file holds, made and written with versions and seconds where it is not there yet."""
    if not path.is_file():
        began = time.monotonic()
        document = make()
        write_json(path, {**document, "versions": versions(), "seconds": round(time.monotonic() - began, 1)})
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _mapping(config: Config, recipe: Recipe) -> Config:
    """Return the configuration of a run with what a recipe says of the finished model."""
    update = {"settings": recipe.settings, **{name: getattr(recipe, name) for name in AFTERWARDS}}
    return config.model_copy(update=update)


def _train(contest: Contest, plan: Planned, seed: int, on_progress: Report) -> Config:
    from upd_zoo.fitting.run import RunSettings
    from upd_zoo.training import train

    if (plan.run / WEIGHTS).is_file():
        return read_record(plan.run / CONFIG, Config)
    weights = contest.weights if "backbone" in plan.learnt.settings else None
    settings = RunSettings(seed=seed, device="cpu", weights=weights, resume=True, fraction=contest.fraction)
    return train(ModelId.parse(contest.model), plan.learnt, plan.train, plan.run, settings, on_progress=on_progress)


def _predict(run: Path, config: Config) -> Predict:
    """Return the finished model of a run as a configuration says that it maps."""
    from upd_zoo.detector import Detector
    from upd_zoo.runtime.eager import as_predict
    from upd_zoo.runtime.tensors import read_tensors

    detector = Detector.from_config(config)
    try:
        detector.method.load_state_dict(read_tensors(run / WEIGHTS, f"remove the folder {run}"))
    except RuntimeError as error:
        raise UsageError(
            f"the weights of one training do not fit these settings: {error}",
            "in --map-only names of settings that change no training",
            "leave out of --map-only what changes one",
        ) from error
    return as_predict(detector)
