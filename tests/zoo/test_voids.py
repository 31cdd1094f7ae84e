"""Voids: NaN around a brain is background, and NaN or infinity inside of it a refusal with a reason."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from fake.inputs import head, write_volume
from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import read_volume
from upd_zoo.images.voids import filled

Array = npt.NDArray[np.float32]


@pytest.fixture
def brain() -> Array:
    return head(1)


def test_nan_around_a_brain_is_background_with_a_caution(tmp_path: Path, brain: Array) -> None:
    masked = np.where(brain > 0, brain, np.nan)
    volume = read_volume(write_volume(tmp_path / "masked.nii.gz", masked))
    np.testing.assert_array_equal(volume.data, brain)
    (caution,) = volume.cautions
    assert caution.code is CautionCode.NOT_FINITE
    assert f"{100 * (brain == 0).mean():.2g} %" in caution.message


def test_nan_in_a_part_of_the_background_is_background(brain: Array) -> None:
    masked = brain.copy()
    masked[2:4, 2:4, 2:4] = np.nan
    assert (brain[2:4, 2:4, 2:4] == 0).all()
    np.testing.assert_array_equal(filled(masked)[0], brain)


def damaged(brain: Array, what: str) -> Array:
    """Return a brain of which something inside is no number."""
    spoilt = np.where(brain > 0, brain, np.nan)
    if what == "a voxel":
        spoilt[12, 14, 6] = np.nan
    if what == "a plane":
        spoilt[:, :, 6] = np.nan
    if what == "an upright plane":
        spoilt[12] = np.nan
    if what == "infinite":
        spoilt[0, 0, 0] = np.inf
    if what == "less than nothing":
        spoilt[12, 14, 6] = -np.inf
    return spoilt


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("a voxel", "1 voxels are NaN inside of the tissue"),
        ("a plane", "NaN inside of the tissue"),
        ("an upright plane", "NaN inside of the tissue"),
        ("infinite", "infinite"),
        ("less than nothing", "infinite"),
    ],
)
def test_what_is_no_number_inside_is_refused_with_a_next_step(brain: Array, what: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        filled(damaged(brain, what))
    assert caught.value.code is InputErrorCode.NOT_FINITE
    assert caught.value.next_step


def test_inside_is_what_a_flood_from_the_border_does_not_reach() -> None:
    generator = np.random.default_rng(0)
    for _ in range(40):
        wall = ndimage.gaussian_filter(generator.normal(size=(14, 12, 10)), 1) > 0.02
        labels = np.pad(~wall, 1, constant_values=True)
        regions, _ = ndimage.label(labels)
        enclosed = int(((regions != regions[0, 0, 0]) & labels).sum())
        data = np.where(wall, np.float32(1), np.nan).astype(np.float32)
        if enclosed:
            with pytest.raises(InputError, match=f"{enclosed} voxels are NaN"):
                filled(data)
        else:
            assert not filled(data)[0][~wall].any()


def test_a_mask_may_be_nan_outside_too(tmp_path: Path) -> None:
    lesion = np.full((9, 9, 9), np.nan, np.float32)
    lesion[3:5, 3:5, 3:5] = 1
    assert read_volume(write_volume(tmp_path / "mask.nii.gz", lesion)).data.sum() == 8
