"""How a map becomes the score of its image, for arrays; `upd_zoo.detector` does the same inside a graph."""

import numpy as np
import numpy.typing as npt

from upd_zoo.vocabulary import ScoreRule

Array = npt.NDArray[np.float32]


def scores_of(maps: Array, rule: ScoreRule) -> Array:
    """Return the scores (B,) of maps (B, ..., H, W): the highest value of each, or its mean.

    Args:
        maps: Higher is more anomalous.
        rule: Which of the two. Source: cards/study.md, section 1.4.
    """
    reduce = np.max if rule is ScoreRule.MAXIMUM else np.mean
    return np.asarray(reduce(maps, axis=tuple(range(1, maps.ndim))))
