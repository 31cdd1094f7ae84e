"""Intensity: which values of a scan become 0 and 1, whatever a few voxels say."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake.inputs import head
from upd_zoo.images.intensity import Intensities
from upd_zoo.vocabulary import Scale

Array = npt.NDArray[np.float32]
SHAPE = (48, 56, 40)
each_scale = pytest.mark.parametrize("scale", Scale)


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=8, unique=True), st.sampled_from(Scale)
)
def test_a_scaled_volume_fills_the_range(values: list[float], scale: Scale) -> None:
    volume = np.array(sorted(values), np.float32).reshape(-1, 1, 1)
    scaled = Intensities(volume).scaled(scale)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)
    assert (np.diff(scaled.ravel()) >= 0).all()


@each_scale
def test_a_constant_background_becomes_zero(scale: Scale) -> None:
    volume = np.full((4, 4, 4), -1000, np.float32)
    volume[1:3, 1:3, 1:3] = np.random.default_rng(0).uniform(0, 80, (2, 2, 2))
    assert ((Intensities(volume).scaled(scale) == 0) == (volume == -1000)).all()


@pytest.mark.parametrize(("place", "value"), [((24, 28, 20), 1), ((0, 0, 0), 0), ((2, 2, 2), 0)])
@pytest.mark.parametrize("factor", [1.5, 1e6])
def test_no_single_voxel_moves_the_robust_scale(place: tuple[int, int, int], value: int, factor: float) -> None:
    volume = head(0, SHAPE)
    hot = volume.copy()
    hot[place] = factor * volume.max()
    scaled, seen = Intensities(volume).scaled(Scale.ROBUST), Intensities(hot).scaled(Scale.ROBUST)
    assert seen[place] == value
    seen[place] = scaled[place]
    np.testing.assert_allclose(seen, scaled, atol=1e-3)


def test_what_touches_other_tissue_is_no_speck() -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[4, 4, 4] = volume[9, 9, 9] = volume[10, 10, 10] = volume[-1, -1, -1] = volume[-1, -2, -1] = 5
    kept = np.argwhere(Intensities(volume).scaled(Scale.ROBUST)).tolist()
    assert kept == [[9, 9, 9], [10, 10, 10], [47, 54, 39], [47, 55, 39]]
    volume[:] = 0
    volume[4, 4, 4] = 5
    assert Intensities(volume).scaled(Scale.ROBUST).sum() == 1, "where there is nothing else"


@each_scale
def test_no_single_voxel_moves_the_background_of_noise(scale: Scale) -> None:
    noise = np.random.default_rng(0).uniform(0, 5, SHAPE).astype(np.float32)
    volume = head(0, SHAPE) + noise
    cold = volume.copy()
    cold[5, 5, 5] = -1e6
    scaled, seen = Intensities(volume).scaled(scale), Intensities(cold).scaled(scale)
    assert seen[5, 5, 5] == 0
    seen[5, 5, 5] = scaled[5, 5, 5]
    np.testing.assert_allclose(seen, scaled, atol=1e-3)


def test_a_scan_that_is_bright_nearly_everywhere_has_a_background() -> None:
    volume = np.ones((10, 10, 10), np.float32)
    volume[0, 0, 0] = 0.5
    assert (Intensities(volume).scaled(Scale.ROBUST) == (volume == 1)).all()


def test_the_scale_of_the_study_follows_the_largest_value() -> None:
    volume = head(0, SHAPE)
    volume[24, 28, 20] = 2 * volume.max()
    np.testing.assert_allclose(Intensities(volume).scaled(Scale.MAXIMUM), volume / volume.max(), atol=1e-6)


def test_the_robust_scale_clips_only_few_voxels_of_tissue() -> None:
    volume = head(0, SHAPE)
    scaled = Intensities(volume).scaled(Scale.ROBUST)
    assert 0 < (scaled == 1).sum() <= 0.003 * (volume > 0).sum()
