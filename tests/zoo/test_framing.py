"""Framing: what the model sees lies where it lay in the image, and a map goes back to the same place."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from nibabel import orientations
from nibabel.affines import apply_affine

from upd_zoo.images.axial import axial_geometry, axial_slices, from_axial_slices
from upd_zoo.images.framing import frame, frame_mask, unframe, window
from upd_zoo.vocabulary import STUDY_SIDE, Framing, Protocol

Array = npt.NDArray[np.float32]
Spacing = tuple[float, float]

SIZES = [(128, 128), (256, 256), (64, 64), (300, 200), (200, 300), (33, 90), (129, 127), (181, 217), (1, 1), (1, 40)]
SPACINGS: list[Spacing] = [(1, 1), (0.9, 0.9), (1, 3), (2.5, 0.7)]
ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(["LR", "PA", "IS"]) for codes in itertools.product(*axes)
]
CASES = [(Framing.SQUARE_SLICES, size, spacing) for size in SIZES for spacing in SPACINGS] + [
    (framing, size, (1.0, 1.0)) for framing in (Framing.STRETCH, Framing.CENTRE_CROP) for size in SIZES
]


def blob(height: int, width: int, row: float, column: float, radius: tuple[float, float]) -> Array:
    """Return (height, width), a Gaussian spot of the given standard deviations in pixels."""
    rows, columns = np.mgrid[0:height, 0:width]
    exponent = ((rows - row) / radius[0]) ** 2 + ((columns - column) / radius[1]) ** 2
    return np.asarray(np.exp(-exponent / 2), np.float32)


def centre_of(image: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Return the centre of mass in pixels, (0, 0) being the centre of the first pixel."""
    weights = image.astype(np.float64)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return float((rows * weights).sum() / weights.sum()), float((columns * weights).sum() / weights.sum())


@pytest.mark.parametrize(("framing", "size", "spacing"), CASES)
def test_every_image_becomes_a_square_in_range(framing: Framing, size: tuple[int, int], spacing: Spacing) -> None:
    image = np.random.default_rng(0).random((3, *size), np.float32)
    square = frame(image, framing, 128, spacing)
    assert square.shape == (3, STUDY_SIDE, STUDY_SIDE)
    assert square.dtype == np.float32
    assert square.min() >= 0
    assert square.max() <= 1


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_constant_image_stays_constant(framing: Framing, value: float) -> None:
    square = frame(np.full((1, 50, 70), value, np.float32), framing, 128)
    assert square == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("size", [(128, 128), (90, 200)])
