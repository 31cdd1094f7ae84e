"""The folder of a run: how it is opened, what it was made from, and that it only ever goes on as what it was.

    config.json              what is trained, and how; a run is only ever continued under the same one
    train.jsonl              one line per logged step; `waiting` is the part of `seconds` in which images were read,
                             `device` and `threads` say what computed it
    checkpoint.safetensors   everything needed to go on: weights, optimiser, random state, step
    model.safetensors        the trained method; there only when training has ended
    provenance.json          what computed it, and from whose images: `upd_zoo.artefact.provenance`

What a pre-training leaves instead of the last is said by `upd_zoo.pretrain`.
"""

import json
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch

from upd_zoo.artefact.provenance import note_work
from upd_zoo.artefact.record import Record, read_record, write_record
from upd_zoo.artefact.records import CONFIG, Backbone, Config, Training
from upd_zoo.errors import UsageError
from upd_zoo.files import held_alone, to_json
from upd_zoo.fitting.precision import precision_on
from upd_zoo.recipe import Recipe
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Framing, Scale

LOG: Final = "train.jsonl"
LOCK: Final = ".lock"
_DEVICE: Final = "training.device"
_NAMED: Final = 4
"""How many differences of two configurations an error names."""

Trained = TypeVar("Trained", Config, Backbone)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What is chosen anew for every run, whatever it makes.

    Attributes:
        seed: Decides initial weights, order of images and every draw.
        device: `auto`, `cpu` or `cuda`.
        weights: What networks start from: `random`, `timm`, a file, or the folder of a network that CCD pre-trained;
            None for what the recipe says.
        resume: Whether to go on with what is in the folder of the run.
        fraction: Which share of the subjects is trained on, in [0, 1]; see `upd_zoo.stores.excerpt.share_of`.
    """

    seed: int = 0
    device: str = "auto"
    weights: str | None = None
    resume: bool = False
    fraction: float = 1.0


USUAL: Final = RunSettings()


def begin(run: Path, recipe: Recipe, store: Store, settings: RunSettings) -> None:
    """Make ready for a run: its images are looked at, every generator is seeded, its folder is opened.

    Raises:
        UsageError: The images have another side than the recipe's, `run` is not empty and is not to go on, or no
            generator takes the seed.
        IntegrityError: The store holds diseased images.
    """
    _check_side(recipe, store)
    store.check_health()
    seed_everything(settings.seed)
    open_run(run, resume=settings.resume)


def _check_side(recipe: Recipe, store: Store) -> None:
    if store.facts.side != recipe.side:
        raise UsageError(
            f"{store.facts.name} holds images of {store.facts.side} pixels, and the model takes {recipe.side}",
            f"a store of images of {recipe.side} pixels",
            f"upd-zoo prepare {recipe.domain.id} --side {recipe.side}",
        )


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; one that a kill cut short is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def seed_everything(seed: int) -> None:
    """Seed every generator that a method may draw from.

    Raises:
        UsageError: It is negative, or beyond 32 bits.
    """
    if not 0 <= seed < 1 << 32:
        raise UsageError(f"no generator takes the seed {seed}", "a whole number from 0, below 2 to the power of 32")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def open_run(run: Path, *, resume: bool) -> None:
    """Make the folder of a run, or make sure that one that is there is meant to go on.

    Raises:
        UsageError: It is a file, or is not empty and `resume` is off.
    """
    if run.is_file():
        raise UsageError(f"the run folder {run} is a file", "a new folder")
    if run.is_dir() and any(path.name != LOCK for path in run.iterdir()) and not resume:
        raise UsageError(f"the run folder {run} is not empty", "a new folder", "add --continue to go on with it")
    run.mkdir(parents=True, exist_ok=True)


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold the folder of a run; of the processes that train it together, the first does.

    Raises:
        UsageError: Another training holds it.
    """
    first = os.environ.get("RANK", "0") == "0"  # as accelerate and torchrun number the processes that they start
    with held_alone(run / LOCK, f"another process is training in {run}") if first else nullcontext():
        yield


def settle(run: Path, config: Trained) -> Trained:
    """Return the configuration of a run, having written that of a new one, or held that of an old one against it.

    A run may go on on another device; then the configuration names both.

    Raises:
        UsageError: The folder holds a run with another configuration; what differs is named.
    """
    if (run / CONFIG).is_file():
        old: Trained = read_record(run / CONFIG, type(config))
        devices = dict.fromkeys((*old.training.device.split(", "), config.training.device))
        training = config.training.model_copy(update={"device": ", ".join(devices)})
        config = config.model_copy(update={"training": training})
        _check_the_same(run, old, config)
        if old == config:
            return old
    write_record(run / CONFIG, config)
    return config


def _check_the_same(run: Path, old: Record, new: Record) -> None:
    first, second = (dict(_fields(record.model_dump(mode="json"))) for record in (old, new))
    names = [name for name in {**first, **second} if name != _DEVICE and first.get(name) != second.get(name)]
    if names:
        told = [f"{name} was {_told(first.get(name))} and is {_told(second.get(name))}" for name in names[:_NAMED]]
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise UsageError(
            f"the run folder {run} holds a run with another configuration: {', '.join(told)}{more}",
            "the same model, data, seed and recipe",
            "ask for what it was, or use a new folder",
        )


def _fields(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested record by their dotted names."""
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _told(value: Any) -> str:
    return "not set" if value is None else to_json(value, indent=None)


def scale_of(recipe: Recipe, store: Store) -> Scale | None:
    """Return how the scans of a store are scaled; None of photographs.

    Raises:
        UsageError: They are scans, and the store is of an older version that did not say.
    """
    if recipe.domain.modality.framing is not Framing.SQUARE_SLICES:
        return None
    if store.facts.scale is None:
        raise UsageError(f"{store.facts.name} does not say how its scans are scaled", "", "prepare it again")
    return store.facts.scale


def begin_work(run: Path, recipe: Recipe, store: Store, device: str) -> None:
    """Write down what computes a run from here on, before its first step or the first after a break.

    Args:
        run: Its folder.
        recipe: As it is carried out.
        store: The images that are learnt from, or a share of them.
        device: `cpu` or `cuda`.
    """
    note_work(run, recipe.document, store.subjects, device, begun=(run / LOG).is_file())


def training_of(recipe: Recipe, store: Store, settings: RunSettings) -> Training:
    """Return the record of a training by a recipe on a store, or on a share of one."""
    return Training(
        profile=recipe.profile,
        seed=settings.seed,
        phases=recipe.phases,
        batch_size=recipe.batch_size,
        images=store.facts.images,
        subjects=store.facts.subjects,
        store=store.sha256,
        device=settings.device,
        fraction=settings.fraction,
        precision=precision_on(settings.device, recipe.precision),
    )
