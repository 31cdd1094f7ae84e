"""Synthetic fundus photographs: reproducible, laid out like a fundus, with small lesions of the right colour."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from upd_zoo.errors import UsageError
from upd_zoo.phantoms.drawing import Curves, Ellipses, FloatArray, ellipse_coverage, stroke_coverage
from upd_zoo.phantoms.fundus import Lesions, apply_lesions, draw_lesions, fundus_phantom, render_fundus
from upd_zoo.phantoms.fundus_anatomy import DISC_TO_FOVEA, FundusAnatomy, draw_fundus, field_of_view, retina

SUBJECTS = range(10)
NONE = Ellipses(*(np.zeros(shape, dtype=np.float32) for shape in ((0, 2), (0, 2), (0,))))
HEALTHY = Lesions(NONE, NONE, NONE, NONE, NONE)


def right_eye(seed: int) -> FundusAnatomy:
    anatomy = draw_fundus(np.random.default_rng(seed))
    return replace(anatomy, camera=replace(anatomy.camera, left_eye=False))


def spot(x: float, y: float, radius: float = 0.02) -> Ellipses:
    return Ellipses(*(np.array(values, dtype=np.float32) for values in ([[x, y]], [[radius, radius]], [0.0])))


def around(image: FloatArray, x: float, y: float, radius: int = 1) -> NDArray[np.float32]:
    row, column = int(y * image.shape[-2]), int(x * image.shape[-1])
    patch = image[:, row - radius : row + radius + 1, column - radius : column + radius + 1]
    return np.asarray(patch.mean(axis=(1, 2)), dtype=np.float32)


@pytest.mark.parametrize("diseased", [False, True])
def test_same_seed_and_subject_give_the_same_bits(diseased: bool) -> None:
    first, again = fundus_phantom(3, 5, diseased), fundus_phantom(3, 5, diseased)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()


@pytest.mark.parametrize("diseased", [False, True])
@pytest.mark.parametrize("size", [64, 128])
def test_image_and_mask_are_what_readers_expect(diseased: bool, size: int) -> None:
    image, mask = fundus_phantom(0, 1, diseased, size)
    assert image.dtype == np.float32
    assert mask.dtype == np.uint8
    assert image.shape == (3, size, size)
    assert mask.shape == (size, size)
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.flags.c_contiguous
    assert set(np.unique(mask)) == ({0, 1} if diseased else {0})


def test_subjects_and_seeds_differ() -> None:
    images = [fundus_phantom(0, subject).image for subject in SUBJECTS] + [fundus_phantom(1, 0).image]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(images) for b in images[:i]]
    assert min(gaps) > 0.02


def test_both_eyes_are_photographed_and_one_is_the_mirror_of_the_other() -> None:
    assert {draw_fundus(np.random.default_rng(seed)).camera.left_eye for seed in range(10)} == {False, True}
    anatomy = right_eye(0)
    lesions = draw_lesions(np.random.default_rng(0), anatomy)
    right = render_fundus(anatomy, lesions)
    left = render_fundus(replace(anatomy, camera=replace(anatomy.camera, left_eye=True)), lesions)
    np.testing.assert_array_equal(left.image, right.image[..., ::-1])
    np.testing.assert_array_equal(left.mask, right.mask[:, ::-1])


def test_the_field_is_a_bright_circle_on_black() -> None:
    for subject in SUBJECTS:
        image = fundus_phantom(0, subject).image
        corners = np.concatenate([image[:, :4, :4], image[:, -4:, -4:]], axis=1)
        assert corners.mean() < 0.03
        red, green, blue = image[:, 32:96, 32:96].mean(axis=(1, 2))
        assert red > green > blue
        assert red > 0.25


def test_disc_is_bright_fovea_is_dark_and_they_lie_apart_as_in_an_eye() -> None:
    for seed in SUBJECTS:
        anatomy = right_eye(seed)
        colours, disc, fovea = retina(anatomy, 128), anatomy.disc, anatomy.macula.fovea
        ring = [(fovea[0] + 0.15 * np.cos(turn), fovea[1] + 0.15 * np.sin(turn)) for turn in np.arange(0, 6, 0.5)]
        beside = np.median([around(colours, x, y)[1] for x, y in ring])
        assert around(colours, *fovea)[1] < 0.9 * beside
        if abs(disc.centre[0] - 0.5) < 0.4:
            assert around(colours, *disc.centre, radius=4)[1] > 1.05 * beside
        apart = np.hypot(disc.centre[0] - fovea[0], disc.centre[1] - fovea[1])
        assert apart / (2 * disc.semi_axes[1]) == pytest.approx(DISC_TO_FOVEA, rel=0.15)


def test_no_vessel_reaches_the_fovea() -> None:
    for seed in SUBJECTS:
        anatomy = right_eye(seed)
        for tree in (anatomy.veins, anatomy.arteries):
            for curves in tree:
                away = np.hypot(*(curves.points - np.array(anatomy.macula.fovea)).reshape(-1, 2).T)
                assert away.min() > 0.01


def test_veins_are_wider_and_darker_than_arteries() -> None:
    anatomy = right_eye(1)
    assert anatomy.veins.trunks.half_widths.mean() > 1.2 * anatomy.arteries.trunks.half_widths.mean()
    colours = retina(anatomy, 256)
    only = {name: stroke_coverage(getattr(anatomy, name).trunks, 256) > 0.9 for name in ("veins", "arteries")}
    x = (np.arange(256) + 0.5) / 256
    outside = np.hypot(x[None] - anatomy.disc.centre[0], x[:, None] - anatomy.disc.centre[1]) > 0.1
    vein, artery = only["veins"] & ~only["arteries"] & outside, only["arteries"] & ~only["veins"] & outside
    assert np.median(colours[0][vein]) < np.median(colours[0][artery])


def test_pixels_without_lesion_are_those_of_the_healthy_eye() -> None:
    for seed in SUBJECTS:
        anatomy = right_eye(seed)
        lesions = draw_lesions(np.random.default_rng(seed), anatomy)
        _, share = apply_lesions(retina(anatomy, 128), lesions, anatomy)
        healthy, diseased = render_fundus(anatomy), render_fundus(anatomy, lesions)
        np.testing.assert_array_equal(diseased.image[:, share == 0], healthy.image[:, share == 0])
        assert (share > 0).mean() < 0.04
        assert (diseased.image != healthy.image).any(axis=0)[diseased.mask == 1].all()


def test_lesions_are_by_far_the_smallest_of_the_study() -> None:
    shares = np.array([fundus_phantom(4, subject, diseased=True).mask.mean() for subject in range(40)])
    assert shares.min() > 0
    assert shares.max() < 0.025
    assert 0.001 < np.median(shares) < 0.01


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_blood_is_darker_and_exudates_are_brighter_than_the_retina(seed: int) -> None:
    anatomy = right_eye(seed)
    x, y = anatomy.macula.fovea[0] + 0.02, anatomy.macula.fovea[1] + 0.14
    retina_here = around(render_fundus(anatomy, HEALTHY).image, x, y)
    for name in ("microaneurysms", "blots", "flames"):
        blood = around(render_fundus(anatomy, replace(HEALTHY, **{name: spot(x, y)})).image, x, y)
        assert (blood[:2] < 0.8 * retina_here[:2]).all()
    hard, soft = (
        around(render_fundus(anatomy, replace(HEALTHY, **{name: spot(x, y)})).image, x, y)
        for name in ("hard_exudates", "soft_exudates")
    )
    assert hard[1] > 1.2 * retina_here[1]
    assert soft[1] > 1.2 * retina_here[1]
    assert hard[2] / hard[1] < soft[2] / soft[1]  # wax is yellow, wool is pale


def test_a_microaneurysm_is_about_one_pixel() -> None:
    anatomy = right_eye(0)
    x, y = 64.5 / 128, 90.5 / 128
    mask = render_fundus(anatomy, replace(HEALTHY, microaneurysms=spot(x, y, 0.0045))).mask
    assert mask.sum() == 1
    assert mask[90, 64] == 1


def test_lesions_stay_inside_field_and_off_the_disc() -> None:
    for seed in SUBJECTS:
        anatomy = right_eye(seed)
        mask = render_fundus(anatomy, draw_lesions(np.random.default_rng(seed), anatomy)).mask
        assert (field_of_view(anatomy.camera, 128)[mask == 1] > 0.5).all()
        disc = Ellipses(
            *(np.array(v, dtype=np.float32) for v in ([anatomy.disc.centre], [anatomy.disc.semi_axes], [0.0]))
        )
        assert mask[ellipse_coverage(disc, 128) > 0.5].mean() < 0.05


@pytest.mark.parametrize("diseased", [False, True])
def test_size_changes_resolution_and_not_anatomy(diseased: bool) -> None:
    fine, coarse = fundus_phantom(0, 4, diseased, 256), fundus_phantom(0, 4, diseased, 128)
    halved = fine.image.reshape(3, 128, 2, 128, 2).mean(axis=(2, 4))
    assert np.abs(halved - coarse.image).mean() < 0.004
    assert fine.mask.mean() == pytest.approx(coarse.mask.mean(), rel=0.3)


def test_strokes_and_ellipses_cover_their_own_area_at_every_size() -> None:
    line = Curves(np.array([[[0.2, 0.3], [0.8, 0.6]]], dtype=np.float32), np.full((1, 2), 0.015, dtype=np.float32))
    for size in (48, 128, 300):
        assert stroke_coverage(line, size).mean() == pytest.approx(
            np.hypot(0.6, 0.3) * 0.03 + np.pi * 0.015**2, rel=0.1
        )
        assert ellipse_coverage(spot(0.4, 0.55, 0.05), size).mean() == pytest.approx(np.pi * 0.05**2, rel=0.05)


def test_strokes_may_leave_the_image() -> None:
    line = Curves(np.array([[[-2.0, 0.5], [3.0, 0.5]]], dtype=np.float32), np.full((1, 2), 0.02, dtype=np.float32))
    cover = stroke_coverage(line, 64)
    assert cover[32].min() == 1
    assert not cover[:28].any()


@pytest.mark.parametrize("arguments", [(-1, 0), (0, -1)])
def test_negative_seeds_and_subjects_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="count from 0"):
        fundus_phantom(*arguments)
