"""Promises of the DDR reader, on look-alikes with the true layout, one of them with the study's counts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake.ddr import (
    HEIGHT,
    KINDS,
    MASKS,
    SPLITS,
    WIDTH,
    graded_name,
    lesion,
    outlined_name,
    write_ddr,
    write_mask,
    write_tables,
)
from upd_zoo.errors import InputError, InputErrorCode, NotFoundError
from upd_zoo.images.framing import frame_mask
from upd_zoo.sources.ddr import DDR
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Inputs, Request
from upd_zoo.stores.places import Part, StoreName, store_path
from upd_zoo.stores.store import Sample, Store
from upd_zoo.vocabulary import DOMAINS, Framing, Protocol

DOMAIN = DOMAINS["ddr"]
STUDY, SOUND = Protocol.STUDY, Protocol.SOUND
GRADES = dict.fromkeys(SPLITS, (0,) * 30 + (1, 2, 3, 4, 5))
OUTLINED = {"train": (("EX", "HE"), ("MA",)), "valid": (("SE", "MA"),), "test": (("EX",),)}
HEALTHY = [number for number in range(105) if number % 35 < 30]


def listed(root: Path, part: Part, protocol: Protocol) -> Inputs:
    return DDR.opened(Request(root))(StoreName("ddr", part, protocol))


def outlined(root: Path, number: int, protocol: Protocol = SOUND) -> Sample:
    reads = listed(root, Part.TEST, protocol)
    (read,) = (read for name, read in reads.items() if name.endswith(f"/image/{outlined_name(number)}.jpg"))
    return next(iter(read()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ddr(tmp_path_factory.mktemp("ddr"), GRADES, OUTLINED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lists of 6266 healthy photographs, and 757 with masks, without a pixel."""
    root = tmp_path_factory.mktemp("whole")
    write_tables(root, {"train": (0,) * 3000 + (2,) * 10, "valid": (0,) * 1266 + (5,) * 10, "test": (0,) * 2000})
    for number in range(757):
        split = SPLITS[number % 3]
        (root / "lesion_segmentation" / split / "image" / f"{outlined_name(number)}.jpg").touch()
    return root


# The study's split


def test_the_counts_of_the_study_come_out(whole: Path) -> None:
    stores = {part: listed(whole, part, STUDY) for part in Part}
    assert [len(store) for store in stores.values()] == [5233, 276, 1340]
    assert sum(name.startswith("DR_grading") for name in stores[Part.TEST]) == 659
    assert len({name for store in stores.values() for name in store}) == 5233 + 276 + 1340


def test_places_are_those_of_the_study(whole: Path) -> None:
    lists = (whole / "DR_grading" / f"{split}.txt" for split in SPLITS)
    rows = [line.split() for table in lists for line in table.read_text().splitlines()]
    healthy = sorted(Path(name).stem for name, grade in rows if grade == "0")
    train, validation, test = ([Path(name).stem for name in listed(whole, part, STUDY)] for part in Part)
    assert train == healthy[757 : 757 + 5233]
    assert validation == healthy[757 + 5233 :]
    assert test == [*healthy[:659], *(outlined_name(number) for number in range(681))]


def test_a_lesion_that_vanishes_makes_a_photograph_normal_in_the_study_alone(tmp_path: Path) -> None:
    root = write_ddr(tmp_path, {"train": (0,)}, {"train": ((), ("EX",)) * 5})
    assert [outlined(root, number, STUDY).anomalous for number in range(4)] == [False, True, False, True]
    assert [outlined(root, number, SOUND).anomalous for number in range(4)] == [True] * 4


