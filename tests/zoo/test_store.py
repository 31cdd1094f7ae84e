"""The prepared store: what is written is read back from the disk, and a broken store is refused."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.memory import traced
from fake.stores import draw_samples, write_tiny_store
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError
from upd_zoo.stores.store import FACTS, IMAGES, INDEX, MASKS, Sample, Store, write_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with masks; tests that break it break a copy."""
    return write_tiny_store(tmp_path_factory.mktemp("stores") / "whole", 3, 12, masks=True, anomalous=5).folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_what_is_written_is_read_back(whole: Path) -> None:
    store, samples = Store(whole), draw_samples(3, 12, 0, masks=True, anomalous=5)
    assert store.masks is not None
    assert len(store) == 12
    assert np.array_equal(store.images, np.stack([sample.image for sample in samples]))
    assert np.array_equal(store.masks, np.stack([sample.mask for sample in samples if sample.mask is not None]))
    assert store.subjects == [sample.subject for sample in samples]
    assert store.anomalous.tolist() == [sample.anomalous for sample in samples]
    assert [(row["slice"], row["source"]) for row in store.index] == [(str(s.slice), s.source) for s in samples]


def test_the_facts_count_what_is_there(whole: Path) -> None:
    facts = Store(whole).facts
    assert (facts.images, facts.channels, facts.subjects, facts.anomalous, facts.has_masks) == (12, 3, 6, 5, True)
    assert facts.labels == ["tiny test store"]


def test_the_hashes_are_those_of_the_pixels(whole: Path) -> None:
    store = Store(whole)
    assert store.masks is not None
    assert store.sha256 == hashlib.sha256(store.images.tobytes()).hexdigest()
    assert store.facts.sha256[MASKS] == hashlib.sha256(store.masks.tobytes()).hexdigest()


def test_numpy_reads_the_arrays_without_us(whole: Path) -> None:
    images, masks = np.load(whole / IMAGES), np.load(whole / MASKS)
    assert (images.shape, images.dtype) == ((12, 3, 128, 128), np.float32)
    assert (masks.shape, masks.dtype) == ((12, 128, 128), np.uint8)


def test_images_stay_on_the_disk_and_cannot_be_changed(whole: Path) -> None:
    images = Store(whole).images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_a_store_without_truth_has_no_masks(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", images=2)
    assert store.masks is None
    assert not (tmp_path / "store" / MASKS).exists()


def test_the_same_samples_make_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    again = write_tiny_store(tmp_path / "again", 3, 12, masks=True, anomalous=5).folder
    assert all((again / name).read_bytes() == (whole / name).read_bytes() for name in (IMAGES, MASKS, INDEX, FACTS))


def test_names_with_commas_quotes_and_lines_survive(tmp_path: Path) -> None:
    subjects = ['a,"b"', "c\nd", "é", " e "]
    samples = [replace(draw_samples(1, 1, 0)[0], subject=subject, source=subject) for subject in subjects]
    write_store(tmp_path / "store", "x", samples, channels=1, has_masks=False)
    assert Store(tmp_path / "store").subjects == subjects
    assert [row["source"] for row in Store(tmp_path / "store").index] == subjects


def test_provenance_is_kept(tmp_path: Path) -> None:
    provenance: dict[str, Any] = {"seed": 3, "share": 0.5, "strip": True, "parts": ["a", "b"], "none": None}
    samples = draw_samples(1, 1, 0)
    write_store(tmp_path / "store", "x/train", samples, channels=1, has_masks=False, provenance=provenance)
    facts = Store(tmp_path / "store").facts
    assert (facts.name, facts.provenance) == ("x/train", provenance)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    sample = draw_samples(3, 1, 0)[0]

    def peak_of(images: int) -> int:
        samples = (replace(sample, image=sample.image + np.float32(0)) for _ in range(images))
        with traced() as peak:
            write_store(tmp_path / "store", "x", samples, channels=3, has_masks=False)
        return peak.bytes

    peak_of(2)  # imports and caches
    assert peak_of(100) < peak_of(10) + sample.image.nbytes


def failing(samples: list[Sample]) -> Iterator[Sample]:
    yield from samples
    raise RuntimeError


def test_a_store_that_fails_half_way_leaves_the_old_one(copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(RuntimeError):
        write_store(copy, "x", failing(draw_samples(1, 2, 0)), channels=1, has_masks=False)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_a_store_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UpdZooError, match="No image"):
        write_store(tmp_path / "store", "x", [], channels=1, has_masks=False)
    assert not [*tmp_path.iterdir()]


TRAITS = ("sex", "age", "view", "site")
GOOD = draw_samples(1, 1, 0, masks=True)[0]
MASK = np.zeros((128, 128), np.uint8)


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, image=np.zeros((3, 128, 128), np.float32)),
        replace(GOOD, image=np.zeros((128, 128), np.float32)),
        replace(GOOD, image=np.zeros((1, 128, 127), np.float32)),
        replace(GOOD, image=np.zeros((1, 128, 128), np.float64)),
        replace(GOOD, mask=None),
        replace(GOOD, mask=MASK[None]),
        replace(GOOD, mask=MASK[:64]),
        replace(GOOD, mask=MASK.astype(bool)),
    ],
    ids=["channels", "no channel", "side", "type", "no mask", "mask channel", "mask side", "mask type"],
)
def test_wrong_samples_are_refused(bad: Sample, tmp_path: Path) -> None:
    with pytest.raises(UpdZooError):
        write_store(tmp_path / "store", "x", [GOOD, bad], channels=1, has_masks=True)
    assert not [*tmp_path.iterdir()]


