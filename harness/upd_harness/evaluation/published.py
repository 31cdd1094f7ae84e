"""What the study printed, as data: `published.toml`."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from upd_zoo.artefact.metrics import METRICS

TABLES: Final = {"table-ii": False, "table-iii": False, "table-iv": True, "table-v": True}
"""The tables of scores, and whether their models start from CCD."""


def published(item: str) -> dict[str, Any]:
    """Return what the study printed in a table or figure; nothing where it printed no numbers."""
    printed: dict[str, Any] = _all().get(item, {})
    return printed


def printed_of(method: str, test_set: str, *, ccd: bool) -> dict[str, float]:
    """Return what the study printed of one method on one test set, by metric; nothing where it printed nothing.

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


@cache
def _all() -> dict[str, Any]:
    return tomllib.loads((files("upd_harness") / "published.toml").read_text(encoding="utf-8"))
