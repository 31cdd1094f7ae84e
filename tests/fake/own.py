"""Folders of a stranger's images: small pictures that look like eyes and films, and brains."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fake.inputs import head, write_volume

_COLOURS = np.array((0.75, 0.4, 0.15))


def write_eye(path: Path, seed: int, *, size: tuple[int, int] = (48, 64), lesion: bool = False) -> Path:
    """Write a disc in smooth reds on black; with a lesion, a bright spot lies on it."""
    rows, columns = (np.linspace(-1, 1, length) * length / min(size) for length in size)
    inside = rows[:, None] ** 2 + columns**2 < 0.9
    image = _waves(seed, size)[..., None] * _COLOURS * inside[..., None]
    if lesion:
        image[_spot(size)] = (0.95, 0.9, 0.6)
    return _save(path, image)


def write_film(path: Path, seed: int, *, size: tuple[int, int] = (48, 48)) -> Path:
    """Write smooth greys that fill the frame."""
    return _save(path, _waves(seed, size))


def write_mask(path: Path, *, size: tuple[int, int] = (48, 64)) -> Path:
    """Write where `write_eye` puts its spot."""
    mask = np.zeros(size)
    mask[_spot(size)] = 1
    return _save(path, mask)


def write_brain(path: Path, seed: int) -> Path:
    """Write a volume of an ellipsoid of tissue in a black background, 1.2 to 1.6 l of it."""
    return write_volume(path, head(seed), np.diag([7.0, 7.0, 14.0, 1.0]))


def _waves(seed: int, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return (H, W) in [0.6, 1], smooth."""
    generator = np.random.default_rng(seed)
    rows, columns = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])
    waves = sum(np.cos(a * rows + b * columns + c) for a, b, c in generator.uniform(-4, 4, (4, 3)))
    return np.asarray(0.8 + 0.05 * waves)


def _spot(size: tuple[int, int]) -> tuple[slice, slice]:
    height, width = size
    return slice(height // 2, height // 2 + 8), slice(width // 2, width // 2 + 8)


def _save(path: Path, image: npt.NDArray[np.float64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(path)
    return path
