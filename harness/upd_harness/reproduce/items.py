"""What can be reproduced: the tables and figures of the study by their names."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from upd_harness.reproduce.fig_1 import reproduce_fig_1
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.order import Order, columns, usual_material
from upd_harness.reproduce.result import Reproduction, published
from upd_harness.reproduce.score_tables import reproduce_scores
from upd_harness.reproduce.scores import TABLES
from upd_harness.reproduce.table_i import reproduce_table_i
from upd_zoo.errors import UsageError, closest
from upd_zoo.progress import Report, silent
from upd_zoo.vocabulary import Protocol

ITEMS: Final[Mapping[str, Callable[[Order, Report], Reproduction]]] = {
    "table-i": reproduce_table_i,
    **{item: partial(reproduce_scores, item) for item in TABLES},
    "fig-1": reproduce_fig_1,
}
OF_THE_STUDY: Final = (
    "table-i",
    "table-ii",
    "table-iii",
    "table-iv",
    "table-v",
    "table-vi",
    "fig-1",
    "fig-2",
    "fig-3",
    "fig-4",
)
"""What the study printed; of these, `ITEMS` can be made."""


def check_known(item: str) -> None:
    """Refuse what is no table or figure that can be made.

    Raises:
        UsageError: There is no such table or figure, or not yet.
    """
    if item in OF_THE_STUDY and item not in ITEMS:
        raise UsageError(
            f"this version cannot make {item} of the study yet",
            ", ".join(ITEMS),
            "measure one model with upd-zoo evaluate, or many side by side with upd-zoo grid",
        )
    if item not in ITEMS:
        raise UsageError(f"nothing is called '{item}'", closest(item, ITEMS))


def reproduce(item: str, order: Order, on_progress: Report = silent) -> Reproduction:
    """Return a table or figure of the study.

    Args:
        item: Such as `table-i`.
        order: What it is made of.
        on_progress: Told how much is done.

    Raises:
        UsageError: There is no such table or figure, or not yet.
        NotFoundError: No store that it needs is there.
        MissingExtraError: A figure is asked for and matplotlib is not installed, or models and torch is not.
    """
    check_known(item)
    return ITEMS[item](order, on_progress)


def usual(item: str, data: Path, protocol: Protocol) -> Material:
    """Return whose images an item is made of where nothing else is asked for.

    It is the study's own where one of the test sets that it shows is prepared, else phantoms.
    """
    return usual_material(data, protocol, published(item).get("bold", columns()))
