"""Tiny prepared stores: smooth random bodies on a black background, cheap enough to draw in a test."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from upd_zoo.stores.places import Part, StoreName
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.vocabulary import STUDY_SIDE, Side

Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]

_WAVES = 4


def draw_image(channels: int, generator: np.random.Generator, side: int = STUDY_SIDE) -> Array:
    """Return (C, side, side) float32 in [0, 1]: an ellipse of smooth tissue, exactly 0 outside of it."""
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    height, width = generator.uniform(0.7, 0.9, 2)
    inside = (rows / height) ** 2 + (columns / width) ** 2 < 1
    image = np.empty((channels, side, side), np.float32)
    for channel in range(channels):
        texture = np.zeros_like(rows)
        for row, column, phase in generator.uniform(-3, 3, (_WAVES, 3)):
            texture += np.cos(row * rows + column * columns + phase)
        image[channel] = np.where(inside, 0.45 + 0.15 * texture / _WAVES, 0)
    return image


def draw_mask(generator: np.random.Generator, radius: int = 12, side: int = STUDY_SIDE) -> Mask:
    """Return (side, side) uint8, 1 in a disc of `radius` pixels that lies within the body."""
    row, column = generator.integers(44, side - 44, 2)
    rows, columns = np.mgrid[0:side, 0:side]
    mask: Mask = ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.uint8)
    return mask


def plant(image: Array, mask: Mask) -> Array:
    """Return a copy of an image (C, H, W) that is bright where the mask is set."""
    return np.where(mask != 0, np.float32(0.95), image).astype(np.float32)


def draw_samples(
    channels: int,
    images: int,
    seed: int,
    *,
    masks: bool = False,
    anomalous: int = 0,
    subjects: str = "subject",
    side: int = STUDY_SIDE,
) -> list[Sample]:
    """Return samples, the last `anomalous` of them with a planted disc; two images make a subject."""
    generator = np.random.default_rng(seed)
    samples = []
    for number in range(images):
        image, truth = draw_image(channels, generator, side), draw_mask(generator, side=side)
        sick = number >= images - anomalous
        samples.append(
            Sample(
                image=plant(image, truth) if sick else image,
                anomalous=sick,
                subject=f"{subjects}-{number // 2}",
                slice=number % 2,
                source=f"{subjects}-{number // 2}.nii",
                mask=(truth if sick else np.zeros_like(truth)) if masks else None,
            )
        )
    return samples


def write_tiny_store(
    folder: Path,
    channels: Literal[1, 3] = 1,
    images: int = 8,
    seed: int = 0,
    *,
    masks: bool = False,
    anomalous: int = 0,
    name: str = "phantom-t2/train",
    subjects: str = "subject",
    side: Side = STUDY_SIDE,
) -> Store:
    """Write a store of smooth random images and return it opened.

    Args:
        folder: Where the store will be.
        channels: Channels of every image.
        images: Number of images.
        seed: Decides every pixel.
        masks: Whether the store has pixel truth.
        anomalous: How many images, the last ones, show a bright disc.
        name: Name of the store.
        subjects: What the names of subjects begin with.
        side: Height and width of every image in pixels.
    """
    samples = draw_samples(channels, images, seed, masks=masks, anomalous=anomalous, subjects=subjects, side=side)
    scale = StoreName(name.partition("/")[0], Part.TRAIN).scale
    write_store(
        folder,
        name,
        samples,
        channels=channels,
        has_masks=masks,
        labels=["tiny test store"],
        provenance={} if scale is None else {"scale": scale.value},
        side=side,
    )
    return Store(folder)
