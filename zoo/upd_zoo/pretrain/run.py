"""A run of CCD: what it starts from, and what it leaves."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from upd_zoo.artefact.records import Backbone
from upd_zoo.errors import UsageError
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.precision import without_subnormals
from upd_zoo.fitting.run import USUAL, RunSettings, alone, begin, begin_work, scale_of, settle, training_of
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.layers.backbone import WholeNetwork
from upd_zoo.layers.encoder import Encoder, initialise
from upd_zoo.layers.folding import unfold
from upd_zoo.names import ModelId
from upd_zoo.pretrain.ccd import CCD
from upd_zoo.pretrain.views import PERMUTATIONS
from upd_zoo.pretrain.weights import write_backbone
from upd_zoo.progress import Report, silent
from upd_zoo.recipe import Recipe, fraction_labels, load_pretraining, profile_labels
from upd_zoo.registry import create
from upd_zoo.stores.excerpt import share_of
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Pretrain

BACKBONE: Final = "backbone"
_STARTS: Final = {Pretrain.NONE: "random", Pretrain.IMAGENET: "timm"}


@without_subnormals()
def pretrain(
    base: Recipe,
    store: Store,
    run: Path | str,
    settings: RunSettings = USUAL,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    on_begin: Callable[[Backbone, str], None] | None = None,
    on_progress: Report = silent,
) -> Backbone:
    """Pre-train the network that a method starts from.

    Args:
        base: Recipe of the method without CCD, which says how wide the network is and what pixels it takes.
        store: Healthy training images of the domain.
        run: Folder of the run; the network will be in its folder `backbone`.
        settings: What is chosen for this run; its weights may be `random`, `timm` or a safetensors file, and None are
            those that the method starts from.
        steps: Instead of the recipe's.
        batch_size: Images per step, instead of the recipe's.
        on_begin: Called before the first step with the record and, mostly empty, a word on the device.
        on_progress: Told of every step.

    Returns:
        The record of the network, as it stands in the folder.

    Raises:
        UsageError: The method starts from no pre-trained network, the store has images of another side or does not say
            how scans are scaled, `run` is not empty and not to go on, or another run, or no generator takes the seed.
        IntegrityError: The store holds diseased images.
        UpdZooError: The starting weights cannot be used (see `initialise`), or the training diverged.
    """
    scale_of(base, store)  # the protocol, which is recorded, then names it
    run = Path(run)
    begin(run, base, store, settings)
    encoder = encoder_of(base)
    batches, recipe = _planned(load_pretraining(base, encoder.name, steps, batch_size), store, settings)
    source = settings.weights or _STARTS[recipe.pretrain]
    origin = initialise([encoder], source)
    learner = _learner(encoder, store.facts.channels, recipe.side, recipe.settings)
    unfolded = unfold(learner.parts, learner.describe, learner.pixels(batches.sample(recipe.batch_size)))
    trainer = Trainer(run, recipe, settings.device, on_progress)
    backbone = Backbone(
        id=ModelId("ccd", encoder.name, base.domain.id).name,
        encoder=encoder.name,
        domain=base.domain.id,
        protocol=base.protocol,
        settings=recipe.settings,
        weights_origin=origin.model_copy(update={"unfolded": unfolded}),
        training=training_of(recipe, batches.store, replace(settings, device=trainer.device.type)),
        labels=[*store.facts.labels, *_labels(recipe, source, settings.fraction)],
        side=recipe.side,
    )
    with alone(run):
        backbone = settle(run, backbone)
        if on_begin is not None:
            on_begin(backbone, trainer.device_note)
        if not (run / BACKBONE).is_dir():
            _minimise(learner, batches, trainer, recipe)
            write_backbone(run / BACKBONE, backbone, encoder, run)
    return backbone


def _minimise(learner: CCD, batches: Batches, trainer: Trainer, recipe: Recipe) -> None:
    """Train, having written down what does so."""
    begin_work(trainer.run, recipe, batches.store, trainer.device.type)
    trainer.minimise(learner, batches)


def encoder_of(base: Recipe) -> Encoder:
    """Return the untrained network that pre-training is for; of one that timm makes, the whole.

    Raises:
        UsageError: The method starts from no pre-trained network.
    """
    method = create(base.method, base.domain.modality.channels, base.side, base.settings)
    encoders = method.encoders()
    if not encoders:
        raise UsageError(f"{method.title} starts from no pre-trained network", "a method with an encoder of its own")
    first = encoders[0]
    return (
        first
        if first.describe is not None
        else WholeNetwork(first.name, normalise=first.normalisation is not None).encoder
    )


def _learner(encoder: Encoder, channels: int, side: int, settings: dict[str, Any]) -> CCD:
    assert encoder.describe is not None  # noqa: S101 - for the types
    return CCD(list(encoder.parts.values()), encoder.describe, channels, side, **settings)


def _planned(recipe: Recipe, store: Store, settings: RunSettings) -> tuple[Batches, Recipe]:
    """Return the batches, and the recipe whose rate falls once for every epoch of the changed images."""
    some = share_of(store, settings.fraction, settings.seed, recipe.batch_size)
    batches = Batches(some, recipe.batch_size, settings.seed, centred=False)
    phases = {
        name: phase.model_copy(update={"schedule": phase.schedule | {"every": PERMUTATIONS * batches.per_epoch}})
        for name, phase in recipe.phases.items()
    }
    return batches, replace(recipe, phases=phases)


def _labels(recipe: Recipe, source: str, fraction: float) -> list[str]:
    """Return what a reader must be told of a pre-training that is not the study's."""
    drawn = recipe.pretrain is Pretrain.IMAGENET and source == "random"
    return [
        *(f"CCD with {label}" for label in (*profile_labels(recipe), *fraction_labels(fraction))),
        *(["CCD from a random backbone"] if drawn else []),
    ]
