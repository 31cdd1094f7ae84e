"""Count the images of the prepared stores, beside Table I of the study.

python scripts/counts.py

A store that is not there counts as `-`. The study's test validation, a tenth of every test, is in no store.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.terminal import Terminal, reports_errors, table
from upd_zoo.data.sources import data_folder, store_path
from upd_zoo.data.store import Store
from upd_zoo.errors import NotFoundError
from upd_zoo.vocabulary import Protocol


def published() -> dict[str, int]:
    """Return Table I's images, by the name of the store."""
    text = (files("upd_harness") / "published.toml").read_text(encoding="utf-8")
    counts: dict[str, int] = tomllib.loads(text)["table-i"]
    return counts


def counted(data: Path, name: str, protocol: Protocol) -> str:
    """Return the images of a store, and of a test how many are anomalous."""
    target, part = name.split("/")
    try:
        facts = Store(store_path(data, target, part, protocol)).facts
    except NotFoundError:
        return "-"
    return f"{facts.images} ({facts.anomalous} anomalous)" if part == "test" else str(facts.images)


@reports_errors
def main(
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
) -> None:
    """Print the images of every store of the study, as printed and as prepared under both protocols."""
    folder = data_folder(data)
    rows = [
        (name, str(images), *(counted(folder, name, protocol) for protocol in Protocol))
        for name, images in published().items()
    ]
    head = ("store", "Table I", *(protocol.value for protocol in Protocol))
    Terminal().data({"counts": [dict(zip(head, row, strict=True)) for row in rows]}, table(head, rows))


if __name__ == "__main__":
    typer.run(main)
