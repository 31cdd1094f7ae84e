"""What the study's four metrics are called and what they mean: one table for terminal, report, model card and grid.

Of all of them, higher is better. How they are computed is `upd_harness.evaluation.metrics`' affair.
"""

from dataclasses import dataclass
from typing import Final


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


def figure(value: float | None) -> str:
    """Return a metric's value as tables show it."""
    return "n/a" if value is None else f"{value:.3f}"
