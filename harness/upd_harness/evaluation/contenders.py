"""Who is measured on a test set: the model, and what knows nothing of pathology.

Nothing is held but one score per image and one tally per contender, so memory does not grow with the pixels.

Source: the random row of the study's tables and its meaning, cards/study.md, section 6.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.gaussian import NAME as GAUSSIAN
from upd_harness.evaluation.gaussian import VoxelGaussian
from upd_harness.evaluation.metrics import image_metrics
from upd_harness.evaluation.subjects import SubjectTally
from upd_harness.evaluation.tally import ScoreTally
from upd_harness.evaluation.tested import Tested
from upd_zoo.artefact.records import Config, Metrics
from upd_zoo.images.foreground import Masks, inside
from upd_zoo.images.scoring import scores_of
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.model import Array, Predict
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import ScoreRule

MODEL: Final = "model"
RANDOM: Final = "random"
_DRAWS: Final = 100
"""Random scores per image; on a small test one draw is often far from chance."""
_SEED: Final = 0
_LEVELS: Final = 1 << 12
"""Distinct values of random maps, which a tally counts in two thirds of the time of values that are all different."""
_BATCH: Final = 16

Rows: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class Contender:
    """Scores and map values of one way to score, gathered batch by batch.

    Attributes:
        scores: One per image.
        tally: Map values against the truth.
    """

    scores: list[float] = field(default_factory=list)
    tally: ScoreTally = field(default_factory=ScoreTally)

    def update(self, maps: Array, scores: Array, masks: npt.NDArray[np.uint8] | None) -> None:
        """Add the maps (B, H, W), scores (B,) and, where there is truth, masks (B, H, W) of a batch."""
        self.scores.extend(scores.tolist())
        if masks is not None:
            self.tally.update(maps, masks)

    def merge(self, later: "Contender") -> None:
        """Add what was gathered of later images."""
        self.scores.extend(later.scores)
        self.tally.merge(later.tally)

    def metrics(self, anomalous: npt.NDArray[np.bool_], has_masks: bool) -> Metrics:
        """Return the four metrics; those of pixels are None without masks."""
        images = image_metrics(np.array(self.scores), anomalous)
        pixels = self.tally.result() if has_masks else None
        dice = pixels.best_dice if pixels is not None else None
        return Metrics(
            ap_image=images.average_precision,
            auroc=images.auroc,
            ap_pixel=pixels.average_precision if pixels is not None else None,
            dice=dice.dice if dice is not None else None,
            dice_threshold=dice.threshold if dice is not None else None,
            study_dice=pixels.study_dice.dice if pixels is not None and pixels.study_dice is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Gathered:
    """A test set, scored.

    Attributes:
        contenders: By name: the model, random values, the brightness of pixels, their darkness and, of registered
            brains, how far it lies from that of healthy ones.
        pixels: The model's, by subject; None where their truth is not known.
    """

    contenders: dict[str, Contender]
    pixels: SubjectTally | None

    def merge(self, later: "Gathered") -> None:
        """Add what was gathered of later images, as if one process had gathered all."""
        for name, contender in self.contenders.items():
            contender.merge(later.contenders[name])
        if self.pixels is not None and later.pixels is not None:
            self.pixels.merge(later.pixels)


def gather(
    tested: Tested,
    store: Store,
    healthy: Path | None = None,
    on_progress: Report = silent,
    *,
    batch_size: int = _BATCH,
    rows: Rows | None = None,
) -> Gathered:
    """Score every image of a store by what is tested and by each baseline.

    Args:
        tested: What scores.
        store: Images, and masks where there are any.
        healthy: Store of healthy brains in the same space; None without this baseline.
        on_progress: Told how many images are done.
        batch_size: Images per call of the network.
        rows: Of the images, the first that counts, and the first after it that does not; None for all. They come in the
            batches in which they come with all others.
    """
    first, last = (0, len(store)) if rows is None else rows
    pixels = SubjectTally() if store.masks is not None else None
    contenders = {name: Contender() for name in (MODEL, RANDOM, "intensity", "darkness")}
    slices = [int(row["slice"]) for row in store.index]
    gaussian = None if healthy is None else VoxelGaussian.of(Store(healthy), slices[first:last])
    if gaussian is not None:
        contenders[GAUSSIAN] = Contender()
    generator = _noise_from(first, store.facts.side)
    for start in range(first - first % batch_size, last, batch_size):
        batch = slice(start, min(start + batch_size, len(store)))
        own = slice(max(first, start) - start, min(last, batch.stop) - start)
        rows_here = slice(start + own.start, start + own.stop)
        images = np.ascontiguousarray(store.images[batch])  # (B, C, H, W)
        maps, scores = (found[own] for found in tested.predict(images))  # (B, 1, H, W), (B,)
        images = images[own]
        masks = store.masks[rows_here] if store.masks is not None else None  # (B, H, W)
        contenders[MODEL].update(maps[:, 0], scores, masks)
        if pixels is not None and masks is not None:
            pixels.update(maps[:, 0], masks, store.subjects[rows_here])
        grey = images.mean(axis=1)  # (B, H, W)
        noise = random_maps(generator, grey.shape)
        tissue = inside(images, tested.rules.foreground, tested.rules.erosion)
        maps_of = {RANDOM: noise, "intensity": grey, "darkness": 1 - grey}
        if gaussian is not None:
            maps_of[GAUSSIAN] = gaussian.maps(images, slices[rows_here])
        for name, values in maps_of.items():
            contenders[name].update(*_by_the_rules(values, tissue, tested.rules.score), masks)
        on_progress(Progress("", rows_here.stop - first, last - first))
    if pixels is not None:
        pixels.close()
    return Gathered(contenders, pixels)


def random_maps(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random values of a shape in [0, 1), float32."""
    return np.asarray(np.floor(_LEVELS * generator.random(shape, np.float32)) / _LEVELS, np.float32)


