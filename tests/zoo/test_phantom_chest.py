"""Synthetic chest radiographs: reproducible, their greys in the right order, changed by findings where these lie."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from upd_zoo.errors import UsageError
from upd_zoo.phantoms.chest import (
    ChestPhantom,
    Effusion,
    Enlargement,
    Finding,
    apply_enlargement,
    chest_phantom,
    draw_effusion,
    draw_enlargement,
    draw_opacity,
    render_chest,
)
from upd_zoo.phantoms.chest_anatomy import draw_chest, look, lung_fields, silhouette

CONDITIONS = [None, *Finding]
SUBJECTS = range(12)


def changed(phantom: ChestPhantom, healthy: ChestPhantom) -> NDArray[np.bool_]:
    return np.not_equal(phantom.image, healthy.image)


@pytest.mark.parametrize("finding", CONDITIONS)
def test_same_seed_and_subject_give_the_same_bits(finding: Finding | None) -> None:
    first, again = chest_phantom(3, 5, finding), chest_phantom(3, 5, finding)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()


@pytest.mark.parametrize("finding", CONDITIONS)
@pytest.mark.parametrize("size", [64, 128])
def test_image_and_mask_are_what_readers_expect(finding: Finding | None, size: int) -> None:
    image, mask = chest_phantom(0, 1, finding, size)
    assert image.dtype == np.float32
    assert mask.dtype == np.uint8
    assert image.shape == mask.shape == (size, size)
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.std() > 0.1
    assert set(np.unique(mask)) == ({0} if finding is None else {0, 1})


def test_subjects_and_seeds_differ_in_anatomy_and_not_only_in_noise() -> None:
    images = [chest_phantom(0, subject).image for subject in SUBJECTS] + [chest_phantom(1, 0).image]
    smooth = [ndimage.gaussian_filter(image, 2) for image in images]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(smooth) for b in smooth[:i]]
    assert min(gaps) > 0.02


@pytest.mark.parametrize("finding", [Finding.EFFUSION, Finding.OPACITY])
def test_lung_findings_leave_the_rest_of_the_chest_alone(finding: Finding) -> None:
    for subject in SUBJECTS:
        phantom = chest_phantom(0, subject, finding)
        near = ndimage.binary_dilation(phantom.mask, iterations=20)
        far = changed(phantom, chest_phantom(0, subject)) & ~near
        assert far.mean() < 0.002  # the last of a soft border


def test_an_enlarged_heart_changes_nothing_beyond_its_own_border() -> None:
    for seed in SUBJECTS:
        rng = np.random.default_rng(seed)
        anatomy, enlargement = draw_chest(rng), draw_enlargement(rng)
        phantom = render_chest(anatomy, enlargement)
        view = look(anatomy, 128)
        fields = lung_fields(anatomy.lungs, view)
        shadow, _ = silhouette(apply_enlargement(anatomy.mediastinum, enlargement), view, fields)
        assert not changed(phantom, render_chest(anatomy))[shadow == 0].any()
        assert (shadow[phantom.mask == 1] > 0.5).all()
        assert phantom.mask.any()


@pytest.mark.parametrize(
    ("finding", "least"), [(Finding.EFFUSION, 0.12), (Finding.OPACITY, 0.07), (Finding.ENLARGED, 0.12)]
)
def test_findings_are_brighter_than_the_lung_they_replace(finding: Finding, least: float) -> None:
    for subject in SUBJECTS:
        image, mask = chest_phantom(0, subject, finding)
        rise = image - chest_phantom(0, subject).image
        assert rise[mask == 1].mean() > least
        assert rise[mask == 1].mean() > 5 * np.abs(rise[mask == 0]).mean()


@pytest.mark.parametrize(
    ("finding", "most"), [(Finding.EFFUSION, 0.25), (Finding.OPACITY, 0.12), (Finding.ENLARGED, 0.15)]
)
def test_findings_range_from_small_to_large(finding: Finding, most: float) -> None:
    shares = [chest_phantom(2, subject, finding, 64).mask.mean() for subject in range(40)]
    assert min(shares) > 0.002
    assert max(shares) < most
    assert max(shares) > 2 * min(shares)


def test_lungs_are_darker_than_mediastinum_abdomen_and_chest_wall() -> None:
    for subject in SUBJECTS:
        image = chest_phantom(0, subject).image
        lungs = np.concatenate([image[40:80, 28:40], image[40:80, 88:100]]).mean()
        assert lungs < image[80:96, 62:72].mean() - 0.15
        assert lungs < image[116:, 50:80].mean() - 0.15
        assert image[:4, :6].mean() < 0.15  # air beside the neck


def test_the_right_diaphragm_is_the_higher_one() -> None:
    domes = [draw_chest(np.random.default_rng(seed)).lungs.dome for seed in range(20)]
    assert all(right < left for right, left in domes)


@pytest.mark.parametrize("finding", CONDITIONS)
def test_size_changes_resolution_and_not_anatomy(finding: Finding | None) -> None:
    fine, coarse = chest_phantom(0, 4, finding, 256), chest_phantom(0, 4, finding, 128)
    halved = fine.image.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert np.abs(halved - coarse.image).mean() < 0.005
    shares = fine.mask.mean(), coarse.mask.mean()
    assert shares[0] == pytest.approx(shares[1], rel=0.1)


def test_fluid_on_one_side_leaves_the_other_lung_dry() -> None:
    anatomy = draw_chest(np.random.default_rng(0))
    fluid = Effusion(height=(0.2, 0.0), meniscus=0.1, thickness=0.4)
    wet, dry = render_chest(anatomy, fluid), render_chest(anatomy)
    assert wet.mask[:, :64].any()  # the patient's right is on the left of the image
    assert not wet.mask[:, 72:].any()
    np.testing.assert_array_equal(wet.image[:, 76:], dry.image[:, 76:])


def test_more_fluid_covers_what_less_fluid_covered() -> None:
    anatomy = draw_chest(np.random.default_rng(1))
    less, more = (render_chest(anatomy, Effusion((0.0, height), 0.1, 0.4)).mask for height in (0.12, 0.25))
    assert more.sum() > less.sum()
    assert not (less & ~more).any()


def test_an_enlargement_by_nothing_is_the_healthy_chest() -> None:
    anatomy = draw_chest(np.random.default_rng(2))
    phantom = render_chest(anatomy, Enlargement(heart=1.0, band=1.0))
    assert not phantom.mask.any()
    np.testing.assert_array_equal(phantom.image, render_chest(anatomy).image)


def test_findings_are_drawn_on_either_side() -> None:
    rng = np.random.default_rng(0)
    anatomy = draw_chest(rng)
    sides = {tuple(height > 0 for height in draw_effusion(rng, anatomy).height) for _ in range(30)}
    assert sides == {(True, False), (False, True), (True, True)}
    centres = [draw_opacity(rng, anatomy).patches[:, 0].mean() for _ in range(20)]
    assert min(centres) < 0 < max(centres)


@pytest.mark.parametrize("arguments", [(-1, 0), (0, -1)])
def test_negative_seeds_and_subjects_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="count from 0"):
        chest_phantom(*arguments)


def test_pictures_too_small_for_ribs_are_refused() -> None:
    with pytest.raises(UsageError, match="phantom of 16 pixels"):
        chest_phantom(0, 0, size=16)
