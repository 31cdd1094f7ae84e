"""What hides behind a mean: which subjects are alarmed for nothing, which lesions are found, what else scores follow.

Everything here is computed from scores, from the digests of pixels, and from one more look at images and masks; nothing
is scored again. Thresholds are those that the model brings, fixed on healthy images that it had not learnt from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.metrics import Floats, image_metrics
from upd_harness.evaluation.resampling import numbered
from upd_harness.evaluation.subjects import SubjectTally
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.findings import Alarms, Stratum, SubjectLevel
from upd_zoo.artefact.records import Metrics
from upd_zoo.images.foreground import inside
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Foreground

_BATCH: Final = 64
_BANDS: Final = ((0, 40, "age under 40"), (40, 60, "age 40 to 59"), (60, 1000, "age 60 and over"))
_STRATA: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What the images of a test set look like; each (N,), one for an image.

    Attributes:
        slices: Number of the slice in its volume.
        area: Share of the image that is foreground.
        brightness: Mean of the foreground in [0, 1].
        lesion: Pathological pixels.
        contrast: Mean of these minus mean of the rest of the foreground; NaN without either.
    """

    slices: Floats
    area: Floats
    brightness: Floats
    lesion: Floats
    contrast: Floats


def looks_of(store: Store, foreground: Foreground) -> Looks:
    """Look at every image of a store, with a rule for their foreground."""
    columns: list[Floats] = []
    for start in range(0, len(store), _BATCH):
        images = np.array(store.images[start : start + _BATCH])
        tissue = inside(images, foreground)  # without erosion: of the image, not of where a map counts
        lesions = np.zeros_like(tissue) if store.masks is None else store.masks[start : start + _BATCH] != 0
        grey = images.mean(axis=1)
        sick, well = _mean(grey, lesions), _mean(grey, tissue & ~lesions)
        columns.append(np.array([tissue.mean((1, 2)), _mean(grey, tissue), lesions.sum((1, 2)), sick - well]))
    area, brightness, lesion, contrast = np.concatenate(columns, axis=1)
    return Looks(np.array([float(row["slice"]) for row in store.index]), area, brightness, lesion, contrast)


def _mean(grey: npt.NDArray[np.float32], where: npt.NDArray[np.bool_]) -> Floats:
    """Return (B,) the mean of each image (B, H, W) where it is true; NaN where it is nowhere."""
    count = where.sum(axis=(1, 2))
    sums = (grey * where).sum(axis=(1, 2), dtype=np.float64)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def of_images(scores: Floats, anomalous: npt.NDArray[np.bool_]) -> Metrics:
    """Return the metrics of what scores images (N,) and has no maps."""
    found = image_metrics(scores, anomalous)
    return Metrics(ap_image=found.average_precision, auroc=found.auroc, ap_pixel=None, dice=None)


def position_baseline(store: Store, looks: Looks) -> Metrics | None:
    """Return what the place of a slice alone scores, the middle of its volume highest; None without slices."""
    if np.ptp(looks.slices) == 0:
        return None
    names, numbers = numbered(store.subjects)
    middles = np.array([np.median(looks.slices[numbers == number]) for number in range(len(names))])
    return of_images(-abs(looks.slices - middles[numbers]), store.anomalous)


def probes(scores: Floats, anomalous: npt.NDArray[np.bool_], looks: Looks) -> dict[str, float]:
    """Return Spearman's correlation of the scores of healthy images with what should not matter.

    Of healthy images alone, since diseased ones may lie elsewhere and be brighter for a good reason. What is the same
    in all of them is left out.
    """
    features = {"slice": looks.slices, "foreground": looks.area, "brightness": looks.brightness}
    found = {name: _spearman(scores[~anomalous], values[~anomalous]) for name, values in features.items()}
    return {name: value for name, value in found.items() if value is not None}


def _spearman(one: Floats, other: Floats) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.clip(np.corrcoef(_ranks(one), _ranks(other))[0, 1], -1, 1))


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value, equal ones the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[which]


