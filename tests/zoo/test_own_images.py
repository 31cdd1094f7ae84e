"""Images of one's own: understood as their owner means them, split by person, cut as every other image."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.inputs import head, write_volume
from fake.own import write_brain, write_eye, write_film, write_mask
from upd_zoo.errors import InputErrorCode, NotFoundError, UsageError
from upd_zoo.images.kinds import modality_of
from upd_zoo.sources.collection import Collection
from upd_zoo.sources.folders import FEWEST, Folders, plan
from upd_zoo.stores.domains import adopt, read_own
from upd_zoo.stores.places import Part
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import BRAIN_MRI, CHEST_XRAY, FUNDUS


@pytest.fixture(autouse=True)
def leave_nothing_behind(tmp_path: Path) -> Iterator[None]:
    yield
    adopt(tmp_path / "nothing")


def eyes(folder: Path, persons: int, first: int = 0) -> Path:
    """Write two photographs of each of some persons."""
    for person in range(first, first + persons):
        for number, eye in enumerate(("left", "right")):
            write_eye(folder / f"P{person:03}_{eye}.png", 2 * person + number)
    return folder


def test_nobody_is_in_two_parts_and_no_image_is_lost(tmp_path: Path) -> None:
    found = plan(Folders(eyes(tmp_path / "healthy", 60)))
    assert (found.folds, sum(map(len, found.parts.values()))) == (0, 120)
    train, validation = ({file.subject for file in found.parts[part]} for part in (Part.TRAIN, Part.VALIDATION))
    assert not train & validation
    assert 6 <= len(validation) <= 20
    assert plan(Folders(tmp_path / "healthy")) == found


def test_few_persons_all_train_and_too_few_are_refused_with_their_number(tmp_path: Path) -> None:
    found = plan(Folders(eyes(tmp_path / "healthy", 49)))
    assert (found.folds, {*found.parts}, len(found.parts[Part.TRAIN])) == (5, {Part.TRAIN}, 98)
    with pytest.raises(UsageError, match=f"{FEWEST - 1} healthy persons") as refused:
        plan(Folders(eyes(tmp_path / "fewer", FEWEST - 1)))
    assert f"at least {FEWEST}" in str(refused.value)


def test_who_has_a_diseased_image_is_in_the_test_alone(tmp_path: Path) -> None:
    healthy, diseased = eyes(tmp_path / "healthy", 40), tmp_path / "diseased"
    for person in (3, 70, 71):
        write_eye(diseased / f"P{person:03}_left.png", 500 + person, lesion=True)
    found = plan(Folders(healthy, diseased))
    assert found.both == 1
    assert {file.title for file in found.parts[Part.TEST] if file.subject == "P003"} == {
        "healthy/P003_left.png",
        "healthy/P003_right.png",
        "diseased/P003_left.png",
    }
    others = {file.subject for part in found.parts if part is not Part.TEST for file in found.parts[part]}
    assert not others & {file.subject for file in found.parts[Part.TEST]}
    assert sum(file.healthy for file in found.parts[Part.TEST]) > 2


def test_a_copy_counts_once_and_is_never_healthy_and_diseased(tmp_path: Path) -> None:
    healthy = eyes(tmp_path / "healthy", 12)
    shutil.copy(healthy / "P001_left.png", healthy / "P099_left.png")
    found = plan(Folders(healthy))
    assert found.copies == (("healthy/P099_left.png", "healthy/P001_left.png"),)
    assert sum(map(len, found.parts.values())) == 24
    (tmp_path / "diseased").mkdir()
    shutil.copy(healthy / "P002_left.png", tmp_path / "diseased" / "other.png")
    with pytest.raises(UsageError, match=r"diseased/other\.png is the same file as healthy/P002_left\.png"):
        plan(Folders(healthy, tmp_path / "diseased"))


def test_masks_belong_to_the_image_whose_name_theirs_begins_with(tmp_path: Path) -> None:
    healthy, diseased, masks = eyes(tmp_path / "healthy", 20), tmp_path / "diseased", tmp_path / "masks"
    for seed, name in enumerate(("a", "a_1", "b", "ward/only"), start=900):
        write_eye(diseased / f"{name}.png", seed, lesion=True)
    for name in ("a_EX", "a_HE", "kind/a_1", "ward/lesion", "nobody"):
        write_mask(masks / f"{name}.png")
    found = plan(Folders(healthy, diseased, masks))
    its = {file.name: sorted(mask.stem for mask in file.masks or ()) for file in found.parts[Part.TEST] if file.masks}
    assert its == {"a.png": ["a_EX", "a_HE"], "a_1.png": ["a_1"], "ward/only.png": ["lesion"]}
    assert all(file.masks is None for file in found.parts[Part.TEST] if file.healthy)


def test_a_named_collection_becomes_a_domain_with_a_test_set_and_stores(tmp_path: Path) -> None:
    healthy, diseased, masks = eyes(tmp_path / "healthy", 30), tmp_path / "diseased", tmp_path / "masks"
    for seed, name in enumerate(("x", "y", "small", "unmarked"), start=900):
        write_eye(diseased / f"{name}.png", seed, lesion=True)
    for name in ("x", "y"):
        write_mask(masks / f"{name}_mask.png")
    write_mask(masks / "small.png", size=(24, 32))
    (healthy / "P000_left.png").write_bytes((healthy / "P000_left.png").read_bytes()[:200])
    collection = Collection.of("clinic", Folders(healthy, diseased, masks))
    assert (collection.domain.modality, collection.guessed) == (FUNDUS, True)
    done = collection.prepare(tmp_path / "data")
    codes = {failure.input: failure.error.code for failure in done.failures}
    assert codes == {
        "healthy/P000_left.png": InputErrorCode.TRUNCATED,
        "diseased/small.png": InputErrorCode.GEOMETRY,
        "diseased/unmarked.png": InputErrorCode.MISSING,
    }
    assert read_own(tmp_path / "data")[1]["clinic"].has_masks
    train, test = (Store(tmp_path / "data/clinic" / part) for part in ("train", "test"))
    assert (train.facts.folds, train.facts.labels, train.facts.anomalous) == (5, ["own images"], 0)
    assert test.masks is not None
    assert [bool(mask.any()) for mask in test.masks] == [*test.anomalous]
    assert test.anomalous.sum() == 2
    again = Collection.of("clinic", Folders(healthy), "fundus").prepare(tmp_path / "data")
    assert [facts.name for facts in again.stores] == ["clinic/train"]
    assert not (tmp_path / "data/clinic/test").exists()


def test_brains_are_taken_as_they_are_and_heads_among_them_left_out(tmp_path: Path) -> None:
    for number in range(12):
        write_brain(tmp_path / "healthy" / f"brain-{number}_T1w.nii.gz", number)
    write_volume(tmp_path / "healthy" / "brain-05_T1w.nii.gz", head(99), np.diag([9.0, 9.0, 18.0, 1.0]))
    collection = Collection.of("ward", Folders(tmp_path / "healthy"))
    assert (collection.domain.modality, collection.domain.contrast) == (BRAIN_MRI, "T1")
    done = collection.prepare(tmp_path / "data")
    assert [failure.error.code for failure in done.failures] == [InputErrorCode.IMPLAUSIBLE]
    store = Store(tmp_path / "data/ward/train")
    assert (store.facts.subjects, store.facts.channels, str(store.facts.scale)) == (12, 1, "robust")


def test_scans_of_two_contrasts_and_diseased_volumes_without_masks_are_refused(tmp_path: Path) -> None:
    for number in range(12):
        write_brain(tmp_path / "mixed" / f"b{number}_T{1 + number % 2}.nii", number)
        write_brain(tmp_path / "healthy" / f"c{number}.nii", 100 + number)
        write_brain(tmp_path / "healthy" / f"e{number}.nii", 300 + number)
    with pytest.raises(UsageError, match="some scans are in T1 and some in T2"):
        Collection.of("ward", Folders(tmp_path / "mixed"))
    write_brain(tmp_path / "diseased" / "d.nii", 200)
    with pytest.raises(UsageError, match="add --masks"):
        Collection.of("ward", Folders(tmp_path / "healthy", tmp_path / "diseased")).prepare(tmp_path / "data")


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="There is no folder"):
        plan(Folders(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(NotFoundError, match=r"but 1 \.txt"):
        plan(Folders(tmp_path))


@pytest.mark.parametrize(
    ("write", "modality"),
    [(write_eye, FUNDUS), (write_film, CHEST_XRAY), (write_brain, BRAIN_MRI)],
)
def test_the_kind_is_told_where_it_is_plain(
    tmp_path: Path, write: Callable[[Path, int], Path], modality: object
) -> None:
    suffix = ".nii.gz" if write is write_brain else ".png"
    assert modality_of([write(tmp_path / f"{number}{suffix}", number) for number in range(5)]) is modality


def test_the_kind_is_asked_for_where_it_is_not_plain(tmp_path: Path) -> None:
    files = [write_eye(tmp_path / f"{number}.png", number) for number in range(4)]
    files += [write_film(tmp_path / f"{number}.png", number) for number in (5, 6)]
    with pytest.raises(UsageError, match="4 fundus, 2 chest-xray") as refused:
        modality_of(files)
    assert "brain-mri, chest-xray, fundus" in str(refused.value)
    assert "--modality" in str(refused.value)
    Collection.of("x", Folders(eyes(tmp_path / "eyes", 12)), "fundus")
    with pytest.raises(UsageError, match="No kind of images is called 'eye'"):
        Collection.of("x", Folders(tmp_path / "eyes"), "eye")
