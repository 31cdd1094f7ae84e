"""How far each format is from the eager model, measured on images of its own domain."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.records import Parity
from upd_zoo.runtime.model import Array, Predict
from upd_zoo.stores.store import Store

TOLERANCE = 1e-4
BATCHES = (1, 3, 16)
_CASES = 16


def measure(
    reference: Predict,
    formats: Mapping[str, Predict],
    store: Store,
    least_rank_correlation: float | None = None,
    *,
    mirrored: bool = False,
) -> list[Parity]:
    """Return the largest differences of every format from the reference, image by image and in one batch.

    Args:
        reference: The eager model in memory.
        formats: The same model as read back from each file.
        store: Images of the model's domain, of which evenly spaced ones are used.
        least_rank_correlation: What the method asks for, where its maps let rounding grow.
        mirrored: Whether to mirror them, because the model has learnt from them: PaDiM's maps of 32 photographs that it
            had learnt from spanned 0.11, less than a thousandth of which is rounding.
    """
    rows = np.unique(np.linspace(0, len(store) - 1, min(_CASES, len(store))).astype(int))
    images = np.array(store.images[rows])
    images = np.ascontiguousarray(images[..., ::-1]) if mirrored else images
    return compare(reference, formats, images, BATCHES, least_rank_correlation)


def compare(
    reference: Predict,
    formats: Mapping[str, Predict],
    images: Array,
    batches: Sequence[int],
    least_rank_correlation: float | None = None,
) -> list[Parity]:
    """Return the largest differences of every format from the reference on images (B, C, H, W), per batch size."""
    expected = _predict(reference, images, len(images))
    return [
        _compare(name, batch, expected, _predict(predict, images, batch), least_rank_correlation)
        for name, predict in formats.items()
        for batch in batches
    ]


def _predict(predict: Predict, images: Array, batch: int) -> tuple[Array, Array]:
    parts: Iterable[tuple[Array, Array]] = [
        predict(images[start : start + batch]) for start in range(0, len(images), batch)
    ]
    maps, scores = zip(*parts, strict=True)
    return np.concatenate(maps), np.concatenate(scores)


def _compare(
    name: str, batch: int, expected: tuple[Array, Array], found: tuple[Array, Array], least: float | None
) -> Parity:
    return Parity(
        format=name,
        batch=batch,
        map_difference=float(np.abs(found[0] - expected[0]).max()),
        score_difference=float(np.abs(found[1] - expected[1]).max()),
        map_range=float(np.ptp(expected[0])),
        score_range=float(np.ptp(expected[1])),
        rank_correlation=min(map(_rank_correlation, expected[0], found[0])),
        tolerance=TOLERANCE,
        least_rank_correlation=least,
    )


def _rank_correlation(expected: Array, found: Array) -> float:
    """Return Spearman's correlation of two maps; 1 where one of them is constant."""
    ranks = np.stack([_ranks(expected), _ranks(found)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return 1.0
    return float(np.mean(np.prod(ranks - ranks.mean(axis=1, keepdims=True), axis=0)) / spread.prod())


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    """Return the rank of each value; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
