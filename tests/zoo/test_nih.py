"""Promises of the ChestX-ray14 reader, on a look-alike with its true layouts, and on real radiographs."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.nih import HEADER, OLD_TABLE, TABLE, Entry, population, write_image, write_nih
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.framing import frame
from upd_zoo.images.gate import read_photograph
from upd_zoo.sources.nih import NIH
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Inputs, Request
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Sample, Store
from upd_zoo.vocabulary import DOMAINS, Framing, Protocol

DOMAIN = DOMAINS["nih-cxr"]
STORES = {part: StoreName("nih-cxr", part) for part in Part}


def inputs(root: Path, part: Part) -> Inputs:
    return NIH.opened(Request(root))(STORES[part])


def everything(root: Path) -> dict[str, Sample]:
    return {name: next(iter(read())) for part in Part for name, read in inputs(root, part).items()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nih(tmp_path_factory.mktemp("nih"), population())


@pytest.fixture(scope="module")
def data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert prepare(DOMAIN, folder, Request(root)).failures == ()
    return folder


def test_no_patient_is_in_two_parts_and_only_the_test_has_diseased(data: Path) -> None:
    stores = {part: Store(store_path(data, "nih-cxr", part)) for part in Part}
    subjects = [set(store.subjects) for store in stores.values()]
    assert all(subjects)
    assert len(set.union(*subjects)) == sum(map(len, subjects)) == 40
    assert [bool(store.anomalous.any()) for store in stores.values()] == [False, False, True]


def test_every_healthy_radiograph_is_used_and_the_diseased_of_the_test_alone(data: Path) -> None:
    stores = [Store(store_path(data, "nih-cxr", part)) for part in Part]
    assert sum(int((~store.anomalous).sum()) for store in stores) == 20 * 3 + 20 * 2
    test = stores[-1]
    assert test.anomalous.sum() == sum(int(subject) % 2 for subject in set(test.subjects)) > 0


def test_only_no_finding_and_nothing_else_is_healthy(tmp_path: Path) -> None:
    labels = ("No Finding", "No Finding|Effusion", "Hernia", "no finding")
    root = write_nih(tmp_path, [Entry(p, n, label) for p in range(40) for n, label in enumerate(labels)])
    test = [next(iter(read())) for read in inputs(root, Part.TEST).values()]
    assert [sample.anomalous for sample in test] == [False, True, True, True] * (len(test) // 4)
    assert {name[-7:-4] for name in inputs(root, Part.TRAIN)} == {"000"}


def test_the_folders_of_the_archives_are_read_like_one_folder(tmp_path: Path, root: Path) -> None:
    twelve = everything(write_nih(tmp_path, population(), folders=12))
    assert {Path(name).parts[0] for name in twelve} == {f"images_{number:03}" for number in range(1, 13)}
    one = everything(root)
    assert {Path(name).name: sample.subject for name, sample in twelve.items()} == {
        Path(name).name: sample.subject for name, sample in one.items()
    }


def test_the_index_holds_view_sex_and_age(data: Path) -> None:
    known = {entry.name: entry for entry in population()}
    for row in Store(store_path(data, "nih-cxr", "test")).index:
        entry = known[Path(row["source"]).name]
        assert (row["sex"], row["age"], row["view"]) == (entry.sex, entry.age, entry.view)


@pytest.mark.parametrize(
    ("text", "age"), [("058Y", "58"), ("013M", "1"), ("025D", "0"), ("414", ""), ("150", ""), ("120", "120"), ("", "")]
)
def test_ages_of_both_tables_are_years_and_slips_are_unknown(tmp_path: Path, text: str, age: str) -> None:
    root = write_nih(tmp_path / "nih", [Entry(number, 0, age=text) for number in range(40)], table=OLD_TABLE)
    prepare(DOMAIN, tmp_path / "data", Request(root))
    assert {row["age"] for row in Store(store_path(tmp_path / "data", "nih-cxr", "train")).index} == {age}


def test_a_table_that_says_sex_instead_of_gender_is_read(tmp_path: Path) -> None:
    root = write_nih(tmp_path, population())
    (root / TABLE).write_text(
        (root / TABLE).read_text().replace("Patient Gender", "Patient Sex").replace("]\n", "],\n")
    )
    assert {sample.sex for sample in everything(root).values()} == {"F", "M"}


def test_images_are_stretched_as_for_scoring(root: Path) -> None:
    name, read = next(iter(inputs(root, Part.TRAIN).items()))
    expected = frame(read_photograph(root / name).data, Framing.STRETCH, 128)
    np.testing.assert_array_equal(next(iter(read())).image, expected)


def test_grey_stored_as_colours_is_grey_and_colour_is_refused(tmp_path: Path) -> None:
    root = write_nih(tmp_path, population())
    (first, read), (second, other) = list(inputs(root, Part.TRAIN).items())[:2]
    grey = next(iter(read())).image
    with Image.open(root / first) as picture:
        four = picture.convert("RGBA")
    four.save(root / first)
    np.testing.assert_array_equal(next(iter(read())).image, grey)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(root / second)
    with pytest.raises(InputError) as caught:
        other()
    assert caught.value.code is InputErrorCode.CHANNELS


def test_a_truncated_and_a_missing_radiograph_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", population())
    first, second, *others = inputs(root, Part.TRAIN)
    (root / first).write_bytes((root / first).read_bytes()[:-20])
    (root / second).unlink()
    done = prepare(DOMAIN, tmp_path / "data", Request(root))
    assert [(failure.input, failure.error.code) for failure in done.failures] == [
        (first, InputErrorCode.TRUNCATED),
        (second, InputErrorCode.MISSING),
    ]
    assert done.stores[0].images == len(others)


def test_a_name_that_leaves_the_folder_is_refused_alone(tmp_path: Path) -> None:
    outside = Entry(1, 0)
    write_image(tmp_path / outside.name, outside)
    root = write_nih(tmp_path / "nih", population())
    text = (root / TABLE).read_text()
    line = next(line for line in text.splitlines() if line.startswith(Path(next(iter(inputs(root, Part.TRAIN)))).name))
    (root / TABLE).write_text(text.replace(line.split(",")[0], f"../../{outside.name}"))
    (failure,) = prepare(DOMAIN, tmp_path / "data", Request(root)).failures
    assert failure.error.code is InputErrorCode.UNREADABLE
    assert "leaves the folder" in str(failure.error)


@pytest.mark.parametrize(
    "table",
    [
        "Image,Label\na.png,No Finding\n",
        f"{HEADER}\n00000001_000.png,No Finding\n",
        f"{HEADER}\n00000001_000.png,,0,1,58,M,PA,1,1,1,1\n",
        b"\x89PNG\r\n\x1a\n\xff\xfe",
    ],
    ids=["other columns", "short row", "no finding stated", "no text"],
)
def test_a_damaged_table_is_refused_with_where_to_get_it(tmp_path: Path, table: str | bytes) -> None:
    root = write_nih(tmp_path, population(1))
    (root / TABLE).write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(InputError, match="nihcc") as caught:
        inputs(root, Part.TRAIN)
    assert caught.value.code is InputErrorCode.CORRUPT


def test_two_tables_or_none_are_refused(tmp_path: Path) -> None:
    root = write_nih(tmp_path, population(1))
    (root / OLD_TABLE).write_text(HEADER)
    with pytest.raises(InputError, match="move the others away"):
        inputs(root, Part.TRAIN)
    for table in (OLD_TABLE, TABLE):
        (root / table).unlink()
    with pytest.raises(NotFoundError, match="Data_Entry"):
        inputs(root, Part.TRAIN)


def test_both_protocols_read_one_store(tmp_path: Path) -> None:
    assert store_path(tmp_path, "nih-cxr", "train", Protocol.STUDY) == store_path(tmp_path, "nih-cxr", "train")


@pytest.mark.real
def test_the_real_radiographs_are_divided_by_patient(open_images: Path, tmp_path: Path) -> None:
    done = prepare(DOMAIN, tmp_path, Request(open_images / "nih_cxr"))
    assert done.failures == ()
    assert [(facts.images, facts.anomalous) for facts in done.stores] == [(234, 0), (57, 0), (153, 83)]
    patients = defaultdict(set)
    for facts in done.stores:
        store = Store(tmp_path / facts.name)
        assert {row["view"] for row in store.index} == {"PA", "AP"}
        assert {row["sex"] for row in store.index} == {"F", "M"}
        assert all(0 < int(row["age"]) < 100 for row in store.index)
        for subject in store.subjects:
            patients[subject].add(facts.name)
    assert {len(names) for names in patients.values()} == {1}