def test_images_in_any_memory_order_are_written_alike(tmp_path: Path) -> None:
    turned = replace(GOOD, image=np.asfortranarray(GOOD.image), mask=None)
    write_store(tmp_path / "store", "x", [turned], channels=1, has_masks=False)
    assert np.array_equal(Store(tmp_path / "store").images[0], GOOD.image)


def test_a_folder_without_a_store_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="upd-zoo prepare "):
        Store(tmp_path)


def drop_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_one_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def drop_all(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_bytes(b"not numpy" * 100)


def drop_one_image(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def change_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


def pickle_it(path: Path) -> None:
    np.save(path, np.full(np.load(path, mmap_mode="r").shape, None), allow_pickle=True)


@pytest.mark.parametrize("name", [IMAGES, MASKS])
@pytest.mark.parametrize(
    "damage", [Path.unlink, drop_half, drop_one_byte, drop_all, scribble, drop_one_image, change_type, pickle_it]
)
def test_broken_arrays_are_refused(name: str, damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / name)
    with pytest.raises(IntegrityError, match=name):
        Store(copy)


@pytest.mark.parametrize("damage", [Path.unlink, drop_half, drop_all])
def test_an_index_of_another_length_is_refused(damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / INDEX)
    with pytest.raises(IntegrityError, match=INDEX):
        _ = Store(copy).anomalous


def test_facts_that_are_none_are_refused(copy: Path) -> None:
    facts = json.loads((copy / FACTS).read_text())
    (copy / FACTS).write_text(json.dumps(facts | {"channels": 2}))
    with pytest.raises(IntegrityError, match=FACTS):
        Store(copy)


def test_sex_age_view_and_site_are_kept_and_what_is_not_known_is_empty(tmp_path: Path) -> None:
    samples = [replace(GOOD, sex="F", age=0, view="PA", site="HH"), GOOD]
    write_store(tmp_path / "store", "phantom-t2/train", samples, channels=1, has_masks=False)
    rows = [tuple(row[trait] for trait in TRAITS) for row in Store(tmp_path / "store").index]
    assert rows == [("F", "0", "PA", "HH"), ("", "", "", "")]


@pytest.mark.parametrize("known", [0, 3])
def test_a_store_of_an_older_version_lacks_traits(copy: Path, known: int) -> None:
    path = copy / "index.csv"
    lines = [line.rsplit(",", len(TRAITS) - known)[0] for line in path.read_text().splitlines()]
    assert lines[0] == ",".join(("subject", "slice", "anomalous", "source", *TRAITS[:known]))
    path.write_text("\n".join(lines) + "\n")
    assert all(row[trait] == "" for row in Store(copy).index for trait in TRAITS)


def test_a_missing_store_says_how_to_make_it_under_its_protocol(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="upd-zoo prepare ddr --protocol study"):
        Store(tmp_path / "ddr" / "train-study")
    with pytest.raises(NotFoundError, match=r"upd-zoo prepare ddr\.$"):
        Store(tmp_path / "ddr" / "train")


def test_a_store_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    """`write_store` makes none; one that was emptied by hand would fail far from here."""
    store = write_tiny_store(tmp_path / "store")
    np.save(store.folder / IMAGES, np.zeros((0, 1, 128, 128), np.float32))
    (store.folder / FACTS).write_text(store.facts.model_copy(update={"images": 0}).model_dump_json(by_alias=True))
    with pytest.raises(IntegrityError, match="says that it holds no image"):
        Store(store.folder)


def test_diseased_images_are_found_where_there_should_be_none(tmp_path: Path) -> None:
    write_tiny_store(tmp_path / "healthy").check_health()
    with pytest.raises(IntegrityError, match="holds 2 diseased images"):
        write_tiny_store(tmp_path / "mixed", anomalous=2).check_health()


def test_what_two_stores_share_is_told_by_content_and_by_name(tmp_path: Path) -> None:
    first = write_tiny_store(tmp_path / "first", images=8, subjects="a")
    again = write_tiny_store(tmp_path / "again", images=6, subjects="b")
    others = write_tiny_store(tmp_path / "others", images=8, seed=1, subjects="a")
    assert again.shared_with(first) == ([], 6)
    assert others.shared_with(first) == (["a-0", "a-1", "a-2", "a-3"], 0)
    assert write_tiny_store(tmp_path / "third", seed=2, subjects="c").shared_with(first) == ([], 0)
