"""How far each format is from the eager model, measured on images of its own domain."""

from collections.abc import Iterable, Mapping

import numpy as np

from upd_zoo.artefact import Parity
from upd_zoo.data.store import Store
from upd_zoo.runtime import Array, Predict

TOLERANCE = 1e-4
BATCHES = (1, 16)
_CASES = 16


def measure(reference: Predict, formats: Mapping[str, Predict], store: Store) -> list[Parity]:
    """Return the largest differences of every format from the reference, image by image and in one batch.

    Args:
        reference: The eager model in memory.
        formats: The same model as read back from each file.
        store: Images of the model's domain, of which evenly spaced ones are used.
    """
    rows = np.unique(np.linspace(0, len(store) - 1, min(_CASES, len(store))).astype(int))
    images = np.ascontiguousarray(store.images[rows])
    expected = _predict(reference, images, len(images))
    return [
        _compare(name, batch, expected, _predict(predict, images, batch))
        for name, predict in formats.items()
        for batch in BATCHES
    ]


def _predict(predict: Predict, images: Array, batch: int) -> tuple[Array, Array]:
    parts: Iterable[tuple[Array, Array]] = [
        predict(images[start : start + batch]) for start in range(0, len(images), batch)
    ]
    maps, scores = zip(*parts, strict=True)
    return np.concatenate(maps), np.concatenate(scores)


def _compare(name: str, batch: int, expected: tuple[Array, Array], found: tuple[Array, Array]) -> Parity:
    return Parity(
        format=name,
        batch=batch,
        map_difference=float(np.abs(found[0] - expected[0]).max()),
        score_difference=float(np.abs(found[1] - expected[1]).max()),
        map_range=float(np.ptp(expected[0])),
        tolerance=TOLERANCE,
    )
