"""What a model must answer: a few images with the map and score that the eager model gave where it was exported.

    proof/image.npy          (3, C, H, W) float32
    proof/anomaly_map.npy    (3, 1, H, W) float32
    proof/score.npy          (3,) float32

Whoever runs the model elsewhere, by another runtime, version or precision, learns from them how far it is from that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.records import Config
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.vocabulary import Access, Foreground

PROOF: Final = tuple(f"proof/{name}.npy" for name in ("image", "anomaly_map", "score"))
_COUNT: Final = 3
_SEED: Final = 0
_NOISE: Final = 0.02
_LESION: Final = 0.3
"""What is added to the pixels of a disc in the last image."""

Pixels = npt.NDArray[np.float32]


class HasImages(Protocol):
    """Something that has images (N, C, H, W) in [0, 1], such as a store."""

    @property
    def images(self) -> Pixels:
        """The images."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Images and what the eager model answers; see the module for shapes."""

    images: Pixels
    maps: Pixels
    scores: Pixels

    def write(self, folder: Path) -> None:
        """Write it into an artefact's folder."""
        for name, array in zip(PROOF, (self.images, self.maps, self.scores), strict=True):
            (folder / name).parent.mkdir(exist_ok=True)
            np.save(folder / name, np.ascontiguousarray(array, np.float32), allow_pickle=False)

    @classmethod
    def read(cls, folder: Path, config: Config) -> "Proof":
        """Return what lies in an artefact's folder.

        Raises:
            IntegrityError: A file cannot be read, or does not fit the model.
        """
        images, maps, scores = (_read(folder / name, "pull it again") for name in PROOF)
        count, size = len(images), (config.input.height, config.input.width)
        shapes = (count, config.input.channels, *size), (count, 1, *size), (count,)
        if count == 0 or (images.shape, maps.shape, scores.shape) != shapes:
            raise IntegrityError(f"what {config.id} must answer does not fit it", f"arrays of the shapes {shapes}")
        return cls(images, maps, scores)

    def answered(self, folder: Path) -> "Proof":
        """Return the same images with what another runtime answers: `anomaly_map.npy` and `score.npy` in a folder.

        Raises:
            NotFoundError: A file of them is not there.
            IntegrityError: One cannot be read, or its shape is another.
        """
        found = []
        for name, own in zip(PROOF[1:], (self.maps, self.scores), strict=True):
            path = folder / Path(name).name
            accepted = f"float32 numbers of the shape {own.shape}, the answers to {PROOF[0]} of the model"
            if not path.is_file():
                raise NotFoundError(f"{folder} holds no {path.name}", accepted, _ANSWER)
            found.append(_read(path, _ANSWER))
            if found[-1].shape != own.shape:
                raise IntegrityError(f"{path.name} has the shape {found[-1].shape}", accepted, _ANSWER)
        return Proof(self.images, *found)


_ANSWER: Final = "run the model on its proof/image.npy, and write both outputs with numpy.save"


def images_of(config: Config, calibration: Calibration, validation: HasImages) -> Pixels:
    """Return images (3, C, H, W) that may be given away with a model.

    Of open and synthetic data they are evenly spaced validation images. Of all others nothing is given away but what
    the calibration tells anyway: its mean picture, 16 pixels wide, with noise, the last one with a disc.
    """
    if config.images.access in (Access.OPEN, Access.SYNTHETIC):
        rows = np.unique(np.linspace(0, len(validation.images) - 1, _COUNT).astype(int))
        return np.array(validation.images[rows], np.float32)
    return drawn_like(config, calibration)


def drawn_like(config: Config, calibration: Calibration) -> Pixels:
    """Return images (3, C, H, W) drawn from the mean picture of healthy ones."""
    picture = np.array(calibration.appearance.picture, np.float32)  # (C, 16, 16)
    side, generator = config.input.side, np.random.default_rng(_SEED)
    smooth = _widened(_widened(picture, side, 1), side, 2)
    noise = generator.normal(0, _NOISE, (_COUNT, *smooth.shape)).astype(np.float32)
    rows, columns = np.mgrid[:side, :side] / side
    disc = (rows - 0.45) ** 2 + (columns - 0.6) ** 2 < 0.05**2
    images: Pixels = np.clip(smooth + noise, 0, 1)
    images[-1] = np.clip(images[-1] + _LESION * disc, 0, 1)
    if config.foreground is Foreground.EVERYWHERE:
        return images
    return np.asarray(np.where(smooth > 2 * _NOISE, images, 0), np.float32)


def _widened(picture: Pixels, side: int, axis: int) -> Pixels:
    """Return a picture with so many pixels along an axis, interpolated between the centres of its own."""
    length = picture.shape[axis]
    places = (np.arange(side) + 0.5) * length / side - 0.5
    found = np.apply_along_axis(lambda line: np.interp(places, np.arange(length), line), axis, picture)
    return np.asarray(found, np.float32)


def _read(path: Path, next_step: str) -> Pixels:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{path.name} cannot be read: {error}", "an array of numbers", next_step) from None
    if found.dtype != np.float32 or not np.isfinite(found).all():
        raise IntegrityError(f"{path.name} holds no finite float32 numbers", "an array of them", next_step)
    return np.asarray(found)
