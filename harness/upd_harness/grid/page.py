"""The folder of a grid, written anew from the results that are there: tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upd_harness.engines.local import apart
from upd_harness.grid.pictures import draw
from upd_harness.grid.plan import Plan, Task
from upd_harness.grid.results import result_path, results_of
from upd_harness.grid.table import as_document, as_markdown
from upd_harness.grid.work import FOR_EVER, LOCK
from upd_zoo.files import held, write_json, write_text

TABLE: Final = "table.md"
DOCUMENT: Final = "table.json"


@dataclass(frozen=True, slots=True)
class Page:
    """What was written.

    Attributes:
        text: The tables, for people.
        document: The same, for programs.
    """

    text: str
    document: dict[str, Any]


def write_page(tasks: Sequence[Task], plan: Plan, copy: Path | None = None) -> Page:
    """Write `table.md`, `table.json` and a picture of each test set into the folder of a grid.

    Args:
        tasks: Whose results are shown, where there are any.
        plan: Of the grid.
        copy: A file for the tables without pictures, too.

    Returns:
        The tables.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    with held(plan.out / LOCK, FOR_EVER):  # whoever writes last has seen the results of all
        found = results_of(tasks, plan.out)
        for test_set in found:
            first = {task.row: task for task in reversed(tasks) if result_path(task, plan.out, test_set).is_file()}
            apart(draw, list(reversed(first.values())), test_set, plan)
        page = Page(as_markdown(found, plan), as_document(found, plan))
        write_text(plan.out / TABLE, page.text)
        write_json(plan.out / DOCUMENT, page.document)
    if copy is not None:
        write_text(copy, as_markdown(found, plan, pictures=False))
    return page
