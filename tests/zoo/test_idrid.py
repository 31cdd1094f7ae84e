"""Promises of the IDRiD reader, on a look-alike with its true layout, and on the real photographs where they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.idrid import (
    GRADE_FILES,
    GRADES_B,
    HEIGHT,
    IMAGES_A,
    IMAGES_B,
    MASK_KINDS,
    MASKS_A,
    TESTING,
    TRAINING,
    WIDTH,
    lesion,
    write_idrid,
    write_mask,
)
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.framing import frame, frame_mask
from upd_zoo.images.gate import read_photograph
from upd_zoo.sources.idrid import IDRID
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Inputs, Request
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Framing

DOMAIN = DOMAINS["idrid"]
TRAIN, VALIDATION = StoreName("idrid", Part.TRAIN), StoreName("idrid", Part.VALIDATION)
GRADES, LESIONS = StoreName("idrid", Part.TEST), StoreName("idrid-lesions", Part.TEST)


def inputs(root: Path, store: StoreName) -> Inputs:
    return IDRID.opened(Request(root))(store)


def open_store(data: Path, store: StoreName) -> Store:
    return Store(store_path(data, *store))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idrid(tmp_path_factory.mktemp("idrid"))


@pytest.fixture(scope="module")
def data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert prepare(DOMAIN, folder, Request(root)).failures == ()
    return folder


def test_healthy_photographs_are_divided_and_every_one_is_used(data: Path) -> None:
    train, validation, test = (open_store(data, name) for name in (TRAIN, VALIDATION, GRADES))
    healthy = [
        {s for s, sick in zip(p.subjects, p.anomalous, strict=True) if not sick} for p in (train, validation, test)
    ]
    assert all(healthy)
    assert sum(map(len, healthy)) == len(set.union(*healthy)) == 14
    assert not train.anomalous.any()
    assert not validation.anomalous.any()


def test_the_grades_decide_who_is_diseased_and_have_no_masks(data: Path) -> None:
    test = open_store(data, GRADES)
    sick = [subject for subject, anomalous in zip(test.subjects, test.anomalous, strict=True) if anomalous]
    assert sick == [f"B/a/IDRiD_{number:03}" for number in (3, 7, 10, 13, 17, 20)]
    assert test.masks is None


def test_both_test_sets_share_their_healthy_photographs_and_no_diseased_one(data: Path) -> None:
    grades, lesions = open_store(data, GRADES), open_store(data, LESIONS)
    assert set(grades.subjects) & set(lesions.subjects) == {
        subject for subject, sick in zip(grades.subjects, grades.anomalous, strict=True) if not sick
    }
    assert [subject for subject in lesions.subjects if subject.startswith("A")] == [
        f"A/a/IDRiD_0{n}" for n in (1, 2, 3)
    ]


def test_the_lesions_of_a_photograph_are_one_mask_without_the_optic_disc(data: Path) -> None:
    store = open_store(data, LESIONS)
    assert store.masks is not None
    unions = [("MA", "HE", "EX"), ("MA", "SE"), ("EX",)]
    expected = [
        frame_mask(np.logical_or.reduce([lesion(k) for k in kinds]), Framing.CENTRE_CROP, 128) for kinds in unions
    ]
    np.testing.assert_array_equal(store.masks[store.anomalous], expected)
    assert not store.masks[~store.anomalous].any()
    assert store.anomalous.sum() == 3


def test_images_are_the_photographs_framed_as_for_scoring(root: Path, data: Path) -> None:
    store = open_store(data, TRAIN)
    photograph = read_photograph(root / store.index[0]["source"])
    np.testing.assert_array_equal(store.images[0], frame(photograph.data, Framing.CENTRE_CROP, 128))


def test_the_facts_say_where_the_images_come_from(data: Path) -> None:
    facts = open_store(data, TRAIN).facts
    assert facts.labels == ["open data: IDRiD"]
    assert facts.provenance["source"] == "idrid"
    assert facts.provenance["inputs"] == facts.images


def test_the_full_release_counts_its_testing_set_from_one_again(tmp_path: Path, root: Path) -> None:
    full = write_idrid(tmp_path, testing_grades=(0, 3, 0, 0, 0, 0, 0, 1), testing_lesions=(("HE",), ("MA", "OD")))
    for store in (TRAIN, VALIDATION, GRADES, LESIONS):
        assert set(inputs(root, store)) < set(inputs(full, store))
    samples = [sample for read in inputs(full, GRADES).values() for sample in read()]
    assert {"B/b/IDRiD_002", "B/b/IDRiD_008"} <= {sample.subject for sample in samples if sample.anomalous}
    assert len({sample.subject for sample in samples}) == len(samples)


def test_masks_in_palette_colours_are_read(tmp_path: Path) -> None:
    full = write_idrid(tmp_path, testing_grades=(0,), testing_lesions=(("HE", "SE", "OD"),))
    (sample,) = inputs(full, LESIONS)[f"{IMAGES_A}/{TESTING}/IDRiD_04.jpg"]()
    expected = frame_mask(lesion("HE") | lesion("SE"), Framing.CENTRE_CROP, 128)
    np.testing.assert_array_equal(sample.mask, expected)


def test_a_truncated_photograph_is_reported_and_made_good_later(tmp_path: Path) -> None:
    root, data = write_idrid(tmp_path / "idrid"), tmp_path / "data"
    photo = root / IMAGES_B / TRAINING / "IDRiD_001.jpg"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:-200])
    for _ in range(2):  # a repeated run must not call the store complete
        (failure,) = prepare(DOMAIN, data, Request(root)).failures
        assert (failure.store, failure.input) == (TRAIN, f"{IMAGES_B}/{TRAINING}/IDRiD_001.jpg")
        assert failure.error.code is InputErrorCode.TRUNCATED
    images = len(open_store(data, TRAIN))
    photo.write_bytes(whole)
    assert prepare(DOMAIN, data, Request(root)).failures == ()
    assert len(open_store(data, TRAIN)) == images + 1


def test_a_photograph_in_the_table_but_not_in_the_folder_is_reported(tmp_path: Path) -> None:
    root = write_idrid(tmp_path)
    (root / IMAGES_B / TRAINING / "IDRiD_003.jpg").unlink()
    with pytest.raises(InputError) as caught:
        inputs(root, GRADES)[f"{IMAGES_B}/{TRAINING}/IDRiD_003.jpg"]()
    assert caught.value.code is InputErrorCode.MISSING


def test_a_store_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    root = write_idrid(tmp_path / "idrid")
    for photo in (root / IMAGES_B / TRAINING).iterdir():
        photo.write_bytes(b"")
    with pytest.raises(InputError, match="None of 11 inputs of idrid/train can be used"):
        prepare(DOMAIN, tmp_path / "data", Request(root))
    assert not store_path(tmp_path / "data", *TRAIN).exists()


@pytest.mark.parametrize(
    ("kinds", "code"), [(["MA"], InputErrorCode.GEOMETRY), ([], InputErrorCode.MISSING)], ids=["other grid", "no mask"]
)
def test_a_photograph_without_a_fitting_mask_is_refused(tmp_path: Path, kinds: list[str], code: InputErrorCode) -> None:
    root = write_idrid(tmp_path, lesions=((),))
    for kind in kinds:
        turned = np.zeros((WIDTH, HEIGHT), np.bool_)
        write_mask(root / MASKS_A / TRAINING / MASK_KINDS[kind] / f"IDRiD_01_{kind}.tif", turned)
    (root / MASKS_A / TRAINING).mkdir(parents=True, exist_ok=True)
    with pytest.raises(InputError) as caught:
        inputs(root, LESIONS)[f"{IMAGES_A}/{TRAINING}/IDRiD_01.jpg"]()
    assert caught.value.code is code


def test_a_grey_photograph_is_refused(root: Path, tmp_path: Path) -> None:
    root = write_idrid(tmp_path)
    photo = root / IMAGES_B / TRAINING / "IDRiD_001.jpg"
    with Image.open(photo) as picture:
        grey = picture.convert("L")
    grey.save(photo)
    with pytest.raises(InputError) as caught:
        inputs(root, TRAIN)[f"{IMAGES_B}/{TRAINING}/IDRiD_001.jpg"]()
    assert caught.value.code is InputErrorCode.CHANNELS


@pytest.mark.parametrize(
    "part", [IMAGES_A, MASKS_A, IMAGES_B, f"{GRADES_B}/{GRADE_FILES[TRAINING]}"], ids=lambda part: part[-20:]
)
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path, part: str) -> None:
    root = write_idrid(tmp_path / "idrid")
    (root / part).rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="IEEE DataPort") as caught:
        prepare(DOMAIN, tmp_path / "data", Request(root))
    assert f"it lacks '{part}" in str(caught.value)


def test_a_testing_set_without_its_table_is_refused(tmp_path: Path) -> None:
    root = write_idrid(tmp_path, testing_grades=(0,))
    (root / GRADES_B / GRADE_FILES[TESTING]).unlink()
    with pytest.raises(NotFoundError, match="Testing Labels"):
        inputs(root, TRAIN)


@pytest.mark.parametrize("table", ["Image name,Retinopathy grade\nIDRiD_001,5\n", "Photo,Grade\nIDRiD_001,0\n,3\n"])
def test_a_table_with_another_grade_or_other_columns_is_refused(tmp_path: Path, table: str) -> None:
    root = write_idrid(tmp_path)
    (root / GRADES_B / GRADE_FILES[TRAINING]).write_text(table)
    with pytest.raises(InputError, match="Retinopathy grade"):
        inputs(root, TRAIN)


@pytest.mark.real
def test_the_real_photographs_are_found_and_read(open_images: Path) -> None:
    root = open_images / "idrid"
    counts = {str(store): len(inputs(root, store)) for store in (TRAIN, VALIDATION, GRADES, LESIONS)}
    assert counts == {"idrid/train": 87, "idrid/validation": 16, "idrid/test": 310, "idrid-lesions/test": 85}
    assert sum(counts.values()) - counts["idrid-lesions/test"] == 413
    (sample,) = inputs(root, LESIONS)[f"{IMAGES_A}/{TRAINING}/IDRiD_03.jpg"]()
    assert sample.anomalous
    assert sample.mask is not None
    assert 0 < sample.mask.mean() < 0.5
    assert sample.image.shape == (3, 128, 128)
