"""What a model knows of healthy images: the record `calibration.json`.

It says what healthy images that the model has not learnt from score, the yardstick of every later score, and what they
look like, by which an image of another kind is told.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field, model_validator

from upd_zoo.artefact.appearance import (
    SIDE,
    Figure,
    Figures,
    Turn,
    joined_figures,
    likeness,
    median_figures,
    turned,
    turns_of,
)
from upd_zoo.artefact.record import Fraction, Record
from upd_zoo.artefact.records import EXPORT_AGAIN
from upd_zoo.artefact.subjects import HIGHEST, SubjectRule


def _rising(numbers: list[float]) -> list[float]:
    if any(after < before for before, after in pairwise(numbers)):
        raise ValueError("quantiles rise with their level")
    return numbers


class Quantiles(Record):
    """An empirical distribution: `values[i]` is its quantile at `levels[i]`, from `count` observations."""

    count: int
    levels: Annotated[list[Fraction], Field(min_length=1), AfterValidator(_rising)]
    values: Annotated[list[float], Field(min_length=1), AfterValidator(_rising)]

    @model_validator(mode="after")
    def _as_long_as_each_other(self) -> Self:
        if len(self.levels) != len(self.values):
            raise ValueError(f"{len(self.levels)} levels have {len(self.values)} values")
        return self

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], levels: list[float]) -> Self:
        """Return the quantiles of some values at some levels."""
        return cls(count=values.size, levels=levels, values=np.quantile(values, levels).astype(float).tolist())

    def at(self, level: float) -> float:
        """Return the quantile at one of the levels."""
        return self.values[self.levels.index(level)]

    def percentile(self, value: float) -> float:
        """Return the percentage in [0, 100] of the distribution that lies below `value`, interpolated."""
        if value <= self.values[0]:
            return 100 * self.levels[0]
        for index in range(1, len(self.values)):
            low, high = self.values[index - 1], self.values[index]
            if value <= high:
                part = (value - low) / (high - low)
                return 100 * (self.levels[index - 1] + part * (self.levels[index] - self.levels[index - 1]))
        return 100 * self.levels[-1]


LOOK_LEVELS: Final = [0.0, 0.05, 0.5, 0.95, 1.0]
"""Levels of the quantiles that say what healthy images look like."""

Row = Annotated[list[Fraction], Field(min_length=SIDE, max_length=SIDE)]
Channel = Annotated[list[Row], Field(min_length=SIDE, max_length=SIDE)]


class Look(Record):
    """How the figures of healthy images are distributed.

    Attributes:
        tissue: As in `upd_zoo.artefact.appearance.Figures`, and so are the next four.
        likeness: To the mean picture of all other subjects.
        lead: How much liker to it an image is than the same image turned, by turn.
    """

    tissue: Quantiles
    mean: Quantiles
    spread: Quantiles
    entropy: Quantiles
    texture: Quantiles
    likeness: Quantiles
    lead: dict[Turn, Quantiles]


class Appearance(Record):
    """What healthy images look like, as the model sees them.

    Attributes:
        picture: (C, 16, 16), the mean over subjects.
        images: Of each image by itself, such as a photograph.
        subjects: Of all images of a subject together, such as the slices of a volume: the median of their figures, and
            their mean picture.
    """

    picture: Annotated[list[Channel], Field(min_length=1, max_length=3)]
    images: Look
    subjects: Look


class Calibration(Record):
    """What healthy images that the model was not trained on score and look like.

    Attributes:
        dataset: Which healthy images.
        image_scores: Score of each image (each slice of a volume).
        subject_rule: How scores of a subject's images become its own.
        subject_scores: Score of each subject; what a volume is compared with.
        map_values: Map values of the foreground pixels.
        appearance: What they look like.
        false_positive_rate: Share of healthy cases above the thresholds, as aimed at.
        folds: How many models judged the images, each those of subjects that it alone had not learnt from; 0 where the
            model itself did, which had learnt from none of them.
    """

    remedy: ClassVar[str] = EXPORT_AGAIN
    schema_: Literal["upd-zoo/calibration/2"] = Field(default="upd-zoo/calibration/2", alias="schema")
    dataset: str
    image_scores: Quantiles
    subject_rule: SubjectRule = HIGHEST
    subject_scores: Quantiles
    map_values: Quantiles
    appearance: Appearance
    false_positive_rate: Fraction
    image_threshold: float
    subject_threshold: float
    map_threshold: float
    folds: int = 0


def appearance_of(figures: Figures, pictures: Figure, subjects: Sequence[str]) -> Appearance:
    """Return what healthy images look like.

    Args:
        figures: Of the N images.
        pictures: (N, C, 16, 16), the images made coarse.
        subjects: Subject of each of them.
    """
    names = list(dict.fromkeys(subjects))
    groups = [np.flatnonzero(np.array(subjects) == name) for name in names]
    means = np.stack([pictures[group].mean(axis=0) for group in groups])
    others = (means.sum(axis=0) - means) / (len(means) - 1) if len(means) > 1 else means
    medians = joined_figures([_of_group(figures, group) for group in groups])
    place = {name: row for row, name in enumerate(names)}
    return Appearance(
        picture=means.mean(axis=0).round(4).tolist(),
        images=_look(figures, pictures, others[[place[name] for name in subjects]]),
        subjects=_look(medians, means, others),
    )


def _of_group(figures: Figures, group: npt.NDArray[np.intp]) -> Figures:
    return median_figures(Figures(*(values[group] for values in figures)))


def _look(figures: Figures, pictures: Figure, others: Figure) -> Look:
    """Return the distributions of figures, and of the likeness of each picture to that of the others."""
    like = np.array([likeness(*pair) for pair in zip(pictures, others, strict=True)])
    lead = {
        turn: like - [likeness(turned(own, turn), other) for own, other in zip(pictures, others, strict=True)]
        for turn in turns_of(pictures.shape[1])
    }
    return Look(
        **{name: Quantiles.of(values, LOOK_LEVELS) for name, values in figures._asdict().items()},
        likeness=Quantiles.of(like, LOOK_LEVELS),
        lead={turn: Quantiles.of(values, LOOK_LEVELS) for turn, values in lead.items()},
    )
