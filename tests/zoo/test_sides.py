"""The side of images in stores: where they lie, who reads them, and that one of the wrong side is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake.stores import write_tiny_store
from upd_zoo.artefact.records import PixelConvention
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.fitting.run import RunSettings
from upd_zoo.images.framing import frame, frame_mask, unframe
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import FACTS, Store
from upd_zoo.training import train
from upd_zoo.vocabulary import DOMAINS, Framing, Protocol, Side, side_of

MODEL = ModelId.parse("vae-phantom-fundus")
CPU = RunSettings(device="cpu")


@pytest.mark.parametrize(
    ("target", "protocol", "side", "expected"),
    [
        ("idrid", Protocol.SOUND, 128, "idrid/train"),
        ("idrid", Protocol.STUDY, 256, "idrid/train-256"),
        ("ddr", Protocol.STUDY, 192, "ddr/train-study-192"),
    ],
)
def test_stores_of_other_sides_lie_beside_those_of_the_study(
    target: str, protocol: Protocol, side: Side, expected: str
) -> None:
    assert store_path(Path("data"), target, "train", protocol, side) == Path("data") / expected


@pytest.mark.parametrize(
    ("folder", "options"), [("train-256", "--side 256"), ("test-study-192", "--protocol study --side 192")]
)
def test_a_store_that_is_not_there_is_named_with_what_prepares_it(tmp_path: Path, folder: str, options: str) -> None:
    with pytest.raises(NotFoundError, match=rf"upd-zoo prepare idrid {options}\.$"):
        Store(tmp_path / "idrid" / folder)


def test_a_store_of_an_older_version_has_the_studys_side(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store")
    record = json.loads((store.folder / FACTS).read_text(encoding="utf-8"))
    del record["side"]
    (store.folder / FACTS).write_text(json.dumps(record), encoding="utf-8")
    assert Store(store.folder).facts.side == 128


@pytest.mark.parametrize("name", ["phantom-cxr", "phantom-fundus"])
def test_photographs_are_prepared_at_another_side_beside_those_of_the_study(tmp_path: Path, name: str) -> None:
    request = Request(subjects=1)
    first = prepare(DOMAINS[name], tmp_path, request)
    done = prepare(DOMAINS[name], tmp_path, request, side=192)
    assert [facts.name for facts in done.stores] == [f"{facts.name}-192" for facts in first.stores]
    small, large = (Store(store_path(tmp_path, name, Part.TEST, side=side)) for side in (128, 192))
    assert (large.images.shape[2:], large.facts.side) == ((192, 192), 192)
    assert large.masks is not None
    assert large.masks.shape[1:] == (192, 192)
    assert large.subjects == small.subjects
    assert list(large.anomalous) == list(small.anomalous)
    assert prepare(DOMAINS[name], tmp_path, request, side=192) == done


def test_brain_phantoms_are_drawn_at_the_studys_side_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"128 x 128 pixels.*leave out --side 256"):
        prepare(DOMAINS["phantom-t2"], tmp_path, Request(subjects=1), side=256)
    assert not (tmp_path / "phantom-t2").exists()


@pytest.mark.parametrize(("stored", "asked"), [(128, 192), (192, 128)])
def test_a_store_of_another_side_is_not_trained_on(tmp_path: Path, stored: Side, asked: int) -> None:
    store = write_tiny_store(tmp_path / "store", 3, name="phantom-fundus/train", side=stored)
    recipe = load_recipe(MODEL, profile="tiny", side=asked)
    with pytest.raises(UsageError, match=rf"of {stored} pixels.*upd-zoo prepare phantom-fundus --side {asked}"):
        train(MODEL, recipe, store, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_recipe_keeps_the_share_of_an_image_that_is_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"batch_size": 2, "steps": 0, "smoothing": 2.0, "erosion": 2}
    monkeypatch.setattr("upd_zoo.recipe._read", lambda _: own)
    recipe = load_recipe(MODEL, side=256)
    assert (recipe.side, recipe.smoothing, recipe.erosion) == (256, 4.0, 4)
    monkeypatch.setattr("upd_zoo.recipe._read", lambda _: own | {"side": 256})
    assert load_recipe(MODEL) == replace(recipe, smoothing=2.0, erosion=2)


def test_a_side_that_no_model_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"100 x 100 pixels.*128, 192, 256"):
        side_of(100)
    with pytest.raises(UsageError, match="100 x 100"):
        load_recipe(MODEL, side=100)
    with pytest.raises(ValueError, match="no square"):
        PixelConvention(channels=1, height=128, width=256)


@pytest.mark.parametrize("framing", Framing)
def test_what_lies_in_a_corner_stays_there_at_every_side(framing: Framing) -> None:
    image, size = np.zeros((1, 300, 300), np.float32), (300, 300)
    image[0, 5:25, 270:290] = 1
    for side in (128, 192, 256):
        square = frame(image, framing, side)
        assert square.shape == (1, side, side)
        found = np.argwhere(frame_mask(image[0], framing, side)).mean(axis=0)
        np.testing.assert_allclose(found, (np.array((14.5, 279.5)) + 0.5) * side / 300 - 0.5, atol=0.5)
        back = unframe(square[0], framing, *size)
        np.testing.assert_allclose(np.argwhere(back > 0.5).mean(axis=0), (14.5, 279.5), atol=1)