def test_framing_leaves_its_input_alone(framing: Framing, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((1, *size), np.float32) * 3 - 1
    before = image.copy()
    frame(image, framing, 128)
    assert np.array_equal(image, before)


def test_an_image_of_model_size_is_not_resampled() -> None:
    image = np.random.default_rng(0).random((1, STUDY_SIDE, STUDY_SIDE), np.float32)
    for framing in Framing:
        assert np.array_equal(frame(image, framing, 128), image)


def test_a_stretched_image_is_seen_whole() -> None:
    part = window(Framing.STRETCH, 300, 200, (2.0, 1.0))
    assert (part.top, part.left, part.height, part.width) == (0, 0, 300, 200)


@pytest.mark.parametrize(("size", "top", "left"), [((300, 200), 50, 0), ((200, 301), 0, 50), ((9, 9), 0, 0)])
def test_the_centre_of_a_photograph_is_kept(size: tuple[int, int], top: int, left: int) -> None:
    part = window(Framing.CENTRE_CROP, *size)
    assert (part.top, part.left, part.height, part.width) == (top, left, min(size), min(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_slice_is_padded_to_a_square_in_millimetres(size: tuple[int, int], spacing: Spacing) -> None:
    part = window(Framing.SQUARE_SLICES, *size, spacing)
    height, width = part.height * spacing[0], part.width * spacing[1]
    assert height == pytest.approx(width, abs=max(spacing) / 2 + 1e-9)
    assert part.height >= size[0]
    assert part.width >= size[1]
    for before, inside, length in ((part.top, size[0], part.height), (part.left, size[1], part.width)):
        after = length - inside + before
        assert abs(-before - after) <= 1, "padded alike on both sides"


def test_padding_is_background() -> None:
    image = np.full((1, 64, 128), 0.5, np.float32)
    image[0, 0, 0] = 0.125
    square = frame(image, Framing.SQUARE_SLICES, 128)
    assert (square[0, :32] == 0.125).all()
    assert (square[0, 96:] == 0.125).all()
    assert (square[0, 33:95] == 0.5).all()


@pytest.mark.parametrize(
    ("framing", "size", "spacing"),
    [
        (Framing.SQUARE_SLICES, (181, 217), (1.0, 1.0)),
        (Framing.SQUARE_SLICES, (100, 200), (2.0, 1.0)),
        (Framing.SQUARE_SLICES, (60, 240), (3.0, 0.9)),
        (Framing.STRETCH, (390, 320), (1.0, 1.0)),
        (Framing.CENTRE_CROP, (284, 428), (1.0, 1.0)),
        (Framing.CENTRE_CROP, (64, 90), (1.0, 1.0)),
    ],
)
def test_a_point_lands_where_it_should(framing: Framing, size: tuple[int, int], spacing: Spacing) -> None:
    row, column = 0.4 * size[0], 0.55 * size[1]
    spot = blob(*size, row, column, (0.03 * size[0], 0.03 * size[1]))
    extent = {Framing.STRETCH: size, Framing.CENTRE_CROP: (min(size), min(size))}.get(
        framing, tuple(max(n * s for n, s in zip(size, spacing, strict=True)) / s for s in spacing)
    )
    expected = [
        (point - (length - 1) / 2) * STUDY_SIDE / seen + (STUDY_SIDE - 1) / 2
        for point, length, seen in zip((row, column), size, extent, strict=True)
    ]
    square = frame(spot[None], framing, 128, spacing)[0]
    assert centre_of(square) == pytest.approx(expected, abs=0.6)
    assert centre_of(frame_mask(spot > 0.5, framing, 128, spacing)) == pytest.approx(expected, abs=0.7)
    restored = np.nan_to_num(unframe(square, framing, *size, spacing))
    assert centre_of(restored - restored.min()) == pytest.approx((row, column), abs=0.3)


def test_a_round_thing_in_anisotropic_pixels_becomes_round() -> None:
    rows, columns = np.mgrid[0:80, 0:240]
    disc = ((rows - 40) * 3.0) ** 2 + (columns - 120.0) ** 2 <= 60**2
    found = np.argwhere(frame_mask(disc, Framing.SQUARE_SLICES, 128, (3.0, 1.0)))
    height, width = found.max(axis=0) - found.min(axis=0) + 1
    assert (height, width) == pytest.approx((65, 65), abs=1)


@pytest.mark.parametrize(
    ("framing", "size", "spacing"),
    [
        (Framing.SQUARE_SLICES, (181, 217), (1.0, 1.0)),
        (Framing.SQUARE_SLICES, (60, 240), (3.0, 0.9)),
        (Framing.STRETCH, (390, 320), (1.0, 1.0)),
        (Framing.CENTRE_CROP, (284, 428), (1.0, 1.0)),
    ],
)
def test_a_mask_keeps_its_share_of_the_area(framing: Framing, size: tuple[int, int], spacing: Spacing) -> None:
    mask = blob(*size, 0.5 * size[0], 0.45 * size[1], (0.1 * size[0], 0.07 * size[1])) > 0.5
    part = window(framing, *size, spacing)
    square = frame_mask(mask, framing, 128, spacing)
    assert square.mean() == pytest.approx(mask.sum() / (part.height * part.width), rel=0.03)
    assert square.dtype == np.uint8
    assert {*np.unique(square)} == {0, 1}


def test_every_label_counts_as_pathological() -> None:
    labels = np.zeros((128, 128), np.int16)
    labels[10, 10], labels[20, 20], labels[30, 30] = 1, 4, -1
    assert frame_mask(labels, Framing.STRETCH, 128).sum() == 3


def test_a_pixel_is_set_from_half_of_its_area() -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[0, 0:2] = 1
    mask[4, 4] = 1
    square = frame_mask(mask, Framing.STRETCH, 128)
    assert square[0, 0] == 1
    assert square.sum() == 1


def test_the_study_shrinks_small_lesions_of_slices_and_loses_some_of_photographs() -> None:
    discs = [np.hypot(*(np.mgrid[0:181, 0:217] - 100 - shift)) <= 1.5 for shift in np.linspace(0, 1.6, 9)]
    sound, study = (
        sum(int(frame_mask(disc, Framing.SQUARE_SLICES, 128, protocol=protocol).sum()) for disc in discs)
        for protocol in (Protocol.SOUND, Protocol.STUDY)
    )
    assert 0.5 < study / sound < 1.0
    spot = np.zeros((512, 512), np.uint8)
    spot[200:204, 200:203] = 1  # three quarters of a pixel of the square, beside its centre or under it
    beside = np.roll(spot, 3, axis=1)
    found = [frame_mask(each, Framing.CENTRE_CROP, 128, protocol=Protocol.STUDY).sum() for each in (spot, beside)]
    assert found == [1, 0]
    assert frame_mask(spot, Framing.CENTRE_CROP, 128).sum() == 1


def test_where_everything_is_pathological_the_padding_is_not() -> None:
    square = frame_mask(np.ones((64, 128), np.uint8), Framing.SQUARE_SLICES, 128)
    assert square[32:96].all()
    assert not square[:32].any()
    assert not square[96:].any()


@pytest.mark.parametrize(("framing", "size", "spacing"), CASES)
def test_a_map_goes_back_to_the_size_of_its_image(framing: Framing, size: tuple[int, int], spacing: Spacing) -> None:
    anomaly_map = np.random.default_rng(0).normal(size=(STUDY_SIDE, STUDY_SIDE)).astype(np.float32)
    restored = unframe(anomaly_map, framing, *size, spacing)
    assert restored.shape == size
    assert restored.dtype == np.float32
    assert np.nanmin(restored) >= anomaly_map.min() - 1e-6
    assert np.nanmax(restored) <= anomaly_map.max() + 1e-6


def test_what_the_model_never_saw_has_no_value() -> None:
    anomaly_map = np.random.default_rng(0).uniform(-3, -2, (STUDY_SIDE, STUDY_SIDE)).astype(np.float32)
    restored = unframe(anomaly_map, Framing.CENTRE_CROP, 128, 200)
    assert np.isnan(restored[:, :36]).all()
    assert np.isnan(restored[:, 164:]).all()
    assert np.array_equal(restored[:, 36:164], anomaly_map)


@pytest.mark.parametrize("framing", [Framing.SQUARE_SLICES, Framing.STRETCH])
@pytest.mark.parametrize("size", [(181, 217), (96, 60)])
def test_a_smooth_image_survives_there_and_back(framing: Framing, size: tuple[int, int]) -> None:
    image = blob(*size, size[0] / 2, size[1] / 2, (size[0] / 5, size[1] / 5))
    restored = unframe(frame(image[None], framing, 128)[0], framing, *size)
    assert restored == pytest.approx(image, abs=0.03)


def affine_of(codes: str, spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return the affine of a volume whose axes point to `codes`, with voxels of `spacing` along its own axes."""
    ornt = orientations.axcodes2ornt(tuple(codes))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, flip) in enumerate(ornt):
        affine[int(world), axis] = flip * spacing[axis]
    affine[:3, 3] = 7, -5, 3
    return affine


def world_positions(shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> list[Array]:
    """Return three volumes: how far to the right, to the front and up each voxel lies, in mm."""
    positions = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return [np.asarray(axis, np.float32) for axis in np.moveaxis(positions, -1, 0)]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_slices_of_every_orientation_lie_alike_and_go_back(codes: str) -> None:
    shape, affine = (4, 5, 6), affine_of(codes, (0.5, 1.5, 4.0))
    geometry = axial_geometry(shape, affine)
    right, anterior, up = world_positions(shape, affine)
    assert (np.diff(axial_slices(up, geometry), axis=0) > 0).all(), "slices rise from feet to head"
    assert (np.diff(axial_slices(anterior, geometry), axis=1) < 0).all(), "rows go from anterior to posterior"
    assert (np.diff(axial_slices(right, geometry), axis=2) < 0).all(), "columns go from right to left"
    for volume in (right, anterior, up):
        slices = axial_slices(volume, geometry)
        assert slices.shape[1:] == (geometry.rows, geometry.columns)
        assert np.array_equal(from_axial_slices(slices, geometry), volume)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_the_spacing_of_slices_follows_their_axes(codes: str) -> None:
    shape, affine = (4, 5, 6), affine_of(codes, (0.5, 1.5, 4.0))
    geometry = axial_geometry(shape, affine)
    right, anterior, _ = world_positions(shape, affine)
    steps = np.diff(axial_slices(anterior, geometry), axis=1), np.diff(axial_slices(right, geometry), axis=2)
    assert geometry.spacing == pytest.approx([-float(step.flat[0]) for step in steps])
    assert geometry.shape == shape


def test_a_tilted_volume_goes_by_its_nearest_axes() -> None:
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([1.0, 2.0, 3.0])
    geometry = axial_geometry((4, 5, 6), affine)
    assert geometry.spacing == pytest.approx((2, 1))
    assert (geometry.rows, geometry.columns) == (5, 4)