def test_masks_of_the_study_are_sampled_at_the_nearest_pixel(tmp_path: Path) -> None:
    root = write_ddr(tmp_path, {"train": (0,)}, {"train": (("EX", "SE"),) * 5})
    sampled = lesion("EX") | lesion("SE")
    square = Image.fromarray(sampled[:, 20:140]).resize((128, 128), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(outlined(root, 0, STUDY).mask, np.asarray(square))


def test_the_study_fills_its_own_stores(tmp_path: Path) -> None:
    root = write_ddr(tmp_path / "ddr", {"train": (0,) * 777}, OUTLINED)
    done = prepare(DOMAIN, tmp_path / "data", Request(root), protocol=STUDY)
    assert [(f.name, f.images, f.anomalous) for f in done.stores] == [
        ("ddr/train-study", 19, 0),
        ("ddr/validation-study", 1, 0),
        ("ddr/test-study", 659 + 3, 3),
    ]


# The sound split


def test_healthy_photographs_are_divided_by_name_and_all_with_masks_are_in_the_test(root: Path) -> None:
    stores = [{Path(name).stem for name in listed(root, part, SOUND)} for part in Part]
    assert sorted(name for store in stores for name in store) == sorted(
        [*(graded_name(number) for number in HEALTHY), *(outlined_name(number) for number in range(4))]
    )
    assert {outlined_name(number) for number in range(4)} < stores[-1]
    assert all(stores[:2])


def test_other_grades_and_what_cannot_be_graded_are_not_used(root: Path) -> None:
    unused = {graded_name(number) for number in range(105)} - {graded_name(number) for number in HEALTHY}
    for protocol in Protocol:
        assert not unused & {Path(name).stem for part in Part for name in listed(root, part, protocol)}


def test_a_healthy_photograph_that_has_masks_too_is_only_diseased(tmp_path: Path) -> None:
    root = write_ddr(tmp_path, GRADES, OUTLINED)
    for folder, suffix in (("image", "jpg"), *((f"label/{kind}", "tif") for kind in KINDS)):
        path = root / "lesion_segmentation/train" / folder / f"{outlined_name(0)}.{suffix}"
        path.rename(path.with_name(f"{graded_name(0)}.{suffix}"))
    names = [name for part in Part for name in listed(root, part, SOUND) if graded_name(0) in name]
    assert names == [f"lesion_segmentation/train/image/{graded_name(0)}.jpg"]


def test_the_four_masks_are_one(root: Path, tmp_path: Path) -> None:
    unions = [lesion("EX") | lesion("HE"), lesion("MA"), lesion("SE") | lesion("MA"), lesion("EX")]
    prepare(DOMAIN, tmp_path, Request(root))
    store = Store(store_path(tmp_path, "ddr", "test"))
    assert store.masks is not None
    expected = [frame_mask(union, Framing.CENTRE_CROP, 128) for union in unions]
    np.testing.assert_array_equal(store.masks[store.anomalous], expected)
    assert store.anomalous.sum() == 4
    assert not store.masks[~store.anomalous].any()


def test_the_masks_of_the_validation_split_may_have_been_renamed(tmp_path: Path, root: Path) -> None:
    renamed = write_ddr(tmp_path, GRADES, OUTLINED)
    folder = renamed / "lesion_segmentation/valid"
    (folder / MASKS["valid"]).rename(folder / "label")
    np.testing.assert_array_equal(outlined(renamed, 2).mask, outlined(root, 2).mask)


# Damage


def test_what_is_damaged_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = write_ddr(tmp_path / "ddr", GRADES, OUTLINED)
    lesions = root / "lesion_segmentation"
    first, *others = listed(root, Part.TRAIN, SOUND)
    (root / first).write_bytes((root / first).read_bytes()[:-100])
    (lesions / "train/label/SE" / f"{outlined_name(0)}.tif").unlink()
    write_mask(lesions / "train/label/MA" / f"{outlined_name(1)}.tif", np.zeros((WIDTH, HEIGHT), np.bool_))
    grey = np.tile(np.arange(WIDTH, dtype=np.uint8), (HEIGHT, 1))
    Image.fromarray(grey).save(lesions / "test/image" / f"{outlined_name(3)}.jpg")
    done = prepare(DOMAIN, tmp_path / "data", Request(root))
    assert {Path(failure.input).stem: failure.error.code for failure in done.failures} == {
        Path(first).stem: InputErrorCode.TRUNCATED,
        outlined_name(0): InputErrorCode.MISSING,
        outlined_name(1): InputErrorCode.GEOMETRY,
        outlined_name(3): InputErrorCode.CHANNELS,
    }
    assert any("has 3 masks" in str(failure.error) for failure in done.failures)
    assert done.stores[0].images == len(others)
    assert done.stores[2].anomalous == 1


def test_a_name_that_leaves_the_folder_is_refused_alone(tmp_path: Path) -> None:
    root = write_ddr(tmp_path / "ddr", GRADES, OUTLINED)
    table = root / "DR_grading/train.txt"
    table.write_text("../../../secret.jpg 0\n" * 2 + table.read_text())
    failures = prepare(DOMAIN, tmp_path / "data", Request(root)).failures
    assert [failure.error.code for failure in failures] == [InputErrorCode.UNREADABLE]


@pytest.mark.parametrize("line", ["a.jpg 6", "a.jpg", "0", "a.jpg,0", "\ufffd\ufffd"])
def test_a_line_without_name_or_grade_is_refused(tmp_path: Path, line: str) -> None:
    root = write_ddr(tmp_path, GRADES, OUTLINED)
    (root / "DR_grading/valid.txt").write_text(f"b.jpg 0\n\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"'valid\.txt' has the line") as caught:
        listed(root, Part.TRAIN, SOUND)
    assert caught.value.code is InputErrorCode.CORRUPT


@pytest.mark.parametrize("part", ["DR_grading/valid.txt", "DR_grading/test", "lesion_segmentation/valid/image"])
def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path, part: str) -> None:
    root = write_ddr(tmp_path / "ddr", GRADES, OUTLINED)
    (root / part).rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="nkicsl") as caught:
        listed(root, Part.TRAIN, SOUND)
    assert f"it lacks '{part}'" in str(caught.value)


def test_a_part_into_which_nobody_falls_is_named(tmp_path: Path) -> None:
    root = write_ddr(tmp_path / "ddr", {"train": (0,)}, {})
    with pytest.raises(NotFoundError, match=r"DDR falls into ddr/(train|validation).*take more of the data set"):
        prepare(DOMAIN, tmp_path / "data", Request(root))
