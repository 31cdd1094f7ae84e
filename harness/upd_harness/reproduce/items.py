"""What can be reproduced: the tables and figures of the study by their names."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from upd_harness.evaluation.published import TABLES, published
from upd_harness.reproduce.fig_1 import reproduce_fig_1
from upd_harness.reproduce.fig_2 import reproduce_fig_2
from upd_harness.reproduce.fig_3 import reproduce_fig_3
from upd_harness.reproduce.fig_4 import reproduce_fig_4
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.order import HABITS, Order, columns, usual_material
from upd_harness.reproduce.result import Reproduction
from upd_harness.reproduce.score_tables import reproduce_scores
from upd_harness.reproduce.table_i import reproduce_table_i
from upd_harness.reproduce.table_vi import reproduce_table_vi
from upd_zoo.errors import UsageError, closest
from upd_zoo.progress import Report, silent
from upd_zoo.vocabulary import Protocol

ITEMS: Final[Mapping[str, Callable[[Order, Report], Reproduction]]] = {
    "table-i": reproduce_table_i,
    **{item: partial(reproduce_scores, item) for item in TABLES},
    "table-vi": reproduce_table_vi,
    "fig-1": reproduce_fig_1,
    "fig-2": reproduce_fig_2,
    "fig-3": reproduce_fig_3,
    "fig-4": reproduce_fig_4,
}
WITHOUT_IMAGES: Final = ("table-vi",)
"""What is of the study's networks alone."""
SMALLEST: Final = ("fig-4",)
"""What needs models that no table has: where phantoms stand in, these are tiny, and show that all of it runs."""


def check_known(item: str) -> None:
    """Refuse what is no table or figure of the study.

    Raises:
        UsageError: There is no such table or figure.
    """
    if item not in ITEMS:
        raise UsageError(f"nothing is called '{item}'", closest(item, ITEMS))


def reproduce(item: str, order: Order, on_progress: Report = silent) -> Reproduction:
    """Return a table or figure of the study.

    Args:
        item: Such as `table-i`.
        order: What it is made of.
        on_progress: Told how much is done.

    Raises:
        UsageError: There is no such table or figure.
        NotFoundError: No store that it needs is there.
        MissingExtraError: A figure is asked for and matplotlib is not installed, or models and torch is not.
    """
    check_known(item)
    return ITEMS[item](order, on_progress)


def usual(item: str, data: Path, protocol: Protocol) -> Material:
    """Return whose images an item is made of where nothing else is asked for.

    It is the study's own where one of the test sets that it shows is prepared, or where it shows none, else phantoms.
    """
    if item in WITHOUT_IMAGES:
        return Material.STUDY
    return usual_material(data, protocol, published(item).get("bold", columns()))


def usual_profile(item: str, material: Material) -> str:
    """Return the budget by which the models of an item are made where nothing else is asked for."""
    return "tiny" if item in SMALLEST and material is Material.PHANTOM else HABITS[material].profile
