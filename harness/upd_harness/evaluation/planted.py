"""Healthy validation images with planted anomalies: where a choice is made, so that no test set has to tell.

Every image of a validation store is kept as it is, and planted once or several times with anomalies of all kinds that
its modality knows; what comes out is a store like any other. Its provenance lists the kind of every image, so that
figures can be given for each: an average over kinds hides that a variant finds blobs and misses spots.

Some kinds resemble what some methods train on (blended patches PII, moved ones CutPaste), which favours these methods
when methods are compared. Leave such kinds out then; variants of one method are compared on all.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.contenders import answers, metrics_of
from upd_zoo.artefact.record import Setting
from upd_zoo.artefact.records import Config, Metrics
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.phantoms.planting import GENERATOR, Kind, plant
from upd_zoo.runtime.model import Array, Predict
from upd_zoo.stores.places import Part
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.vocabulary import BRAIN_MRI, CHEST_XRAY, FUNDUS, get_domain

EVERY: Final = "all"
"""The name of the figures over all kinds."""
USUAL_IMAGES: Final = 120
"""Planted images of a store, at least where it has any: more tell less than another seed."""
_ANYWHERE: Final = (Kind.BRIGHT_BLOB, Kind.DARK_BLOB, Kind.MOVED, Kind.BLURRED, Kind.BLENDED)
KINDS: Final = {
    BRAIN_MRI.id: (*_ANYWHERE, Kind.BRIGHT_SPOTS, Kind.DARK_SPOTS, Kind.TUMOUR),
    CHEST_XRAY.id: (*_ANYWHERE, Kind.OPACITY),
    FUNDUS.id: (*_ANYWHERE, Kind.BRIGHT_SPOTS, Kind.DARK_SPOTS),
}
"""What is planted in images of each modality."""
_HEALTHY: Final = ""
"""What stands for the kind of an image in which nothing was planted."""


@dataclass(frozen=True, slots=True)
class Planting:
    """What is planted in a store.

    Attributes:
        seed: Decides every anomaly.
        images: How many planted images there shall be; a store of fewer images is planted several times, and of one of
            more, so many images are taken, evenly.
        kinds: What is planted; nothing for all that the modality knows.
    """

    seed: int = 0
    images: int = USUAL_IMAGES
    kinds: tuple[Kind, ...] = ()


def planted(store: Store, folder: Path, planting: Planting) -> Store:
    """Return a store with and without planted anomalies, making it where it is not there yet.

    Args:
        store: Healthy validation images.
        folder: Where such stores are kept, each in a folder of its own.
        planting: What is planted.

    Raises:
        UsageError: The store is no validation store: a choice made on training images favours what knows them by heart,
            and one made on test images makes the test worthless.
        IntegrityError: The store holds diseased images.
    """
    domain, _, part = store.facts.name.partition("/")
    if not part.startswith(Part.VALIDATION):
        raise UsageError(
            f"anomalies are not planted in {store.facts.name}",
            "the validation store of a domain",
            f"upd-zoo prepare {domain} makes one",
        )
    store.check_health()
    kinds = planting.kinds or KINDS[get_domain(domain).modality.id]
    made: dict[str, Setting] = {
        "planted_in": store.sha256,
        "seed": planting.seed,
        "generator": GENERATOR,
        "most": planting.images,
    }
    named = json.dumps({**made, "kinds": kinds}, sort_keys=True)
    place = folder / f"{store.facts.name.replace('/', '-')}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    try:
        return Store(place)
    except (NotFoundError, IntegrityError):
        pass
    pairs = list(_planted(store, planting, kinds))
    write_store(
        place,
        store.facts.name,
        (sample for sample, _ in pairs),
        channels=store.facts.channels,
        has_masks=True,
        labels=[*store.facts.labels, "planted anomalies"],
        provenance={**store.facts.provenance, **made, "kinds": [kind for _, kind in pairs]},
        side=store.facts.side,
    )
    return Store(place)


def kinds_of(store: Store) -> npt.NDArray[np.str_]:
    """Return (N,) the kind that was planted in each image of a store that `planted` made; empty where none was."""
    return np.array(store.facts.provenance["kinds"], np.str_)


def _planted(store: Store, planting: Planting, kinds: Sequence[Kind]) -> Iterator[tuple[Sample, str]]:
    """Yield healthy images, then planted ones, each with its kind."""
    count = min(len(store), planting.images)
    rows = np.linspace(0, len(store) - 1, count).round().astype(int)
    for row in rows:
        yield _sample(store, row, store.images[row], None), _HEALTHY
    times = max(1, round(planting.images / count))
    for turn, row in enumerate(np.repeat(rows, times)):
        rng = np.random.default_rng([planting.seed, turn])
        image, donor = np.array(store.images[row]), _donor(store, row, rng)
        possible = [kind for kind in kinds if donor is not None or kind is not Kind.BLENDED]
        first, others = possible[turn % len(possible)], rng.permutation(possible).tolist()
        for kind in (first, *map(Kind, others)):  # what cannot be seen here leaves its place to another kind
            made = plant(rng, kind, image, image if donor is None else donor)
            if made is not None:
                yield _sample(store, row, made.image, made.mask), kind.value
                break


def _donor(store: Store, row: int, rng: np.random.Generator) -> Array | None:
    """Return the image of another subject that lies closest along the body's axis; None where there is nobody else."""
    others = sorted({*store.subjects} - {store.subjects[row]})
    if not others:
        return None
    subject = others[rng.integers(len(others))]
    position = int(store.index[row]["slice"])
    theirs = [number for number, name in enumerate(store.subjects) if name == subject]
    return np.array(store.images[min(theirs, key=lambda number: abs(int(store.index[number]["slice"]) - position))])


def _sample(store: Store, row: int, image: Array, mask: npt.NDArray[np.uint8] | None) -> Sample:
    known = store.index[row]
    return Sample(
        np.array(image),
        anomalous=mask is not None,
        subject=known["subject"],
        slice=int(known["slice"]),
        source=known["source"],
        mask=np.zeros(image.shape[1:], np.uint8) if mask is None else mask,
        sex=known["sex"],
        age=int(known["age"]) if known["age"] else None,
        view=known["view"],
        site=known["site"],
    )


def measure(predict: Predict, config: Config, store: Store, batch_size: int = 16) -> dict[str, dict[str, Metrics]]:
    """Return what a model and two trivial baselines find of planted anomalies.

    Args:
        predict: Images to maps and scores.
        config: Of the model, whose foreground and score rule the baselines obey.
        store: Made by `planted`.
        batch_size: Images per call of the network.

    Returns:
        By contender (`model`, `intensity`, `darkness`) and kind (`all` too): the metrics of images with this kind among
        all healthy ones. The share of anomalies is another for every kind, and so are the APs of chance.
    """
    found = answers(predict, config, store, batch_size)
    return {name: _by_kind(maps, scores, store) for name, (maps, scores) in found.items()}


def _by_kind(maps: Array, scores: Array, store: Store) -> dict[str, Metrics]:
    kinds = kinds_of(store)
    rows = {EVERY: np.ones(len(kinds), np.bool_)}
    rows |= {kind: (kinds == kind) | (kinds == _HEALTHY) for kind in sorted({*kinds.tolist()} - {_HEALTHY})}
    return {name: metrics_of(maps, scores, store, chosen) for name, chosen in rows.items()}
