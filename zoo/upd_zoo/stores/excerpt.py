"""A part of a store, read as a store is: some of its subjects, and all images of each."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import UsageError
from upd_zoo.stores.store import Store

_DRAW: Final = (0, 1)
"""Beside the seed of a run, so that this order is none of those in which images make batches."""


class Excerpt(Store):
    """Some rows of a store, in their order, through the memory maps of the store; nothing is copied.

    Its facts, hash and name are those of the store, but for how many images and subjects there are.

    Args:
        store: The store.
        rows: (N,) rows of it.
        least: Where there are fewer rows, all are repeated until there are as many; its facts count each once.
    """

    def __init__(self, store: Store, rows: npt.NDArray[np.intp], least: int = 1) -> None:
        times = -(-least // len(rows))
        self.folder, self._index = store.folder, store.index
        self._rows = np.tile(rows, max(times, 1))
        self.facts = store.facts.model_copy(
            update={
                "images": len(rows),
                "subjects": len({store.subjects[row] for row in rows}),
                "anomalous": int(store.anomalous[rows].sum()),
            }
        )
        self.images: Any = _Rows(store.images, self._rows)
        self.masks: Any = None if store.masks is None else _Rows(store.masks, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def index(self) -> list[dict[str, str]]:
        """One row per image, as of the store."""
        return [self._index[row] for row in self._rows]


class _Rows:
    """Rows of an array, read when they are asked for."""

    def __init__(self, array: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> None:
        self._array, self._rows = array, rows

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self._array[self._rows[key]]
        return found

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self._array[row] for row in self._rows)


def share_of(store: Store, fraction: float, seed: int, least: int = 1) -> Store:
    """Return the first share of a store's subjects in an order that the seed draws.

    Of one seed, the subjects of a smaller share are among those of a larger one.

    Args:
        store: Training images.
        fraction: Of the subjects, in [0, 1]; one subject at least, so that 0 is a single one, as in the study's Fig. 4.
        seed: Of the run.
        least: Images are repeated until there are as many, so that a batch is as large as it would be.

    Raises:
        UsageError: The fraction lies outside [0, 1].

    Source: section VI-F of the study. It took subjects in the order of the list, and repeated a single volume 100
    times, a single image 500 times.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"{fraction} is no fraction of a training set", "a number from 0 to 1")
    if fraction == 1:
        return store
    names = list(dict.fromkeys(store.subjects))
    order = np.random.default_rng((seed, *_DRAW)).permutation(len(names))
    chosen = {names[number] for number in order[: subjects_in(fraction, len(names))]}
    rows = np.flatnonzero([subject in chosen for subject in store.subjects])
    return Excerpt(store, rows, least)


def subjects_in(fraction: float, subjects: int) -> int:
    """Return how many of some subjects a fraction of them is: one at least."""
    return max(1, round(fraction * subjects))
