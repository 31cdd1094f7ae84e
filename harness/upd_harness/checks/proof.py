"""A model proves itself: it is run here on images whose answers it brings, and the difference is told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upd_zoo.artefact.calibration import Quantiles
from upd_zoo.artefact.proof import Proof
from upd_zoo.artefact.records import Parity
from upd_zoo.runtime.model import Model
from upd_zoo.runtime.parity import compare


@dataclass(frozen=True, slots=True)
class Proven:
    """How far a model is, as it runs here, from what it must answer.

    Attributes:
        rows: Differences in batches of one, and of all images at once.
        turned: How many of these images change sides of the threshold.
        cases: Healthy images that the threshold comes from.
        at_most: How many of them can change sides, if their scores move by as much as the largest difference.
    """

    rows: Sequence[Parity]
    turned: int
    cases: int
    at_most: int

    @property
    def passed(self) -> bool:
        """Whether every difference lies within the tolerance."""
        return all(row.passed for row in self.rows)


def prove(model: Model, proof: Proof, recorded: Sequence[Parity]) -> Proven:
    """Run a model on what it must answer.

    Args:
        model: As it runs here.
        proof: Images and answers.
        recorded: The differences that were measured where it was exported.
    """
    least = next((row.least_rank_correlation for row in recorded), None)

    def expected(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return proof.maps[: len(images)], proof.scores[: len(images)]

    batches = sorted({1, len(proof.images)})
    rows = compare(expected, {model.backend: model.network}, proof.images, batches, least)
    _, scores = model.network(proof.images)
    threshold, known = model.calibration.image_threshold, model.calibration.image_scores
    turned = int(((scores > threshold) != (proof.scores > threshold)).sum())
    moved = max(row.score_difference for row in rows)
    return Proven(rows, turned, known.count, _between(known, threshold - moved, threshold + moved))


def _between(known: Quantiles, low: float, high: float) -> int:
    """Return how many cases of a distribution have a score between two, rounded up."""
    share = known.percentile(high) - known.percentile(low)
    return int(np.ceil(round(known.count * share / 100, 6)))
