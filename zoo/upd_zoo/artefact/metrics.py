"""What the study's four metrics are called and what they mean: one table for terminal, report, model card and grid.

Two more stand beside them where they were measured.

Of all of them, higher is better. How they are computed is `upd_harness.evaluation.metrics`' affair.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Metrics


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a result.

    Attributes:
        id: Its field of `upd_zoo.artefact.records.Metrics`.
        title: What people read; what follows an underscore is a subscript.
        meaning: What it measures.
        of_pixels: Whether it needs the truth of every pixel.
    """

    id: str
    title: str
    meaning: str
    of_pixels: bool = False


METRICS: Final = (
    Metric("ap_image", "AP_i", "average precision of the image scores"),
    Metric("auroc", "AUROC", "area under the ROC curve of the image scores"),
    Metric("ap_pixel", "AP_p", "average precision of the map values, pixel by pixel", of_pixels=True),
    Metric("dice", "best Dice", "⌈Dice⌉, the best Dice over all thresholds of the map", of_pixels=True),
)

STUDY_DICE: Final = Metric(
    "study_dice", "study's Dice", "the best Dice of the study's 100 evenly spaced thresholds", of_pixels=True
)
BESIDE: Final = (
    STUDY_DICE,
    Metric("aupro", "AUPRO", "share of each lesion found, over false-positive rates up to 0.3", of_pixels=True),
)
"""What is shown beside the four, where it was measured; results of older versions lack it."""


def shown(found: "Iterable[Metrics]") -> tuple[Metric, ...]:
    """Return the metrics that a table of results has: the four, and those beside them that any result has."""
    rows = list(found)
    return (*METRICS, *(each for each in BESIDE if any(getattr(row, each.id) is not None for row in rows)))


def figure(value: float | None) -> str:
    """Return a metric's value as tables show it."""
    return "n/a" if value is None else f"{value:.3f}"
