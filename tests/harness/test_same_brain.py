"""One brain, stored in many ways: the same score to 1e-5, and a map that lies on it wherever its file says it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from fake.inputs import head, rows_of
from upd_harness.scoring.folder import score_folder
from upd_zoo.runtime.model import Array, Model

Volume = npt.NDArray[Any]
Row = dict[str, Any]

SHAPE = (40, 48, 30)
AFFINE = np.array([[3.0, 0, 0, -57], [0, 3, 0, -80], [0, 0, 4, -45], [0, 0, 0, 1]])
BRAIN = np.round(head(3, SHAPE))
"""In whole numbers, which every type holds."""


def image(data: Volume = BRAIN, kind: Any = nib.Nifti1Image, codes: tuple[int, int] = (1, 1)) -> Any:
    """Return the brain with so many forms set."""
    made = kind(data, AFFINE)
    made.header.set_sform(AFFINE, codes[0])
    made.header.set_qform(AFFINE, codes[1])
    made.header.set_xyzt_units("mm")
    return made


def unit(name: str, millimetres: float) -> Any:
    """Return the brain in another unit of length."""
    affine = np.diag([*[1 / millimetres] * 3, 1]) @ AFFINE
    made = nib.Nifti1Image(BRAIN, affine)
    made.header.set_sform(affine, 4)
    made.header.set_qform(affine, 2)
    made.header.set_xyzt_units(name, "sec")
    return made


def turned(axes: str) -> Any:
    """Return the brain with its axes in another order and direction; no voxel changes its place."""
    return image().as_reoriented(ornt_transform(io_orientation(AFFINE), axcodes2ornt(tuple(axes))))


def big_endian() -> Any:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    return nib.Nifti1Image(BRAIN, AFFINE, header)


def with_slope() -> Any:
    """Return the brain as whole numbers of 16 bits, half as large and 20 too low."""
    made = image(BRAIN.astype(np.int16))
    made.header.set_slope_inter(0.5, -20)
    return made


def forms_apart() -> Any:
    """Return the brain whose qform lies elsewhere, turned by 20 degrees."""
    made, angle = image(codes=(4, 4)), np.radians(20)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    made.header.set_qform(rotation @ AFFINE + np.array([[0, 0, 0, 12]] * 3 + [[0] * 4]), 4)
    return made


WAYS: dict[str, Callable[[], Any]] = {
    "plain.nii": image,
    "packed.nii.gz": image,
    "nifti-2.nii.gz": lambda: image(kind=nib.Nifti2Image),
    "big-endian.nii": big_endian,
    "int16.nii.gz": lambda: image(BRAIN.astype(np.int16)),
    "uint16.nii.gz": lambda: image(BRAIN.astype(np.uint16)),
    "uint8.nii.gz": lambda: image(BRAIN.astype(np.uint8)),
    "float64.nii.gz": lambda: image(BRAIN.astype(np.float64)),
    "slope.nii.gz": with_slope,
    "louder.nii.gz": lambda: image(BRAIN * 1000),
    "lower.nii.gz": lambda: image(BRAIN - 1024),
    "las.nii.gz": lambda: turned("LAS"),
    "asl.nii.gz": lambda: turned("ASL"),
    "psr.nii.gz": lambda: turned("PSR"),
    "ipl.nii.gz": lambda: turned("IPL"),
    "four-d.nii.gz": lambda: image(BRAIN[..., None]),
    "sform.nii.gz": lambda: image(codes=(2, 0)),
    "qform.nii.gz": lambda: image(codes=(0, 1)),
    "metre.nii.gz": lambda: unit("meter", 1000),
    "micron.nii.gz": lambda: unit("micron", 0.001),
    "forms.nii.gz": forms_apart,
    "nan.nii.gz": lambda: image(np.where(BRAIN > 0, BRAIN, np.float32(np.nan))),
}
TOLD = {"forms.nii.gz": {"forms"}, "nan.nii.gz": {"not-finite"}}


def stored(folder: Path) -> Path:
    """Write the brain in every way."""
    folder.mkdir()
    for name, make in WAYS.items():
        nib.save(make(), folder / name)
    slope = nib.load(folder / "slope.nii.gz")
    assert (float(slope.dataobj.slope), float(slope.dataobj.inter)) == (0.5, -20)
    return folder


@pytest.fixture(scope="module")
def scored(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Row]]:
    """What a model makes of the brain in every way."""
    folder = tmp_path_factory.mktemp("same")
    score_folder(model, stored(folder / "in"), folder / "out")
    return folder, {row["input"]: row for row in rows_of(folder / "out")}


def canonical(path: Path) -> npt.NDArray[Any]:
    """Return a volume with its axes to the right, the front and the top."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj, np.float64).squeeze()


