"""What a model may know of healthy images."""

import numpy as np

from fake.stores import draw_image
from upd_zoo.appearance import coarse, figures_of
from upd_zoo.calibration import Appearance, appearance_of


def known(channels: int, images: int = 4) -> Appearance:
    """Return what the images of a tiny store look like."""
    generator = np.random.default_rng(0)
    drawn = np.stack([draw_image(channels, generator) for _ in range(images)])
    return appearance_of(figures_of(drawn), coarse(drawn), [f"subject-{number}" for number in range(images)])


APPEARANCE = known(1)
