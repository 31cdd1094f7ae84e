"""What healthy images that a model has not learnt from score and look like: the yardstick of every later one."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.appearance import Figure, Figures, coarse, figures_of, joined_figures
from upd_zoo.artefact.calibration import Calibration, Quantiles, appearance_of
from upd_zoo.artefact.subjects import HIGHEST, SubjectRule
from upd_zoo.images.foreground import inside
from upd_zoo.vocabulary import Foreground

Array = npt.NDArray[np.float32]

FALSE_POSITIVE_RATE: Final = 0.05
_LEVELS: Final = [*np.linspace(0, 0.95, 20).round(2).tolist(), 0.96, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0]
_MAPS_KEPT: Final = 256
"""Maps whose values are kept for quantiles, up to twice as many; of 128² values, 16 to 32 MB."""


class Yardstick:
    """Gathers healthy images, batch by batch, in memory that does not grow with their maps.

    Args:
        foreground: Which pixels can be anomalous; the others are left out of the map's quantiles.
        rule: How scores of a subject's images become its own.
        erosion: Pixels by which tissue is eroded before it is the foreground.
    """

    def __init__(self, foreground: Foreground, rule: SubjectRule = HIGHEST, erosion: int = 0) -> None:
        self.foreground, self.rule, self.erosion = foreground, rule, erosion
        self.subjects: list[str] = []
        """Of each image."""
        self._scores: list[npt.NDArray[np.float64]] = []
        self._tissue: list[npt.NDArray[np.float64]] = []
        self._figures: list[Figures] = []
        self._pictures: list[Figure] = []
        self._values: list[Array] = []
        self._every = 1

    def add(self, images: Array, maps: Array, scores: Array, subjects: Sequence[str]) -> None:
        """Take in some images.

        Args:
            images: (B, C, H, W) float32 in [0, 1].
            maps: (B, H, W) of them.
            scores: (B,) of them.
            subjects: B names; images of a subject may come at different times.
        """
        shown = inside(images, self.foreground, self.erosion)
        for row in range(-len(self.subjects) % self._every, len(images), self._every):
            self._values.append(maps[row][shown[row]])
        while len(self._values) >= 2 * _MAPS_KEPT:
            self._values, self._every = self._values[::2], 2 * self._every
        self.subjects += subjects
        self._scores.append(scores.astype(np.float64))
        self._tissue.append(inside(images, self.foreground).mean(axis=(1, 2)))
        self._figures.append(figures_of(images))
        self._pictures.append(coarse(images))

    @property
    def image_scores(self) -> npt.NDArray[np.float64]:
        """(N,) of the images so far."""
        return np.concatenate(self._scores)

    @property
    def subject_scores(self) -> npt.NDArray[np.float64]:
        """(S,) of the subjects so far, in the order in which they came."""
        scores, tissue, names = self.image_scores, np.concatenate(self._tissue), np.array(self.subjects)
        groups = [np.flatnonzero(names == name) for name in dict.fromkeys(self.subjects)]
        return np.array([self.rule.score(scores[group], tissue[group]) for group in groups])

    def calibration(self, dataset: str, rate: float = FALSE_POSITIVE_RATE) -> Calibration:
        """Return the distribution of scores, map values and looks, with thresholds.

        Args:
            dataset: What the images are called.
            rate: Share of images, of subjects and of pixels above their threshold.
        """
        images, subjects, values = self.image_scores, self.subject_scores, np.concatenate(self._values)
        level = 1 - rate
        return Calibration(
            dataset=dataset,
            image_scores=Quantiles.of(images, _LEVELS),
            subject_rule=self.rule,
            subject_scores=Quantiles.of(subjects, _LEVELS),
            map_values=Quantiles.of(values, _LEVELS),
            appearance=appearance_of(joined_figures(self._figures), np.concatenate(self._pictures), self.subjects),
            false_positive_rate=rate,
            image_threshold=float(np.quantile(images, level)),
            subject_threshold=float(np.quantile(subjects, level)),
            map_threshold=float(np.quantile(values, level)),
        )