@pytest.mark.parametrize("name", WAYS)
def test_the_score_is_the_same(name: str, scored: tuple[Path, dict[str, Row]]) -> None:
    row, plain = scored[1][name], scored[1]["plain.nii"]
    assert row["status"] == "ok"
    assert row["score"] == pytest.approx(plain["score"], abs=1e-5)
    assert row["slice_scores"] == pytest.approx(plain["slice_scores"], abs=1e-5, nan_ok=True)
    assert row["percentile"] == pytest.approx(plain["percentile"], abs=1e-2)
    assert row["geometry"]["spacing_mm"] == pytest.approx(sorted_like(row, plain), abs=1e-4)
    told, known = ({warning["code"] for warning in each["warnings"]} for each in (row, plain))
    assert told == known | TOLD.get(name, set())


def sorted_like(row: Row, plain: Row) -> list[float]:
    """Return the sizes of the plain scan's voxels in the order of another's axes."""
    sizes = dict(zip("RAS", plain["geometry"]["spacing_mm"], strict=True))
    same = {"L": "R", "P": "A", "I": "S"}
    return [sizes[same.get(axis, axis)] for axis in row["geometry"]["orientation"]]


@pytest.mark.parametrize("name", WAYS)
def test_the_map_is_the_same_and_lies_where_the_scan_lies(name: str, scored: tuple[Path, dict[str, Row]]) -> None:
    folder, _ = scored
    scan, written = nib.load(folder / "in" / name), nib.load(folder / "out" / "maps" / name)
    np.testing.assert_allclose(
        canonical(folder / "out" / "maps" / name), canonical(folder / "out" / "maps" / "plain.nii"), atol=1e-5
    )
    assert written.shape == scan.shape[:3]
    np.testing.assert_allclose(written.affine, scan.affine, rtol=1e-5, atol=1e-4 * np.abs(scan.affine).max())
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[field] == scan.header[field], field
    for form in ("get_sform", "get_qform"):
        np.testing.assert_allclose(getattr(written, form)(), getattr(scan, form)(), rtol=1e-4, err_msg=form)


@pytest.mark.parametrize("name", sorted(WAYS.keys() - {"nifti-2.nii.gz"}))  # which ITK does not read
def test_another_library_sees_both_at_one_place(name: str, scored: tuple[Path, dict[str, Row]]) -> None:
    sitk: Any = pytest.importorskip("SimpleITK")
    scan, written = (sitk.ReadImage(scored[0] / place / name) for place in ("in", "out/maps"))
    for corner in ((0.0, 0.0, 0.0), tuple(size - 1.0 for size in written.GetSize())):
        index = (*corner, *[0.0] * (scan.GetDimension() - 3))
        there = np.array(scan.TransformContinuousIndexToPhysicalPoint(index))[:3]
        np.testing.assert_allclose(written.TransformContinuousIndexToPhysicalPoint(corner), there, atol=1e-3)


def test_the_map_lies_on_the_brain(model: Model, tmp_path: Path) -> None:
    def predict(images: Array) -> tuple[Array, Array]:
        return images, images.max(axis=(1, 2, 3))

    mirror = replace(model, network=predict)
    score_folder(mirror, stored(tmp_path / "in"), tmp_path / "out")
    for name in WAYS:
        seen = canonical(tmp_path / "out" / "maps" / name)
        assert np.corrcoef(seen.ravel(), BRAIN.ravel())[0, 1] > 0.95, name
