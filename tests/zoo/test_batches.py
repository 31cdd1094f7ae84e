"""Which images make the batches of a training, in which order, and with which pixels."""

import numpy as np
import pytest
import torch

from fake.stores import write_tiny_store
from upd_zoo.fitting.batches import Batches
from upd_zoo.stores.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight images: batches of three leave a smaller one at the end of each epoch."""
    return write_tiny_store(tmp_path_factory.mktemp("batches") / "store")


def rows_of(batches: Batches, epoch: int) -> list[int]:
    steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    return [int(row) for step in steps for row in batches.rows(step)]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 8, 9, 100])
def test_every_image_is_seen_once_per_epoch(store: Store, batch_size: int) -> None:
    batches = Batches(store, batch_size, seed=0, centred=False)
    orders = [rows_of(batches, epoch) for epoch in range(3)]
    assert all(sorted(order) == [*range(8)] for order in orders)
    assert len({tuple(order) for order in orders}) == 3, "every epoch has its own order"


def test_the_order_depends_on_the_seed_and_the_epoch_alone(store: Store) -> None:
    one, other = Batches(store, 3, seed=5, centred=False), Batches(store, 4, seed=5, centred=True)
    list(map(one.rows, (7, 2, 11)))
    np.random.default_rng(0).random(3)
    assert [rows_of(one, epoch) for epoch in (0, 1)] == [rows_of(other, epoch) for epoch in (0, 1)]
    assert rows_of(one, 0) != rows_of(Batches(store, 3, seed=6, centred=False), 0)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_shares_of_the_processes_make_the_batch(store: Store, processes: int) -> None:
    batches = Batches(store, 3, seed=0, centred=False)
    for step in range(batches.per_epoch):
        shares = torch.cat([batches.at(step, process, processes) for process in range(processes)])
        whole = torch.from_numpy(store.images[batches.rows(step)])
        assert sorted(image.sum().item() for image in shares) == sorted(image.sum().item() for image in whole)


def test_pixels_come_in_the_convention_of_the_method(store: Store) -> None:
    plain, centred = (Batches(store, 3, seed=0, centred=flag).at(0) for flag in (False, True))
    assert (plain.dtype, plain.shape) == (torch.float32, (3, 1, 128, 128))
    assert torch.equal(centred, plain * 2 - 1)
