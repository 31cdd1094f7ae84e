"""Batches of a prepared store, in an order that the seed and the step alone decide."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from upd_zoo.stores.store import Store


class Batches:
    """Endless shuffled batches of a store; which images make a batch depends on the seed and the step alone.

    Every epoch is a new permutation; its last batch may be smaller, as in the study.

    Args:
        store: Healthy images.
        batch_size: Images per batch over all processes.
        seed: Decides the order.
        centred: Whether to give pixels in [-1, 1] instead of [0, 1].
    """

    def __init__(self, store: Store, batch_size: int, seed: int, *, centred: bool) -> None:
        self.store, self.batch_size, self.seed, self.centred = store, batch_size, seed, centred
        self.per_epoch = -(-len(store) // batch_size)

    def rows(self, step: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the rows of the store that make the batch of a step."""
        epoch, position = divmod(step, self.per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.store))
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def share(self, step: int, process: int = 0, processes: int = 1) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Return the rows of this process's share of the batch of a step, in the order in which `at` gives them."""
        return np.sort(self.rows(step)[process::processes])

    def at(self, step: int, process: int = 0, processes: int = 1) -> Tensor:
        """Return (B, C, 128, 128) float32, this process's share of the batch of a step."""
        return self._pixels(self.store.images[self.share(step, process, processes)])

    def in_order(self, count: int) -> Iterator[Tensor]:
        """Yield the first `count` images in the store's order, (B, C, 128, 128) float32."""
        for start in range(0, count, self.batch_size):
            yield self._pixels(self.store.images[start : min(start + self.batch_size, count)])

    def sample(self, count: int) -> Tensor:
        """Return `count` images, or all where there are fewer, spread evenly over the store, as `in_order` does."""
        rows = np.linspace(0, len(self.store) - 1, min(count, len(self.store))).astype(np.int64)
        return self._pixels(self.store.images[rows])

    def _pixels(self, images: "np.ndarray[tuple[int, int, int, int], np.dtype[np.float32]]") -> Tensor:
        pixels = torch.from_numpy(np.array(images))
        return pixels * 2 - 1 if self.centred else pixels
