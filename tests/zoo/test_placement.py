"""Placement: where a NIfTI header puts its voxels, in whatever unit, and what it says twice."""

import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.axial import tilt_of
from upd_zoo.images.gate import read_volume
from upd_zoo.images.placement import Placement

Matrix = npt.NDArray[np.float64]
SHAPE = (9, 8, 7)
STRAIGHT = np.array([[-2.0, 0, 0, 9], [0, 2, 0, -7], [0, 0, 3, 5], [0, 0, 0, 1]])
UNITS = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}


def turned(degrees: float, axis: int = 0) -> Matrix:
    """Return a rotation about one of the patient's axes, (4, 4)."""
    first, second = (each for each in range(3) if each != axis)
    matrix, angle = np.eye(4), np.radians(degrees)
    matrix[first, [first, second]] = np.cos(angle), -np.sin(angle)
    matrix[second, [first, second]] = np.sin(angle), np.cos(angle)
    return matrix


def write(path: Path, sform: Matrix, qform: Matrix, codes: tuple[int, int] = (1, 1), unit: str = "mm") -> Path:
    """Write a volume whose header says so."""
    image = nib.Nifti1Image(np.random.default_rng(0).uniform(0, 9, SHAPE).astype(np.float32), None)
    image.header.set_sform(sform, codes[0])
    image.header.set_qform(qform, codes[1])
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("codes", [(4, 4), (2, 0), (0, 1)])
@pytest.mark.parametrize("unit", UNITS)
def test_an_affine_is_in_millimetres_whatever_the_unit(tmp_path: Path, unit: str, codes: tuple[int, int]) -> None:
    stored = np.diag([*[1 / UNITS[unit]] * 3, 1]) @ STRAIGHT
    volume = read_volume(write(tmp_path / "scan.nii", stored, stored, codes, unit))
    np.testing.assert_allclose(volume.affine, STRAIGHT, rtol=1e-5)
    assert volume.cautions == ()


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii", STRAIGHT, STRAIGHT)
    content = bytearray(path.read_bytes())
    content[123] = 5
    path.write_bytes(content)
    with pytest.raises(InputError, match="unknown unit of length, 5") as caught:
        read_volume(path)
    assert caught.value.code is InputErrorCode.GEOMETRY


SHIFTED = STRAIGHT + np.array([[0, 0, 0, 12.0]] + [[0.0] * 4] * 3)
MIRRORED = STRAIGHT @ np.diag([-1.0, 1, 1, 1]) + np.array([[0, 0, 0, -16.0]] + [[0.0] * 4] * 3)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("other", "told"),
    [
        (STRAIGHT, None),
        (STRAIGHT + 1e-3, None),
        (SHIFTED, "up to 12 mm apart"),
        (turned(20) @ STRAIGHT, "up to .* mm apart"),
        (MIRRORED, "left and right"),
    ],
)
def test_forms_that_disagree_are_told(tmp_path: Path, other: Matrix, told: str | None, unit: str) -> None:
    unscaled = np.diag([*[1 / UNITS[unit]] * 3, 1])
    volume = read_volume(write(tmp_path / "scan.nii", unscaled @ STRAIGHT, unscaled @ other, (4, 4), unit))
    np.testing.assert_allclose(volume.affine, STRAIGHT, rtol=1e-5)
    assert [caution.code for caution in volume.cautions] == [CautionCode.FORMS] * (told is not None)
    for caution in volume.cautions:
        assert re.search(told or "", caution.message)


def test_forms_of_which_one_is_not_set_do_not_disagree(tmp_path: Path) -> None:
    for codes in ((1, 0), (0, 1)):
        assert read_volume(write(tmp_path / "scan.nii", STRAIGHT, SHIFTED, codes)).cautions == ()


def test_a_qform_that_is_no_rotation_is_told_where_the_sform_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.nii", STRAIGHT, STRAIGHT)
    header = nib.Nifti1Header(path.read_bytes()[:348], check=False)
    header["quatern_b"] = 3
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    (caution,) = read_volume(path).cautions
    assert caution.code is CautionCode.FORMS
    assert "no rotation" in caution.message


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_a_header_says_again_what_another_said(kind: Any, order: str) -> None:
    first = kind(endianness=order)
    first.set_sform(turned(12) @ STRAIGHT, 4)
    first.set_qform(STRAIGHT, 2)
    first.set_xyzt_units("micron", "sec")
    again = nib.Nifti1Header()
    Placement.of(first).put(again)
    np.testing.assert_allclose(again.get_sform(), first.get_sform(), atol=1e-5)
    np.testing.assert_allclose(again.get_qform(), first.get_qform(), atol=1e-5)
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert again[field] == first[field]


def test_what_has_no_file_is_placed_in_both_forms() -> None:
    header = nib.Nifti1Header()
    Placement.in_millimetres(STRAIGHT).put(header)
    for form, code in (header.get_sform(coded=True), header.get_qform(coded=True)):
        np.testing.assert_allclose(form, STRAIGHT, atol=1e-5)
        assert code == 1
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("degrees", "tilt"), [(0, 0), (10, 10), (-20, 20), (44, 44), (46, 44), (90, 0), (170, 10)])
def test_a_tilt_is_what_is_left_to_the_nearest_axes(degrees: float, tilt: float, axis: int) -> None:
    assert tilt_of(turned(degrees, axis) @ STRAIGHT) == pytest.approx(tilt, abs=1e-4)
