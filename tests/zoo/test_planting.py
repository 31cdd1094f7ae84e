import numpy as np
import pytest

from upd_zoo.phantoms.planting import NOTICEABLE, Kind, Mask, apply_anomaly, draw_anomaly, plant
from upd_zoo.phantoms.tissue import Image, places_of, tissue_of


def body(size: int, seed: int = 0, channels: int = 3) -> Image:
    """Return an image of uneven tissue in an ellipse; around it the image is exactly 0."""
    rows, columns = np.mgrid[0:size, 0:size] / size * 2 - 1
    waves = np.random.default_rng(seed).uniform(-12, 12, (channels, 6, 3))
    texture = [np.cos(a * rows + b * columns + c) for channel in waves for a, b, c in channel]
    field = np.reshape(texture, (channels, 6, size, size)).mean(axis=1) + 0.5 * np.cos(90 * rows) * np.cos(80 * columns)
    inside = (rows / 0.9) ** 2 + (columns / 0.8) ** 2 < 1
    return np.where(inside, 0.5 + 0.25 * field, 0).astype(np.float32)


def planted(kind: Kind, size: int = 128, seed: int = 0, channels: int = 3) -> tuple[Image, Image, Mask]:
    """Return a healthy image, the planted one, and its mask as (H, W) of 0 and 1."""
    image = body(size, channels=channels)
    found = plant(np.random.default_rng(seed), kind, image, body(size, 1, channels))
    assert found is not None
    return image, found.image, found.mask


@pytest.mark.parametrize("kind", Kind)
def test_tissue_alone_changes_and_the_mask_lies_where_it_does(kind: Kind) -> None:
    for channels in (1, 3):
        image, other, mask = planted(kind, channels=channels)
        change = np.abs(other - image).max(axis=0)
        assert other.dtype == np.float32
        assert 0 <= other.min() <= other.max() <= 1
        assert not change[~tissue_of(image)].any()
        assert 0 < mask.sum() < 0.5 * mask.size
        assert change[mask == 1].mean() > NOTICEABLE > change[mask == 0].mean()


@pytest.mark.parametrize("kind", Kind)
def test_the_same_seed_plants_the_same_and_another_one_something_else(kind: Kind) -> None:
    first, again, other = (planted(kind, seed=seed)[1] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", Kind)
def test_an_anomaly_takes_the_same_share_of_an_image_at_every_side(kind: Kind) -> None:
    shares = []
    for size in (128, 256):
        image, donor = body(size), body(size, 1)
        anomaly = draw_anomaly(np.random.default_rng(5), kind, np.array([[0.45, 0.55]]))
        change = np.abs(apply_anomaly(anomaly, image, tissue_of(image), donor).image - image).max(axis=0)
        shares.append((change > NOTICEABLE / 3).mean())
    assert shares[1] == pytest.approx(shares[0], rel=0.3)


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        (Kind.BRIGHT_BLOB, 1),
        (Kind.BRIGHT_SPOTS, 1),
        (Kind.OPACITY, 1),
        (Kind.DARK_BLOB, -1),
        (Kind.DARK_SPOTS, -1),
    ],
)
def test_what_is_called_bright_is_brighter_and_what_is_called_dark_darker(kind: Kind, sign: int) -> None:
    for seed in range(4):
        image, other, mask = planted(kind, seed=seed)
        assert sign * (other - image)[:, mask == 1].mean() > 0


def test_a_blur_takes_detail_away() -> None:
    image, other, mask = planted(Kind.BLURRED)
    rough, smooth = (np.abs(np.diff(each, axis=2)).mean(axis=0) for each in (image, other))
    inside = mask[:, 1:] == 1
    assert smooth[inside].mean() < rough[inside].mean()


def test_nothing_is_planted_where_nothing_would_show() -> None:
    rng = np.random.default_rng(0)
    black, flat = np.zeros((1, 128, 128), np.float32), np.full((1, 128, 128), 0.5, np.float32)
    flat[:, :4] = 0
    assert plant(rng, Kind.BRIGHT_BLOB, black, flat) is None
    assert plant(rng, Kind.BLURRED, flat, black) is None
    assert not len(places_of(tissue_of(black)))
