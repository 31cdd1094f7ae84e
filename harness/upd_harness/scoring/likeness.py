"""Is an input of the kind that a model knows? One check of every input against what healthy images look like.

A model scores whatever it is given, and what it has never seen scores high: a negative, a picture on its head, a chest
film given to a brain model, a label map that lies among the scans. Export records what the images of healthy validation
subjects look like (`upd_zoo.artefact.calibration.Appearance`); what lies far outside of that is said, and what cannot
be such an image at all is refused.

The limits were widened until other healthy images passed. Measured with the validation stores of six domains as what is
known (phantoms of T1, T2, chest and fundus, NIH chest films, IDRiD; 15 to 57 cases) on 55 to 304 other healthy cases of
each: 6 of 304 NIH films are warned of, and none of 658 others; none is refused. Of 1,660 slices of healthy phantoms
given as single pictures, 0.7 % are warned of and 1 is refused. Of 525 diseased cases 1 is warned of, none refused.
Caught in the same stores: masks, label maps, black and constant images, noise, negatives and swapped colours, all;
upside down, all brains and 98 % of chest films, but no eye, which has no up.
"""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from upd_harness.scoring.inputs import Input
from upd_zoo.artefact.appearance import Figure, Turn, coarse, figures_of, likeness, median_figures, turned
from upd_zoo.artefact.calibration import Look, Quantiles
from upd_zoo.caution import Caution, CautionCode
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.runtime.model import Array, Model
from upd_zoo.vocabulary import Foreground

_FEWEST_SUBJECTS: Final = 4
"""Of whom ranges can be known; with 4 of 15 subjects drawn at random, 0.5 % of other healthy brains lay outside."""
_BEYOND: Final = 3.0
"""How far a figure may lie beyond its 5 or 95 % quantile, in units of their distance from the median."""
_SLACK: Final = 0.1
"""How much farther still, as a share of the median: the spread of few subjects is too small."""
_LEAST_LEAD: Final = 0.02
"""By how much 95 % of healthy images must be liker upright than turned for a turn to be told: an eye has no up."""
_LEAST_ENTROPY: Final = 4.5
"""Bits of a picture of an organ. 16 labels hold 4; the least of all healthy images measured was 5.7."""
_LEAST_LEVELS: Final = math.ceil(2**_LEAST_ENTROPY)
"""Values that can hold so many bits."""
_MOST_TISSUE: Final = 0.9
"""Share of a square that a brain in it can fill: an ellipse fills 0.79."""


class _Seen(NamedTuple):
    """An input in figures, what it is compared with, and the pixels of one of its images."""

    figures: dict[str, float]
    picture: Figure
    usual: Figure
    look: Look
    pixels: int

    @property
    def likeness(self) -> float:
        return likeness(self.picture, self.usual)

    def likeness_turned(self, turn: Turn) -> float:
        return likeness(turned(self.picture, turn), self.usual)


def doubts(source: Input, images: Array, model: Model, *, levels: int) -> list[Caution]:
    """Return what makes an input unlike the healthy images that a model knows; nothing where all is as usual.

    Args:
        source: The input; the slices of a volume are judged together.
        images: (N, C, H, W) float32 in [0, 1], what the model sees of it.
        model: The model.
        levels: How many values or colours the file has (`levels_of`): reduced, a mask gets soft edges.

    Raises:
        InputError: `implausible`, it can be no image of this kind at all.
    """
    return compare(source, images, model, levels=levels).cautions


class Compared(NamedTuple):
    """An input beside the healthy images that a model knows.

    Attributes:
        is_kind: Whether it is laid out as they are, and of a scan whether its contrast is theirs: whether it shows what
            they show, healthy or not.
        likeness: To their mean picture; 1 at most.
        doubts: In what it is unlike them, as parts of a sentence.
        model: Name of the model.
    """

    is_kind: bool
    likeness: float
    doubts: list[str]
    model: str

    @property
    def cautions(self) -> list[Caution]:
        """What the user should know where it is scored all the same."""
        if not self.doubts:
            return []
        message = f"It is unlike the healthy images that {self.model} knows: {'; '.join(self.doubts)}. {_REMEDY}"
        return [Caution(CautionCode.UNLIKE, message)]