def strata(scores: Floats, anomalous: npt.NDArray[np.bool_], looks: Looks) -> list[Stratum]:
    """Return how well thirds of the diseased images, by size and by contrast of their lesions, are told from health."""
    found = []
    for name, values in (("lesion pixels", looks.lesion), ("lesion contrast", looks.contrast)):
        known = anomalous & (looks.lesion > 0) & np.isfinite(values)
        if known.sum() < _STRATA or anomalous.all():
            continue
        for part in np.array_split(np.flatnonzero(known)[np.argsort(values[known], kind="stable")], _STRATA):
            rows = np.concatenate((part, np.flatnonzero(~anomalous)))
            auroc = image_metrics(scores[rows], anomalous[rows]).auroc
            low, high = float(values[part].min()), float(values[part].max())
            found.append(Stratum(by=name, low=low, high=high, images=len(part), auroc=auroc))
    return found


def subject_level(
    scores: Floats, store: Store, looks: Looks, calibration: Calibration, pixels: SubjectTally | None
) -> SubjectLevel:
    """Return how subjects are judged by the rule and the thresholds that a model brings.

    Args:
        scores: (N,) one per image.
        store: The images.
        looks: At them.
        calibration: Of the model.
        pixels: By subject; None where their truth is not known.
    """
    names, numbers = numbered(store.subjects)
    rows = [np.flatnonzero(numbers == number) for number in range(len(names))]
    values = np.array([calibration.subject_rule.score(scores[own], looks.area[own]) for own in rows])
    sick = np.array([bool(store.anomalous[own].any()) for own in rows])
    found = image_metrics(values, sick)
    alarmed = values > calibration.subject_threshold
    dice, called = _at_threshold(pixels, calibration.map_threshold, dict(zip(names, sick, strict=True)))
    return SubjectLevel(
        subjects=len(names),
        anomalous=int(sick.sum()),
        ap=found.average_precision,
        auroc=found.auroc,
        aimed_at=calibration.false_positive_rate,
        alarms={
            group: Alarms(healthy=int(members.sum()), alarmed=int((members & alarmed).sum()))
            for group, members in _groups(store, rows, ~sick)
        },
        dice=dice,
        called=called,
    )


def _groups(
    store: Store, rows: list[npt.NDArray[np.int64]], healthy: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield groups of healthy subjects, by name, and (S,) who is in them: all, and by sex, view, site, age if known."""
    yield "all", healthy
    first = [store.index[own[0]] for own in rows]
    groups = {
        f"{trait} {value}": np.array([row[trait] == value for row in first])
        for trait in ("sex", "view", "site")
        for value in sorted({row[trait] for row in first} - {""})
    }
    ages = np.array([float(row["age"] or "nan") for row in first])
    groups |= {name: (ages >= low) & (ages < high) for low, high, name in _BANDS}
    for name, members in groups.items():
        if (healthy & members).any():  # of a group without healthy subjects there is nothing to tell
            yield name, healthy & members


def _at_threshold(
    pixels: SubjectTally | None, threshold: float, sick: dict[str, bool]
) -> tuple[float | None, float | None]:
    """Return mean Dice of diseased subjects, and the median share of pixels that are called in healthy ones."""
    if pixels is None:
        return None, None
    lowest = np.finfo(np.float32).min
    counts = pixels.counts(np.array([threshold, lowest], np.float32))
    (alarms, normal), (hits, lesion) = counts[0].T, counts[1].T
    with_lesion = np.array([sick[name] for name in pixels.names]) & (lesion > 0)
    without = np.array([not sick[name] for name in pixels.names]) & (normal > 0)
    dice = (2 * hits / np.maximum(hits + alarms + lesion, 1))[with_lesion]
    shares = (alarms / np.maximum(normal, 1))[without]
    return (float(dice.mean()) if dice.size else None), (float(np.median(shares)) if shares.size else None)
