"""Whose images are they, by the names of files that nobody arranged for us."""

import pytest

from upd_zoo.sources.grouping import By, grouped

_EYES = ("left", "right")


@pytest.mark.parametrize(
    ("names", "by", "example"),
    [
        ([f"sub-{n:02}/anat/sub-{n:02}_ses-{s}_T1w.nii.gz" for n in range(12) for s in "ab"], By.BIDS, "sub-00"),
        ([f"sub-{n:02}_{eye}.png" for n in range(12) for eye in _EYES], By.BIDS, "sub-00"),
        ([f"p{n}/{eye}.png" for n in range(12) for eye in _EYES], By.FOLDER, "p0"),
        ([f"P{n}_{eye}.png" for n in range(12) for eye in _EYES], By.BEGINNING, "P0"),
        ([f"clinic-P{n} {eye}.JPG" for n in range(12) for eye in _EYES], By.BEGINNING, "clinic_P0"),
        ([f"IMG_{n:04}.jpg" for n in range(40)], By.FILE, "IMG_0000"),
        ([f"{eye}/{n}.png" for n in range(40) for eye in _EYES], By.FILE, "left/0"),
        ([f"{eye}_{n}.png" for n in range(40) for eye in _EYES], By.FILE, "left_0"),
        ([*(f"eye {n}.png" for n in range(30)), *(f"{n}.png" for n in range(10))], By.FILE, "eye 0"),
        (["only.nii.gz"], By.FILE, "only"),
    ],
)
def test_persons_are_told_by_the_customs_that_make_enough_of_them(names: list[str], by: By, example: str) -> None:
    found = grouped(names)
    assert (found.by, found.subjects[names[0]]) == (by, example)
    assert found.subjects.keys() == {*names}
    if by is not By.FILE:
        assert len({*found.subjects.values()}) == 12


def test_files_in_different_folders_are_different_persons_where_each_stands_for_one() -> None:
    found = grouped(["a/1.png", "b/1.png"])
    assert len({*found.subjects.values()}) == 2
