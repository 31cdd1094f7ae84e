"""A share of a store: whole subjects, nested, drawn by the seed, and read as a store is."""

from pathlib import Path

import numpy as np
import pytest

from fake.stores import write_tiny_store
from upd_zoo.errors import UsageError
from upd_zoo.fitting.run import RunSettings
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.excerpt import Excerpt, share_of
from upd_zoo.stores.store import Store
from upd_zoo.training import train


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 images of 12 subjects."""
    return write_tiny_store(tmp_path_factory.mktemp("store") / "train", 1, 24, name="phantom-cxr/train")


@pytest.mark.parametrize(("fraction", "subjects"), [(0, 1), (0.01, 1), (0.25, 3), (0.5, 6), (1, 12)])
def test_a_share_counts_subjects_and_takes_them_whole(store: Store, fraction: float, subjects: int) -> None:
    part = share_of(store, fraction, seed=0)
    assert part.facts.subjects == len({*part.subjects}) == subjects
    assert len(part) == part.facts.images == len(part.images) == 2 * subjects
    assert part.sha256 == store.sha256


def test_a_larger_share_holds_the_smaller_one_and_another_seed_holds_others(store: Store) -> None:
    few, more, other = ({*share_of(store, share, seed).subjects} for share, seed in ((0.25, 0), (0.5, 0), (0.25, 1)))
    assert few < more
    assert few != other


def test_a_share_reads_the_images_of_its_subjects_in_the_order_of_the_store(store: Store) -> None:
    part = share_of(store, 0.25, seed=0)
    rows = [row for row, subject in enumerate(store.subjects) if subject in part.subjects]
    assert np.array_equal(part.images[1:5], store.images[rows][1:5])
    assert np.array_equal(part.images[np.array([4, 0])], store.images[[rows[4], rows[0]]])
    assert part.index == [store.index[row] for row in rows]


def test_few_images_are_repeated_until_they_fill_a_batch_and_are_counted_once(store: Store) -> None:
    part = Excerpt(store, np.array([5, 7, 8]), least=8)
    assert len(part) == len(part.subjects) == 9
    assert part.facts.images == 3
    assert np.array_equal(part.images[[0, 3, 6]], store.images[[5, 5, 5]])


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_what_is_no_fraction_is_refused(store: Store, fraction: float) -> None:
    with pytest.raises(UsageError, match="a number from 0 to 1"):
        share_of(store, fraction, seed=0)


def test_a_model_of_a_share_says_so_and_took_as_many_steps(store: Store, tmp_path: Path) -> None:
    model = ModelId.parse("vae-phantom-cxr")
    recipe = load_recipe(model, profile="tiny", steps=2, batch_size=5)
    config = train(model, recipe, store, tmp_path / "run", RunSettings(device="cpu", fraction=0.1))
    assert (config.training.fraction, config.training.subjects, config.training.images) == (0.1, 1, 2)
    assert config.training.steps == 2
    assert "10 % of the training subjects" in config.labels
