"""What the study printed of one method on one test set, to stand beside what a model of ours scores there."""

from upd_harness.reproduce.result import published
from upd_harness.reproduce.scores import TABLES
from upd_zoo.artefact.metrics import METRICS


def printed_of(method: str, test_set: str, *, ccd: bool) -> dict[str, float]:
    """Return what the study printed, by metric; nothing where it printed nothing.

    Args:
        method: Its id.
        test_set: Which.
        ccd: Whether the method started from CCD pre-training.
    """
    for item, of_ccd in TABLES.items():
        row = published(item)["printed"].get(method, {}).get(test_set)
        if row is not None and of_ccd is ccd:
            return {metric.id: float(value) for metric, value in zip(METRICS, row, strict=False)}
    return {}
