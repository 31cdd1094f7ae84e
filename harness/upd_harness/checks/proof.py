"""A model proves itself: it is run here on images whose answers it brings, and the difference is told."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upd_zoo.artefact.calibration import Calibration, Quantiles
from upd_zoo.artefact.proof import Proof
from upd_zoo.artefact.records import Parity
from upd_zoo.runtime.model import Array, Model, Predict
from upd_zoo.runtime.parity import compare


@dataclass(frozen=True, slots=True)
class Proven:
    """How far a model is, as it runs somewhere, from what it must answer.

    Attributes:
        rows: Differences for each size of a batch that was run.
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
    batches = sorted({1, len(proof.images)})
    rows = compare(_expected(proof), {model.backend: model.network}, proof.images, batches, _least(recorded))
    _, scores = model.network(proof.images)
    return _proven(rows, scores, proof, model.calibration)


def judge(answered: Proof, proof: Proof, calibration: Calibration, recorded: Sequence[Parity]) -> Proven:
    """Hold what another runtime answers against what a model must answer.

    Args:
        answered: The same images with its answers.
        proof: Images and answers.
        calibration: What healthy images score.
        recorded: The differences that were measured where it was exported.
    """
    given = {"answers": _expected(answered)}
    rows = compare(_expected(proof), given, proof.images, [len(proof.images)], _least(recorded))
    return _proven(rows, answered.scores, proof, calibration)


def _expected(proof: Proof) -> Predict:
    """Return a model that knows the answers to its first images, and nothing else."""
    return lambda images: (proof.maps[: len(images)], proof.scores[: len(images)])


def _least(recorded: Sequence[Parity]) -> float | None:
    return next((row.least_rank_correlation for row in recorded), None)


def _proven(rows: Sequence[Parity], scores: Array, proof: Proof, calibration: Calibration) -> Proven:
    threshold, known = calibration.image_threshold, calibration.image_scores
    turned = int(((scores > threshold) != (proof.scores > threshold)).sum())
    moved = max(row.score_difference for row in rows)
    return Proven(rows, turned, known.count, _between(known, threshold - moved, threshold + moved))


def _between(known: Quantiles, low: float, high: float) -> int:
    """Return how many cases of a distribution have a score between two, rounded up."""
    share = known.percentile(high) - known.percentile(low)
    return int(np.ceil(round(known.count * share / 100, 6)))
