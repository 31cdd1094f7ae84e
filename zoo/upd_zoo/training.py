"""Training of one model: what it starts from, and what its run leaves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from upd_zoo.artefact.records import WEIGHTS, Config, Space
from upd_zoo.detector import Detector
from upd_zoo.errors import UsageError
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.checkpoint import plain
from upd_zoo.fitting.precision import without_subnormals
from upd_zoo.fitting.run import USUAL, RunSettings, alone, begin, begin_work, scale_of, settle, training_of
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.layers.backbone import FeatureBackbone
from upd_zoo.layers.encoder import initialise
from upd_zoo.layers.folding import unfold
from upd_zoo.method import Method
from upd_zoo.names import ModelId
from upd_zoo.pretrain.weights import start_from
from upd_zoo.progress import Report, silent
from upd_zoo.recipe import Recipe, draft_of, fraction_labels, profile_labels, side_labels
from upd_zoo.registry import method_called
from upd_zoo.runtime.tensors import write_tensors
from upd_zoo.stores.excerpt import share_of
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Pretrain

_LOOKED_AT = 64
"""Training images from which folded batch normalisations get their statistics back."""


@without_subnormals()
def train(
    model: ModelId,
    recipe: Recipe,
    store: Store,
    run: Path | str,
    settings: RunSettings = USUAL,
    *,
    on_begin: Callable[[Config, str], None] | None = None,
    on_progress: Report = silent,
) -> Config:
    """Train one model.

    Args:
        model: Its name; the weights belong to its domain.
        recipe: How.
        store: Healthy training images of the domain.
        run: Folder of the run.
        settings: What is chosen for this run.
        on_begin: Called before the first step with the configuration and, mostly empty, a word on the device.
        on_progress: Told of every step.

    Returns:
        The configuration, as it stands in `run`.

    Raises:
        UsageError: The store holds images of another side, there is no such fraction of it, `run` is not empty and is
            not to go on, or holds another run, or is trained in by another process, or no generator takes the seed.
        IntegrityError: The store holds diseased images.
        UpdZooError: Training diverged.
    """
    run = Path(run)
    begin(run, recipe, store, settings)
    store = share_of(store, settings.fraction, settings.seed, recipe.batch_size)
    trainer = Trainer(run, recipe, settings.device, on_progress)
    method, config = prepare_method(model, recipe, store, replace(settings, device=trainer.device.type))
    with alone(run):
        config = settle(run, config)
        if on_begin is not None:
            on_begin(config, trainer.device_note)
        if not (run / WEIGHTS).is_file():
            begin_work(run, recipe, store, trainer.device.type)
            method.fit(Batches(store, recipe.batch_size, settings.seed, centred=recipe.centred), trainer)
            write_tensors(run / WEIGHTS, plain(method.state_dict()))
    return config


def prepare_method(model: ModelId, recipe: Recipe, store: Store, settings: RunSettings) -> tuple[Method, Config]:
    """Return the untrained method with the weights that it starts from, and the configuration of the run.

    Args:
        model: Its name.
        recipe: How it is trained.
        store: Healthy training images.
        settings: Those of the run, with the device that it is trained on.

    Raises:
        UsageError: The method takes no such weights, or needs some that are not given.
        UpdZooError: The weights cannot be used; see `initialise` and `start_from`.
    """
    draft, weights = _draft(model, recipe, store, settings), settings.weights
    method = Detector.from_config(draft).method
    if recipe.pretrain is Pretrain.NONE:
        _check_none(method, recipe, weights)
        return method, draft
    if recipe.pretrain is Pretrain.CCD:
        return method, _start_from_ccd(method, draft, recipe, weights)
    some = Batches(store, recipe.batch_size, settings.seed, centred=recipe.centred).sample(_LOOKED_AT)
    return method, _start_from_photographs(method, draft, recipe, weights or recipe.weights, some)


def _check_none(method: Method, recipe: Recipe, weights: str | None) -> None:
    if weights is not None:
        ccd = f"use {method.id}-{recipe.domain.id}-ccd with the folder of a CCD backbone" if method.encoders() else ""
        raise UsageError(f"{method.title} starts from weights that it draws", "no --weights", ccd)


def _start_from_photographs(method: Method, draft: Config, recipe: Recipe, source: str, some: Tensor) -> Config:
    """Load ImageNet weights, or draw them, and return what the configuration becomes; `some` are training images."""
    origin = initialise(method.encoders(), source)
    adapting = [module for module in method.modules() if isinstance(module, FeatureBackbone) and module.adapts]
    unfolded = {unfold(backbone, backbone, some) for backbone in adapting}
    origin = origin.model_copy(update={"unfolded": True in unfolded})
    if origin.source == "random":
        return draft.model_copy(update={"weights_origin": origin, "labels": [*draft.labels, "random backbone"]})
    return draft.model_copy(update={"pretrain": recipe.pretrain, "weights_origin": origin})


def _start_from_ccd(method: Method, draft: Config, recipe: Recipe, weights: str | None) -> Config:
    """Load a backbone that CCD made, and return what the configuration becomes."""
    if not method.encoders():
        raise UsageError(f"{method.title} starts from no pre-trained weights", f"{method.id}-{recipe.domain.id}")
    if weights is None:
        raise UsageError(
            f"{draft.id} starts from a CCD backbone",
            "the folder of one",
            f"upd-zoo pretrain {draft.id}, then train again",
        )
    origin, backbone = start_from(method.encoders(), Path(weights), recipe)
    labels = list(dict.fromkeys((*draft.labels, *backbone.labels)))
    update = {"pretrain": recipe.pretrain, "weights_origin": origin, "pretraining": backbone, "labels": labels}
    return draft.model_copy(update=update)


def _draft(model: ModelId, recipe: Recipe, store: Store, settings: RunSettings) -> Config:
    """Return the configuration of a method without a pre-trained backbone."""
    labels = [
        *store.facts.labels,
        *profile_labels(recipe),
        *side_labels(recipe.side),
        *fraction_labels(settings.fraction),
    ]
    title, training = method_called(recipe.method).title, training_of(recipe, store, settings)
    draft = draft_of(model.canonical.name, title, recipe, training, scale_of(recipe, store), labels)
    return draft.model_copy(update={"space": Space.of(store.facts.provenance)})