def _noise_from(first: int, side: int) -> np.random.Generator:
    """Return a generator where it stands after the random maps of so many images; two pixels take one draw."""
    bits = np.random.PCG64(_SEED)
    bits.advance(first * side * side // 2)
    return np.random.Generator(bits)


def answers(predict: Predict, config: Config, store: Store, batch_size: int = 16) -> dict[str, tuple[Array, Array]]:
    """Return maps (N, H, W) and scores (N,) of a store by a model and by two baselines, all held in memory.

    Args:
        predict: Images to maps and scores.
        config: Of the model, whose foreground and score rule the baselines obey.
        store: Its images.
        batch_size: Images per call of the network.
    """
    batches: dict[str, list[tuple[Array, Array]]] = {MODEL: [], "intensity": [], "darkness": []}
    for start in range(0, len(store), batch_size):
        images = np.array(store.images[start : start + batch_size])
        maps, scores = predict(images)
        grey, tissue = images.mean(axis=1), inside(images, config.foreground, config.erosion)
        batches[MODEL].append((maps[:, 0], scores))
        batches["intensity"].append(_by_the_rules(grey, tissue, config.score_rule))
        batches["darkness"].append(_by_the_rules(1 - grey, tissue, config.score_rule))
    joined = {name: [np.concatenate(arrays) for arrays in zip(*found, strict=True)] for name, found in batches.items()}
    return {name: (maps, scores) for name, (maps, scores) in joined.items()}


def metrics_of(maps: Array, scores: Array, store: Store, rows: npt.NDArray[np.bool_]) -> Metrics:
    """Return the metrics of the maps (N, H, W) and scores (N,) of a store, of some rows (N,) of it alone."""
    contender = Contender()
    contender.update(maps[rows], scores[rows], None if store.masks is None else store.masks[rows])
    return contender.metrics(store.anomalous[rows], has_masks=store.masks is not None)


def _by_the_rules(maps: Array, tissue: Masks, rule: ScoreRule) -> tuple[Array, Array]:
    """Return maps (B, H, W) and their scores (B,) under the foreground (B, H, W) and the rule that the model obeys."""
    maps = maps * tissue
    return maps, scores_of(maps, rule)


def chance(anomalous: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the image-level metrics of scores that know nothing, averaged over many draws."""
    generator = np.random.default_rng(_SEED)
    draws = [image_metrics(generator.random(len(anomalous)), anomalous) for _ in range(_DRAWS)]
    values = {"ap_image": [draw.average_precision for draw in draws], "auroc": [draw.auroc for draw in draws]}
    return {name: None if None in drawn else float(np.mean(drawn)) for name, drawn in values.items()}  # type: ignore[arg-type]
