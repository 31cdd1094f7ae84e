"""What images look like in figures: formulas against references, and what healthy images are recorded to look like."""

import numpy as np
import pytest
from scipy import stats

from fake.stores import draw_image
from upd_zoo.artefact.appearance import SIDE, Turn, coarse, figures_of, likeness, median_figures, turned, turns_of
from upd_zoo.artefact.calibration import LOOK_LEVELS, appearance_of

IMAGES = np.stack([draw_image(3, np.random.default_rng(seed)) for seed in range(5)])
SUBJECTS = ["a", "a", "b", "c", "c"]


def test_the_figures_are_those_of_the_tissue() -> None:
    figures = figures_of(IMAGES)
    for row, image in enumerate(IMAGES):
        grey = image.mean(axis=0)
        inside = grey > 2 / 255
        assert figures.tissue[row] == pytest.approx(inside.mean())
        assert figures.mean[row] == pytest.approx(grey[inside].mean(), rel=1e-5)
        assert figures.spread[row] == pytest.approx(grey[inside].std(), rel=1e-4)


def test_the_entropy_is_scipys_of_the_grey_levels() -> None:
    grey = IMAGES[0].mean(axis=0, dtype=np.float64)
    tissue = grey[grey > 2 / 255]
    low, high = tissue.min(), np.quantile(tissue, 0.995)
    levels = np.rint((np.clip(tissue, low, high) - low) / (high - low) * 255)
    expected = stats.entropy(np.unique(levels, return_counts=True)[1], base=2)
    assert figures_of(IMAGES[:1]).entropy[0] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("labels", [1, 2, 4, 16])
def test_an_image_of_few_values_has_the_bits_of_all_but_its_commonest(labels: int) -> None:
    image = 0.1 + np.arange(128 * 128).reshape(1, 1, 128, 128) % labels * (0.8 / labels)
    image[..., :16] = 0
    assert figures_of(image.astype(np.float32)).entropy[0] == pytest.approx(np.log2(max(1, labels - 1)), abs=0.01)


@pytest.mark.parametrize("factor", [0.5, 1 / 16])
def test_entropy_and_texture_do_not_hang_on_brightness(factor: float) -> None:
    bright, dark = figures_of(IMAGES), figures_of(IMAGES * np.float32(factor))
    np.testing.assert_allclose(dark.entropy, bright.entropy, atol=0.01)
    np.testing.assert_allclose(dark.texture, bright.texture, rtol=0.01)


def test_texture_tells_noise_from_smooth_tissue() -> None:
    noise = np.random.default_rng(0).random((1, 1, 128, 128), np.float32)
    assert figures_of(noise).texture[0] == pytest.approx(np.sqrt(12) / 3, rel=0.02), "of uniform noise: (1/3) / sigma"
    assert figures_of(IMAGES).texture.max() < 0.1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_image_of_one_colour_has_no_tissue(value: float) -> None:
    assert [float(each[0]) for each in figures_of(np.full((1, 1, 128, 128), value, np.float32))] == [0] * 5


def test_the_figures_of_a_volume_are_the_medians_of_its_slices() -> None:
    figures = figures_of(IMAGES)
    for found, each in zip(median_figures(figures), figures, strict=True):
        assert found.tolist() == [np.median(each)]


def test_likeness_is_pearsons_correlation() -> None:
    first, second = coarse(IMAGES[:2])
    assert first.shape == (3, SIDE, SIDE)
    assert likeness(first, second) == pytest.approx(stats.pearsonr(first.ravel(), second.ravel())[0])
    assert likeness(first, np.ones_like(first)) == 0


@pytest.mark.parametrize("turn", Turn)
def test_a_turn_is_seen_in_the_coarse_picture_as_in_the_image(turn: Turn) -> None:
    undo = {Turn.QUARTER_LEFT: Turn.QUARTER_RIGHT, Turn.QUARTER_RIGHT: Turn.QUARTER_LEFT}.get(turn, turn)
    picture = coarse(IMAGES)[0]
    assert not np.allclose(turned(picture, turn), picture)
    np.testing.assert_allclose(turned(turned(picture, turn), undo), picture)
    np.testing.assert_allclose(
        coarse(turned(IMAGES[0].astype(float), turn).astype(np.float32)[None])[0], turned(picture, turn), atol=1e-6
    )


def test_colours_cannot_be_reversed_where_there_are_none() -> None:
    assert {*turns_of(3)} - {*turns_of(1)} == {Turn.COLOURS_REVERSED}


def test_healthy_images_are_compared_with_all_other_subjects() -> None:
    pictures = coarse(IMAGES)
    appearance = appearance_of(figures_of(IMAGES), pictures, SUBJECTS)
    means = {"a": pictures[:2].mean(0), "b": pictures[2], "c": pictures[3:].mean(0)}
    np.testing.assert_allclose(appearance.picture, sum(means.values()) / 3, atol=1e-4)
    others = {name: sum(means[other] for other in means if other != name) / 2 for name in means}
    by_image = [likeness(picture, others[name]) for picture, name in zip(pictures, SUBJECTS, strict=True)]
    by_subject = [likeness(means[name], others[name]) for name in means]
    np.testing.assert_allclose(appearance.images.likeness.values, np.quantile(by_image, LOOK_LEVELS))
    np.testing.assert_allclose(appearance.subjects.likeness.values, np.quantile(by_subject, LOOK_LEVELS))
    lead = [like - likeness(1 - means[name], others[name]) for name, like in zip(means, by_subject, strict=True)]
    np.testing.assert_allclose(appearance.subjects.lead[Turn.INVERTED].values, np.quantile(lead, LOOK_LEVELS))
    assert (appearance.images.tissue.count, appearance.subjects.tissue.count) == (5, 3)


def test_the_figures_of_subjects_are_their_medians() -> None:
    figures = figures_of(IMAGES)
    subjects = appearance_of(figures, coarse(IMAGES), SUBJECTS).subjects
    expected = [np.median(figures.mean[:2]), figures.mean[2], np.median(figures.mean[3:])]
    np.testing.assert_allclose(subjects.mean.values, np.quantile(expected, LOOK_LEVELS))


def test_one_subject_alone_is_like_itself() -> None:
    alone = appearance_of(figures_of(IMAGES[:1]), coarse(IMAGES[:1]), ["a"])
    assert alone.images.likeness.values == alone.subjects.likeness.values == pytest.approx([1] * len(LOOK_LEVELS))
