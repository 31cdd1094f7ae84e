"""How a synthetic brain looks in a scanner: tissue contrast, slow inhomogeneity, texture, noise, resolution."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from upd_zoo.phantoms.brain_anatomy import BOX, SHAPE, Head, Tissue, draw_waves, sum_of_waves
from upd_zoo.phantoms.brain_templates import Floats, smooth


class Weighting(StrEnum):
    """Which relaxation gives an MR image its contrast."""

    T1 = "t1"
    """Fluid dark, grey matter grey, white matter bright."""
    T2 = "t2"
    """Fluid bright, white matter darkest."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Intensities of the pure tissues, in [0, 1]."""

    fluid: float
    grey: float
    white: float

    def mix(self, fluid: float, grey: float, white: float) -> float:
        """Return the intensity of a mixture given by its fractions."""
        return fluid * self.fluid + grey * self.grey + white * self.white


_CONTRASTS = {Weighting.T1: Contrast(0.16, 0.58, 0.83), Weighting.T2: Contrast(0.86, 0.38, 0.27)}


def draw_contrast(generator: np.random.Generator, weighting: Weighting) -> Contrast:
    """Draw one scan's tissue intensities: a gain of all, and a deviation of each."""
    typical = _CONTRASTS[weighting]
    gain = generator.normal(1, 0.03)
    fluid, grey, white = gain * (np.array([typical.fluid, typical.grey, typical.white]) + generator.normal(0, 0.015, 3))
    return Contrast(float(fluid), float(grey), float(white))


def apply_contrast(contrast: Contrast, tissue: Tissue) -> Floats:
    """Return the intensity of every voxel of a brain, (P,) float32."""
    pure = tissue.fluid * contrast.fluid + tissue.grey * contrast.grey + tissue.white * contrast.white
    return np.asarray(pure + tissue.detail * (contrast.white - contrast.grey), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """What the scanner adds to one scan.

    Attributes:
        waves: (N, 3) radians per mm, of the receive field.
        phases: (N,) radians.
        inhomogeneity: Standard deviation of the receive field around 1.
        texture: Standard deviation of tissue around its mean, a fraction of the signal, correlated over 2 voxels.
        noise: Standard deviation of each of the two channels whose magnitude is the image.
        blur: Voxels, width of the point spread function.
        noise_seed: Seed of texture and noise.
    """

    waves: Floats
    phases: Floats
    inhomogeneity: float
    texture: float
    noise: float
    blur: float
    noise_seed: int


def draw_acquisition(generator: np.random.Generator) -> Acquisition:
    """Draw one scan's imperfections."""
    return Acquisition(
        waves=draw_waves(generator, 4, 260.0),
        phases=np.asarray(generator.uniform(0, 2 * np.pi, 4), np.float32),
        inhomogeneity=float(generator.uniform(0.02, 0.07)),
        texture=float(generator.uniform(0.02, 0.035)),
        noise=float(generator.uniform(0.01, 0.025)),
        blur=float(generator.uniform(0.38, 0.5)),
        noise_seed=int(generator.integers(2**63)),
    )


def apply_acquisition(acquisition: Acquisition, head: Head, signal: Floats) -> Floats:
    """Return the skull-stripped scan, (X, Y, Z) float32 in [0, 1], exactly 0 outside the brain.

    Args:
        acquisition: The scan's imperfections.
        head: Where the brain lies.
        signal: (P,) noiseless intensity of its voxels.
    """
    generator = np.random.default_rng(acquisition.noise_seed)
    brain = head.brain[BOX]
    receive = 1 + acquisition.inhomogeneity * sum_of_waves(head.points, acquisition.waves, acquisition.phases)
    texture = smooth(generator.standard_normal(brain.shape, np.float32), 0.9)[brain]
    signal = signal * receive * (1 + np.float32(acquisition.texture) * texture / texture.std())
    real, imaginary = np.float32(acquisition.noise) * generator.standard_normal((2, signal.size), np.float32)
    volume = np.zeros(brain.shape, np.float32)
    volume[brain] = np.hypot(signal + real, imaginary)
    image = np.zeros(SHAPE, np.float32)
    # A dark voxel must still count as tissue, which is whatever lies above the background.
    image[BOX] = np.where(brain, smooth(volume, acquisition.blur).clip(1 / 255, 1), 0)
    return image