def compare(source: Input, images: Array, model: Model, *, levels: int) -> Compared:
    """Compare an input with the healthy images that a model knows.

    Args:
        source: The input; the slices of a volume are judged together.
        images: (N, C, H, W) float32 in [0, 1], what the model sees of it.
        model: The model.
        levels: How many values or colours the file has (`levels_of`).

    Raises:
        InputError: `implausible`, it can be no image of this kind at all.
    """
    if not len(images):
        return Compared(False, 0.0, [], model.config.id)
    seen = _see(images, model, source.is_volume)
    _check_image(source.name, seen, levels, without_background=_needs_background(model) and not source.is_volume)
    if seen.look.tissue.count < _FEWEST_SUBJECTS:
        return Compared(False, seen.likeness, [], model.config.id)
    turns, outside = [*_turns(seen)], dict(_outside(seen))
    is_laid_out = seen.likeness >= _LEAST_LIKENESS * seen.look.likeness.at(0.05)
    is_contrast = model.config.scale is None or _CONTRAST not in outside
    is_kind = not turns and is_laid_out and is_contrast
    return Compared(is_kind, seen.likeness, [*turns, *outside.values()], model.config.id)


_CONTRAST: Final = "mean"
"""Scans are scaled by their own tissue, so that its mean tells no gain of a scanner but the contrast: that of 14 brains
of IXI, T1, is 0.58 to 0.63; of two patients of Open MS, scored as they are, 0.51 and 0.61 in T1, and 0.30 and 0.37 in
T2. Their layout tells nothing: in both contrasts they are as like the mean brain of IXI (0.97 to 0.99)."""
_LEAST_LIKENESS: Final = 0.7
"""Of the 5 % quantile of healthy images: below, an image is not taken for one of their kind unless the user says so.

Measured with the validation stores of IDRiD and NIH as what is known: none of 467 eyes and 16 of 736 chest films are
turned away, those of children and of badly aimed beams; of 13 colour pictures of other things (a cat, a cup of coffee,
people, stained tissue) all are, and of 27 grey ones (these and others) all but a rocket.
"""
_REMEDY: Final = "Its score means little: check that it is such an image, prepared as they were."


def _see(images: Array, model: Model, is_volume: bool) -> _Seen:
    appearance = model.calibration.appearance
    figures = figures_of(images)
    if is_volume:
        figures = median_figures(figures)
    picture = coarse(images).mean(axis=0)
    told = {figure: float(values[0]) for figure, values in figures._asdict().items()}
    look = appearance.subjects if is_volume else appearance.images
    return _Seen(told, picture, np.array(appearance.picture), look, images[0, 0].size)


def _needs_background(model: Model) -> bool:
    return model.config.foreground is Foreground.ABOVE_MINIMUM


def _check_image(name: str, seen: _Seen, levels: int, *, without_background: bool) -> None:
    """Refuse what has one value everywhere, no background where there must be one, or a few values only."""
    tissue, entropy = seen.figures["tissue"], seen.figures["entropy"]
    # So few pixels cannot hold more than the logarithm of their number.
    least = min(_LEAST_ENTROPY, 0.5 * math.log2(max(1, tissue * seen.pixels)))
    problem, accepted, next_step = "", "", "keep it out of the folder"
    if tissue == 0 and levels < _LEAST_LEVELS:
        problem, accepted = "it has one grey level everywhere", "an image that shows something"
    elif without_background and tissue > _MOST_TISSUE:
        inverted = ", and it may be inverted" if seen.likeness_turned(Turn.INVERTED) > seen.likeness else ""
        problem = f"it has no dark background around a brain: {tissue:.0%} of it is brighter{inverted}"
        accepted = "a slice of a skull-stripped brain, 0 around it"
    elif levels < _LEAST_LEVELS and min(entropy, math.log2(levels)) < least:
        problem = f"it looks like a mask or a label map: its {levels} values hold {math.log2(levels):.1f} bits at most"
        accepted = f"an image, whose grey levels hold at least {_LEAST_ENTROPY:g}"
    elif tissue == 0 or entropy < least:
        problem = f"nearly all of its {levels} values fall into a few of the model's grey levels ({entropy:.1f} bits)"
        accepted = f"an image, whose grey levels hold at least {_LEAST_ENTROPY:g}"
        next_step = "save an image with its values spread over all of its range; keep a label map out of the folder"
    if problem:
        raise InputError(InputErrorCode.IMPLAUSIBLE, f"{name}: {problem}", accepted, next_step)


