"""Tables and figures of the study, ours beside what it printed.

    table-i    images of every store
    fig-1      how large lesions are, and how bright

What is reproduced comes from the prepared stores that stand; the others are named as not prepared.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from upd_harness.reproduce.fig_1 import reproduce_fig_1
from upd_harness.reproduce.result import Reproduction
from upd_harness.reproduce.table_i import reproduce_table_i
from upd_zoo.errors import UsageError, closest
from upd_zoo.files import replacing, write_json, write_text
from upd_zoo.progress import Report, silent

ITEMS: Final[Mapping[str, Callable[[Path, Report], Reproduction]]] = {
    "table-i": reproduce_table_i,
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


def reproduce(item: str, data: Path, on_progress: Report = silent) -> Reproduction:
    """Return a table or figure of the study from prepared stores.

    Args:
        item: Such as `table-i`.
        data: Folder of the prepared stores.
        on_progress: Told how much is done.

    Raises:
        UsageError: There is no such table or figure, or not yet.
        NotFoundError: No store that it needs is there.
        MissingExtraError: A figure is asked for, and matplotlib is not installed.
    """
    if item in OF_THE_STUDY and item not in ITEMS:
        raise UsageError(
            f"this version cannot make {item} of the study yet",
            ", ".join(ITEMS),
            "measure one model with upd-zoo evaluate, or many side by side with upd-zoo grid",
        )
    if item not in ITEMS:
        raise UsageError(f"nothing is called '{item}'", closest(item, ITEMS))
    return ITEMS[item](data, on_progress)


def write_reproduction(result: Reproduction, folder: Path) -> list[Path]:
    """Write a table or figure: text, JSON and pictures; return the files."""
    paths = [folder / f"{result.item}.md", folder / f"{result.item}.json"]
    write_text(paths[0], result.text + "\n")
    write_json(paths[1], result.document)
    for suffix, content in result.pictures.items():
        paths.append(folder / f"{result.item}{suffix}")
        with replacing(paths[-1]) as temporary:
            temporary.write_bytes(content)
    return paths
