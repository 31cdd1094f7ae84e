"""Scans that are no straight brain in a dark background: what is said of them, and what is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import affine_transform

from fake.artefact import write_artefact
from fake.heads import head as whole_head
from fake.inputs import head, write_volume
from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.inputs import Input
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.caution import CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.vocabulary import Scale

Volume = npt.NDArray[np.float32]
SHAPE, SPACING = (48, 56, 40), np.diag([3.0, 3.0, 3.0, 1.0])


@pytest.fixture
def known(tmp_path: Path) -> Config:
    """A model of brain slices."""
    config = read_record(write_artefact(tmp_path / "artefact") / CONFIG, Config)
    return config.model_copy(update={"scale": Scale.ROBUST})


@pytest.fixture
def brain() -> Volume:
    return head(0, SHAPE)


def opened(volume: Volume, config: Config, tmp_path: Path, affine: npt.NDArray[np.float64] = SPACING) -> Case:
    return open_case(Input.of(write_volume(tmp_path / "scan.nii.gz", volume, affine)), config)


def told(case: Case) -> dict[CautionCode, str]:
    """Return what is told of a scan but that it is coarse: these are, to be quick."""
    return {caution.code: caution.message for caution in case.cautions if caution.code is not CautionCode.COARSE}


def refused(volume: Volume, config: Config, tmp_path: Path, affine: npt.NDArray[np.float64] = SPACING) -> InputError:
    with pytest.raises(InputError, match=r"scan\.nii\.gz") as caught:
        opened(volume, config, tmp_path, affine)
    assert caught.value.code is InputErrorCode.IMPLAUSIBLE
    return caught.value


def test_a_straight_brain_is_not_doubted(brain: Volume, known: Config, tmp_path: Path) -> None:
    assert told(opened(brain, known, tmp_path)) == {}


# Values


@pytest.mark.parametrize("place", [(24, 28, 20), (1, 1, 20), (1, 1, 0)], ids=["tissue", "background", "empty slice"])
def test_one_hot_voxel_darkens_nothing(
    place: tuple[int, int, int], brain: Volume, known: Config, tmp_path: Path
) -> None:
    hot = brain.copy()
    hot[place] = 1.5 * brain.max()
    before, after = opened(brain, known, tmp_path), opened(hot, known, tmp_path)
    changed = np.abs(after.images - before.images) > 1e-3
    assert after.positions == before.positions
    assert changed.sum() < 100, "only around the voxel itself"
    assert {*np.argwhere(changed)[:, 0]} <= {before.positions.index(20)}


@pytest.mark.parametrize(("scale", "word"), [(Scale.ROBUST, "cut off"), (Scale.MAXIMUM, "darker")])
def test_values_far_above_the_rest_are_told(
    scale: Scale, word: str, brain: Volume, known: Config, tmp_path: Path
) -> None:
    hot = brain.copy()
    hot[24, 28, 20:22] = 9 * brain.max()
    message = told(opened(hot, known.model_copy(update={"scale": scale}), tmp_path))[CautionCode.OUTLIER]
    assert message.startswith("2 of its voxels are up to 9 times")
    assert word in message


def z_scored(volume: Volume) -> Volume:
    """Return a brain z-scored inside its mask, 0 outside."""
    tissue = volume[volume > 0]
    return np.where(volume > 0, (volume - tissue.mean()) / tissue.std(), 0).astype(np.float32)


@pytest.mark.parametrize("outside", [0, np.nan])
def test_a_brain_that_was_z_scored_is_refused_and_told_why(
    outside: float, brain: Volume, known: Config, tmp_path: Path
) -> None:
    error = refused(np.where(brain > 0, z_scored(brain), np.float32(outside)), known, tmp_path)
    assert "z-scored" in error.problem
    assert "before z-scoring" in error.next_step


def test_z_scores_whose_background_is_lowest_are_as_good_as_the_scan(
    brain: Volume, known: Config, tmp_path: Path
) -> None:
    whole = (brain - brain.mean()) / brain.std()
    inside = np.where(brain > 0, z_scored(brain) - z_scored(brain).min() + 0.01, 0).astype(np.float32)
    plain = opened(brain, known, tmp_path).images
    np.testing.assert_allclose(opened(whole, known, tmp_path).images, plain, atol=1e-5)
    assert told(opened(inside, known, tmp_path)) == {}


def test_the_fuzz_of_resampling_is_background(brain: Volume, known: Config, tmp_path: Path) -> None:
    fuzz = np.random.default_rng(0).normal(0, 0.01 * brain.max(), brain.shape).astype(np.float32)
    fuzz[[0, -1]] = 0
    assert told(opened(np.where(brain > 0, brain, fuzz), known, tmp_path)) == {}


# Skulls


def test_a_head_with_its_skull_is_told_by_what_it_shows(known: Config, tmp_path: Path) -> None:
    someone = whole_head(2)
    message = told(opened(someone.data, known, tmp_path, someone.affine))[CautionCode.SKULL]
    assert "--prepare" in message
    alone = np.where(someone.brain, someone.data, 0)
    assert told(opened(alone, known, tmp_path, someone.affine)) == {}


def test_noise_around_a_brain_is_told_as_well(brain: Volume, known: Config, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(1, 5, brain.shape).astype(np.float32)
    assert CautionCode.SKULL in told(opened(brain + noise, known, tmp_path, np.diag([4.0, 4, 4, 1])))


@pytest.mark.real
def test_real_heads_are_told_and_real_brains_are_not(open_images: Path, known: Config) -> None:
    for path in sorted((open_images / "ixi" / "IXI-T1").glob("*.nii.gz"))[::50]:
        assert told(open_case(Input.of(path), known)).keys() == {CautionCode.SKULL}
    for path in sorted((open_images / "ms").glob("*/T?.nii.gz")):
        assert told(open_case(Input.of(path), known)) == {}


# Places


def turned(degrees: float) -> npt.NDArray[np.float64]:
    """Return the grid of a head that nods."""
    angle, affine = np.radians(degrees), SPACING.copy()
    affine[1:3, 1:3] = 3 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return affine


@pytest.mark.parametrize("degrees", [0, 5, 9.5])
def test_a_small_tilt_is_usual(degrees: float, brain: Volume, known: Config, tmp_path: Path) -> None:
    assert told(opened(brain, known, tmp_path, turned(degrees))) == {}


@pytest.mark.parametrize("degrees", [10, 20, -20, 29.5])
def test_a_tilt_is_told_with_a_remedy(degrees: float, brain: Volume, known: Config, tmp_path: Path) -> None:
    message = told(opened(brain, known, tmp_path, turned(degrees)))[CautionCode.TILTED]
    assert f"by {abs(degrees):.0f} degrees" in message
    assert "--prepare" in message


@pytest.mark.parametrize("degrees", [30, 44, 46, -35])
def test_slices_that_are_not_axial_are_refused(degrees: float, brain: Volume, known: Config, tmp_path: Path) -> None:
    assert "--prepare" in refused(brain, known, tmp_path, turned(degrees)).next_step


@pytest.mark.parametrize("degrees", [10, 20, 30, 44, 46])
def test_a_brain_that_was_scanned_askew_is_told_or_refused(
    degrees: float, brain: Volume, known: Config, tmp_path: Path
) -> None:
    affine = turned(degrees)
    to_straight = np.linalg.inv(SPACING) @ affine  # the same brain, seen on the turned grid
    askew = affine_transform(brain, to_straight[:3, :3], to_straight[:3, 3], order=1).astype(np.float32)
    if degrees < 30:
        assert CautionCode.TILTED in told(opened(askew, known, tmp_path, affine))
    else:
        refused(askew, known, tmp_path, affine)


@pytest.mark.parametrize("millimetres", [1, 1.875, 3])
def test_rounding_of_a_header_hides_no_tilt(millimetres: float, brain: Volume, known: Config, tmp_path: Path) -> None:
    finer = np.diag([millimetres / 3] * 3 + [1])
    refused(brain, known, tmp_path, turned(30) @ finer)
    assert CautionCode.TILTED in told(opened(brain, known, tmp_path, turned(10) @ finer))


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_a_wrong_unit_is_told_by_the_size_that_it_makes(
    unit: str, brain: Volume, known: Config, tmp_path: Path
) -> None:
    image = nib.Nifti1Image(brain, SPACING)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "scan.nii.gz")
    with pytest.raises(InputError, match="xyzt_units") as caught:
        open_case(Input.of(tmp_path / "scan.nii.gz"), known)
    assert caught.value.code is InputErrorCode.IMPLAUSIBLE


# Voxels


@pytest.mark.parametrize(("side", "said"), [(127, True), (128, False)])
def test_a_scan_that_must_be_enlarged_is_told(side: int, said: bool, known: Config, tmp_path: Path) -> None:
    affine = np.diag([200 / side, 200 / side, 5.0, 1.0])
    case = opened(head(0, (side, side, 4)), known, tmp_path, affine)
    assert [caution.code for caution in case.cautions] == [CautionCode.COARSE] * said
    assert all(f"finds {side} x {side}" in caution.message for caution in case.cautions)


def test_a_scan_of_narrow_voxels_is_measured_as_the_square_that_it_fills(known: Config, tmp_path: Path) -> None:
    case = opened(head(0, (96, 160, 4)), known, tmp_path, np.diag([2.0, 1.2, 5.0, 1.0]))
    assert [caution.code for caution in case.cautions] == [CautionCode.COARSE], "96 voxels of 2 mm, 160 of 1.2 mm"