def _turns(seen: _Seen) -> Iterator[str]:
    """Yield what seems to have been done to it: the turn that makes it likest, where healthy images would tell."""
    best = max(seen.look.lead, key=seen.likeness_turned)
    least = seen.look.lead[best].at(0.05)
    if least >= _LEAST_LEAD and seen.likeness_turned(best) - seen.likeness > least / 2:
        looks, otherwise = _TURNED[best]
        yield (
            f"it looks {looks}, for it is more like their mean {otherwise} ({seen.likeness_turned(best):.2f}) "
            f"than as it is ({seen.likeness:.2f})"
        )


_TURNED: Final = {
    Turn.INVERTED: ("inverted", "as a negative"),
    Turn.UPSIDE_DOWN: ("upside down", "turned over"),
    Turn.QUARTER_LEFT: ("turned by a quarter to the right", "turned back"),
    Turn.QUARTER_RIGHT: ("turned by a quarter to the left", "turned back"),
    Turn.COLOURS_REVERSED: ("as if red and blue were swapped", "with them swapped back"),
}


def _outside(seen: _Seen) -> Iterator[tuple[str, str]]:
    """Yield each figure that lies far outside of those of healthy images, and how."""
    for figure, (below, above, shown) in _WORDS.items():
        value = seen.likeness if figure == "likeness" else seen.figures[figure]
        healthy: Quantiles = getattr(seen.look, figure)
        low, high = _limits(healthy, figure)
        if not low <= value <= high:
            words = below if value < low else above
            lowest, highest = (shown.format(healthy.at(level)) for level in (0.0, 1.0))
            yield figure, f"it {words} ({shown.format(value)}, theirs {lowest} to {highest})"


_WORDS: Final = {
    "tissue": ("shows less tissue", "shows more tissue", "{:.0%}"),
    "mean": ("is darker", "is brighter", "{:.2f}"),
    "spread": ("has less contrast", "has more contrast", "{:.3f}"),
    "entropy": ("has fewer grey levels", "has more grey levels", "{:.1f} bits"),
    "texture": ("is smoother", "is noisier", "{:.2f}"),
    "likeness": ("is laid out differently", "is too close to their mean", "{:.2f}"),
}


def _limits(healthy: Quantiles, figure: str) -> tuple[float, float]:
    """Return what lies far outside: by differences, and by ratios where these are narrower.

    By differences no film could be too dark or too bright: the limits of the mean of NIH films and of IDRiD lay below
    0, or above 1. By ratios films at a quarter of their brightness are told, 120 of 120, eyes at a fifth, 115 of 120,
    and none of 784 unchanged. Of films at three times their brightness 82 % are told (before, none), of eyes 57 %
    (33 %), and none of 641 other healthy images of four domains.
    """
    low, usual, high = (healthy.at(level) for level in (0.05, 0.5, 0.95))
    slack = _SLACK * abs(usual)
    lowest, highest = low - _BEYOND * (usual - low) - slack, high + _BEYOND * (high - usual) + slack
    if figure != "likeness" and low > 0:
        lowest = low * (low / usual) ** _BEYOND * (1 - _SLACK)
    if figure == "mean":
        highest = min(highest, 1 - (1 - high) * ((1 - high) / (1 - usual)) ** _BEYOND * (1 - _SLACK))
    return lowest, highest
