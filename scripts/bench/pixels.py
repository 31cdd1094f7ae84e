"""How fast pixels are tallied and subjects drawn, beside scikit-learn."""

import time
import tracemalloc
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from figures import Figure, resident, say, seconds_of
from upd_harness.evaluation.resampling import draws, pixel_draws
from upd_harness.evaluation.subjects import SubjectTally
from upd_harness.evaluation.tally import ScoreTally

_ANOMALOUS: Final = 0.03
_BLOCK: Final = 1 << 20
_SUBJECTS: Final = 100


def metrics(pixels: int) -> list[Figure]:
    """Compare the tally of pixels with scikit-learn, in time, memory and value."""
    say(f"{pixels} pixels: tally")
    scores, mask = _pixels(pixels)
    ScoreTally().result()  # imports and first calls are not the tally's
    before = resident("VmRSS")
    tallied = seconds_of(partial(_tally, scores, mask))
    memory = {"resident memory": resident("VmHWM") - before} if before else {}
    tracemalloc.start()
    found = _tally(scores, mask)
    memory["allocations"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    say(f"{pixels} pixels: scikit-learn")
    reference, seconds = _reference(scores, mask)
    difference = max(abs(ours - theirs) for ours, theirs in zip(found, reference, strict=True))
    say(f"{pixels} pixels: draws of {_SUBJECTS} subjects")
    tracemalloc.start()
    _draw(scores, mask)
    drawing = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    drawn = seconds_of(partial(_draw, scores, mask))
    return [
        Figure("intervals: digests and 1,000 draws of 100 subjects", drawn, "s", 20, "lower"),
        Figure("intervals: peak allocations beyond the data", drawing / 1e6, "MB", 300, "lower"),
        Figure("intervals: time of scikit-learn for the values alone", seconds / drawn, "x"),
        Figure("AP_p and best Dice: tally", pixels / tallied / 1e6, "Mpixel/s"),
        Figure("AP_p and best Dice: scikit-learn", pixels / seconds / 1e6, "Mpixel/s"),
        Figure("AP_p and best Dice: tally / scikit-learn", seconds / tallied, "x", 15),
        Figure("AP_p and best Dice: largest difference", difference, "", 1e-5, "lower"),
        *(
            Figure(f"tally: peak {kind} beyond the data", size / 1e6, "MB", 200, "lower")
            for kind, size in memory.items()
        ),
    ]


def _pixels(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return scores all over [0, 1), the tally's hardest case, and their mask; made in blocks to leave no peak."""
    generator = np.random.default_rng(0)
    scores, mask = np.empty(count, np.float32), np.empty(count, bool)
    for start in range(0, count, _BLOCK):
        block, truth = scores[start : start + _BLOCK], mask[start : start + _BLOCK]
        generator.random(out=block, dtype=np.float32)
        truth[:] = generator.random(block.size, np.float32) < _ANOMALOUS
        block[truth] = np.sqrt(block[truth])
    return scores, mask


def _tally(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    tally = ScoreTally()
    tally.update(scores, mask)
    result = tally.result()
    dice = result.best_dice.dice if result.best_dice else None
    return result.average_precision or 0.0, dice or 0.0


def _draw(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> None:
    tally = SubjectTally()
    cut = [np.array_split(each, _SUBJECTS) for each in (scores, mask.view(np.uint8))]
    for subject, (values, truth) in enumerate(zip(*cut, strict=True)):
        tally.update(values.reshape(1, 1, -1), truth.reshape(1, 1, -1), [str(subject)])
    tally.close()
    pixel_draws(tally, draws(_SUBJECTS))


def _reference(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> tuple[tuple[float, float], float]:
    """Return AP_p and ⌈Dice⌉ as scikit-learn computes them, and in how many seconds."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    began = time.perf_counter()
    average_precision = float(average_precision_score(mask, scores))
    precision, recall, _ = precision_recall_curve(mask, scores)
    dice = float((2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)).max())
    return (average_precision, dice), time.perf_counter() - began
