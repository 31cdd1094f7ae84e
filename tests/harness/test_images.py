"""Images in and maps out: what the model sees, and that every map lies where its image lies."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from fake.inputs import head, write_volume
from upd_harness.scoring.cases import open_case
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.search import list_inputs
from upd_harness.scoring.volumes import VolumeCase
from upd_zoo.artefact.records import Config, PixelConvention
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.gate import read_volume
from upd_zoo.runtime.model import Model
from upd_zoo.stores.slices import slices_of
from upd_zoo.stores.store import Store, write_store
from upd_zoo.vocabulary import SCALES, Protocol, Side

Affine = npt.NDArray[np.float64]


def volume_case(path: Path, config: Config) -> VolumeCase:
    case = open_case(Input.of(path), config)
    assert isinstance(case, VolumeCase)
    return case


def refusal(path: Path, config: Config) -> InputError:
    with pytest.raises(InputError) as caught:
        open_case(Input.of(path), config)
    assert path.name in str(caught.value)
    return caught.value


def test_a_dangling_link_says_that_nothing_is_there(tmp_path: Path, brain: Config) -> None:
    (tmp_path / "gone.nii.gz").symlink_to(tmp_path / "nowhere")
    assert refusal(tmp_path / "gone.nii.gz", brain).code is InputErrorCode.MISSING


# Volumes


def affine_of(axes: str, sizes: tuple[float, float, float], turn: float = 0.0) -> Affine:
    """Return voxel to RAS+ mm: axes towards these directions, sizes in mm, turned about the patient's long axis."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (direction, size) in enumerate(zip(axes, sizes, strict=True)):
        row = next(index for index, pair in enumerate(("LR", "PA", "IS")) if direction in pair)
        affine[row, axis] = size if direction in "RAS" else -size
    turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine[:3, :3] = turned @ affine[:3, :3]
    affine[:3, 3] = -90.5, 126, -72.25
    return affine


@pytest.mark.parametrize(
    ("axes", "sizes", "shape", "turn", "side"),
    [
        ("RAS", (1, 1, 1), (40, 48, 20), 0.0, 128),
        ("LPS", (0.9, 0.9, 5), (150, 180, 12), 0.0, 128),
        ("PIR", (1.5, 0.7, 3), (60, 70, 40), 0.0, 128),
        ("ASL", (0.5, 4, 1.2), (200, 16, 90), 0.0, 128),
        ("SRA", (6, 1, 2), (14, 120, 70), 0.0, 128),
        ("IPL", (2, 0.8, 2.5), (30, 160, 50), 0.3, 128),
        ("LPS", (0.9, 0.9, 5), (150, 180, 12), 0.0, 192),
        ("RAS", (1, 1, 1), (40, 48, 20), 0.0, 256),
    ],
)
def test_a_bright_blob_comes_back_at_its_place(
    tmp_path: Path,
    brain: Config,
    axes: str,
    sizes: tuple[float, float, float],
    shape: tuple[int, int, int],
    turn: float,
    side: Side,
) -> None:
    place = tuple(round(part * length) for part, length in zip((0.35, 0.55, 0.6), shape, strict=True))
    volume = head(0, shape) * 0.2
    near = [abs(np.arange(length) - centre) * size for length, centre, size in zip(shape, place, sizes, strict=True)]
    volume[np.ix_(*(distance <= 6 for distance in near))] = 1000
    affine = affine_of(axes, sizes, turn)
    path = write_volume(tmp_path / "scan.nii.gz", volume, affine)

    convention = PixelConvention(channels=1, height=side, width=side)
    case = volume_case(path, brain.model_copy(update={"input": convention}))
    assert case.images.shape[1:] == (1, side, side)
    case.write(tmp_path, Input.of(path), case.images[:, 0], (0, 1))

    written = nib.load(tmp_path / "maps" / "scan.nii.gz")
    assert written.shape == volume.shape
    assert nib.aff2axcodes(written.affine) == nib.aff2axcodes(affine)
    np.testing.assert_allclose(written.affine, affine, atol=1e-4)
    np.testing.assert_allclose(written.get_qform(), affine, atol=1e-3)
    restored = np.asarray(written.dataobj)
    found = np.argwhere(restored > 0.6).mean(axis=0)
    assert np.abs(found - place).max() <= 1
    assert np.abs(np.array(np.unravel_index(restored.argmax(), shape)) - place).max() <= max(2, 6 / min(sizes))


def test_slices_run_from_feet_to_head_with_anterior_at_the_top_and_right_at_the_left(
    tmp_path: Path, brain: Config
) -> None:
    volume = head(0, (40, 40, 10)) * 0.1
    volume[34:38, 18:22, 5] = 500  # right
    volume[18:22, 34:38, 7] = 500  # anterior
    case = volume_case(write_volume(tmp_path / "scan.nii", volume), brain)
    right, anterior = (case.images[case.positions.index(position), 0] for position in (5, 7))
    assert np.unravel_index(right.argmax(), right.shape)[1] < 32
    assert np.unravel_index(anterior.argmax(), anterior.shape)[0] < 32


def test_empty_slices_are_not_shown_to_the_model_and_their_map_is_zero(tmp_path: Path, brain: Config) -> None:
    volume = np.zeros((20, 20, 9), np.float32)
    volume[6:14, 6:14, 3:6] = 7
    case = volume_case(write_volume(tmp_path / "scan.nii", volume), brain)
    assert (case.positions, case.depth, case.images.shape) == ([3, 4, 5], 9, (3, 1, 128, 128))
    restored = case.restore(np.ones((3, 128, 128), np.float32))
    assert (restored[..., 3:6] == 1).all()
    assert (restored[..., :3] == 0).all()
    assert (restored[..., 6:] == 0).all()


@pytest.mark.parametrize("protocol", Protocol)
def test_a_store_holds_what_scoring_sees_of_the_same_scan(tmp_path: Path, brain: Config, protocol: Protocol) -> None:
    scan, affine = head(1, (40, 48, 20)), affine_of("LPS", (0.9, 0.8, 5), 0.1)
    scan[..., :3] = scan.min()
    knowing = brain.model_copy(update={"scale": SCALES[protocol]})
    seen = volume_case(write_volume(tmp_path / "scan.nii.gz", scan, affine), knowing)
    stored = read_volume(tmp_path / "scan.nii.gz")
    samples = slices_of(stored.data, stored.affine, "someone", protocol=protocol, side=128)
    write_store(tmp_path / "store", "phantom-t2/train", samples, channels=1, has_masks=False)
    store = Store(tmp_path / "store")
    assert np.asarray(store.images).tobytes() == seen.images.tobytes()
    assert [int(row["slice"]) for row in store.index] == seen.positions
    assert 0 < len(seen.positions) < seen.depth


def test_images_lie_within_zero_and_one_whatever_the_unit(tmp_path: Path, brain: Config) -> None:
    path = write_volume(tmp_path / "scan.nii", (head(3) * 37 - 1024).astype(np.int16))
    images = volume_case(path, brain).images
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, pytest.approx(1, abs=0.05))


def test_the_geometry_that_is_told_is_that_of_the_file(tmp_path: Path, brain: Config) -> None:
    path = write_volume(tmp_path / "scan.nii", head(0), affine_of("PIR", (1.5, 0.75, 3)))
    told = volume_case(path, brain).describe()
    assert told == {"shape": [24, 28, 12], "spacing_mm": [1.5, 0.75, 3.0], "orientation": "PIR"}


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ", "scan.Nii"])
def test_a_map_has_the_name_of_its_volume(tmp_path: Path, brain: Config, name: str) -> None:
    path = write_volume(tmp_path / name.lower(), head(0)).rename(tmp_path / name)
    case, source = volume_case(path, brain), Input.of(path)
    case.write(tmp_path / "out", source, case.images[:, 0], (0, 1))
    assert source.outputs == {"map": f"maps/{name}", "thumbnail": f"thumbnails/{name}.jpg"}
    content = (tmp_path / "out" / "maps" / name).read_bytes()
    assert content.startswith(b"\x1f\x8b") == name.lower().endswith(".gz")
    restored = nib.Nifti1Image.from_bytes(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
    assert restored.shape == (24, 28, 12)


def test_a_volume_of_many_slices_is_no_bomb(tmp_path: Path, brain: Config) -> None:
    path = write_volume(tmp_path / "bomb.nii.gz", np.arange(40_000, dtype=np.uint16).reshape(1, 1, -1))
    assert path.stat().st_size < 100_000
    assert refusal(path, brain).code is InputErrorCode.TOO_LARGE


def test_voxels_far_longer_than_wide_are_no_bomb(tmp_path: Path, brain: Config) -> None:
    needles = write_volume(tmp_path / "needles.nii.gz", head(0), np.diag([1e-3, 100, 1, 1]))
    strip = write_volume(tmp_path / "strip.nii.gz", np.eye(2, 32_000, dtype=np.uint8)[..., None])
    assert refusal(needles, brain).code is InputErrorCode.GEOMETRY
    assert refusal(strip, brain).code is InputErrorCode.GEOMETRY


def test_values_from_end_to_end_of_float32_are_refused(tmp_path: Path, brain: Config) -> None:
    volume = head(0)
    volume[0, 0, 0], volume[-1, -1, -1] = 3e38, -3e38
    path = write_volume(tmp_path / "extremes.nii.gz", volume)
    assert refusal(path, brain).code is InputErrorCode.NOT_FINITE


@pytest.mark.parametrize("kind", ["chest", "fundus"])
def test_a_volume_is_no_photograph(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    path = write_volume(tmp_path / "scan.nii.gz", head(0))
    assert refusal(path, request.getfixturevalue(kind)).code is InputErrorCode.UNSUPPORTED


# Real scans


@pytest.mark.real
def test_maps_of_real_scans_overlay_them(tmp_path: Path, open_images: Path, model: Model) -> None:
    for scan in sorted((open_images / "ms").glob("*/T2.nii.gz")):
        (tmp_path / "in" / scan.parent.name).mkdir(parents=True)
        (tmp_path / "in" / scan.parent.name / scan.name).symlink_to(scan)
    summary = score_folder(model, tmp_path / "in", tmp_path / "out")
    assert (summary.ok, summary.failed) == (2, 0)
    for each in list_inputs(tmp_path / "in").inputs:
        scan, anomaly_map = nib.load(each.files[0]), nib.load(tmp_path / "out" / "maps" / each.stored)
        assert anomaly_map.shape == scan.shape
        assert nib.aff2axcodes(anomaly_map.affine) == nib.aff2axcodes(scan.affine)
        np.testing.assert_allclose(anomaly_map.affine, scan.affine, atol=1e-4)


@pytest.mark.real
def test_the_background_of_a_real_scan_is_background(open_images: Path, brain: Config) -> None:
    path = open_images / "ms" / "patient07" / "T2.nii.gz"
    case, tissue = volume_case(path, brain), np.asarray(nib.load(path).dataobj) != 0
    assert case.cautions == []
    assert case.depth > len(case.positions) == tissue.any(axis=(0, 1)).sum()
    shown = case.restore((case.images[:, 0] > 0).astype(np.float32)) > 0.5
    assert (shown & tissue).sum() >= 0.9 * max(shown.sum(), tissue.sum())
