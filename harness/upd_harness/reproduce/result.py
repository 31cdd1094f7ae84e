"""What a reproduction is: tables, pictures and figures, for people and for programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from upd_harness.report.text import table

SCHEMA: Final = "upd-zoo/reproduction/1"


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as it is shown.

    Attributes:
        text: What is read.
        kind: What it is: `within` or `outside` its tolerance, `absent`, or empty for anything else.
        interval: Its 95 % interval, which a terminal has no room for; empty where it is not known.
    """

    text: str
    kind: str = ""
    interval: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Block:
    """One table under its heading, and what must be said below it.

    Attributes:
        heading: Above it.
        head: What its columns are called; empty where there are notes alone.
        rows: A text or figure for each column, the name of the row first.
        notes: Sentences.
    """

    heading: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str | Shown]] = ()
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """It all, for a terminal."""
        rows = [[str(cell) for cell in row] for row in self.rows]
        return "\n".join((self.heading, "", *([table(self.head, rows)] if rows else ()), *self.notes))

    @property
    def markdown(self) -> str:
        """It all, as Markdown."""
        lines = [f"## {self.heading}", ""]
        if self.rows:
            lines += [_line(self.head), f"|{'---|' * len(self.head)}", *map(_line, self.rows), ""]
        return "\n".join([*lines, *(f"{note}\n" for note in self.notes)]).rstrip("\n")


def _line(cells: Sequence[str | Shown]) -> str:
    return f"| {' | '.join(_whole(cell).replace('|', '/') for cell in cells)} |"


def _whole(cell: str | Shown) -> str:
    """Return a cell with its interval, if it has one."""
    return f"{cell} {cell.interval}" if isinstance(cell, Shown) and cell.interval else str(cell)


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A table or figure of the study, reproduced.

    Attributes:
        item: Its name, such as `fig-1`.
        document: For programs.
        text: For people; empty where the blocks say it all.
        pictures: Contents of picture files by their suffix.
        title: What it shows, as a heading.
        banner: What must be told of its images above all else; empty where nothing must.
        blocks: Its tables.
        cells: Its figures one by one, each with the same keys, for a CSV file; empty where there is none.
        outside: How many figures lie outside their tolerance of what the study printed.
        measured: Whether any figure of it was measured here.
    """

    item: str
    document: dict[str, Any]
    text: str = ""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    title: str = ""
    banner: str = ""
    blocks: Sequence[Block] = ()
    cells: Sequence[Mapping[str, Any]] = ()
    outside: int = 0
    measured: bool = True

    @property
    def heading(self) -> str:
        """What it is, in a line."""
        return f"{self.item}: {self.title}" if self.title else self.item

    @property
    def told(self) -> str:
        """All of it, for a terminal."""
        parts = (self.banner, self.text, *(block.text for block in self.blocks))
        return "\n\n".join(part for part in parts if part)

    @property
    def markdown(self) -> str:
        """All of it, as Markdown; pictures lie beside the file."""
        pictures = [f"![{self.item}]({self.item}{suffix})" for suffix in self.pictures if suffix == ".png"]
        banner = f"**{self.banner}**" if self.banner else ""
        text = f"```text\n{self.text}\n```" if self.text else ""
        parts = (f"# {self.heading}", banner, *pictures, text, *(block.markdown for block in self.blocks))
        return "\n\n".join(part for part in parts if part)

    @property
    def csv(self) -> str:
        """The figures as comma-separated values, under a row of their names."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(self.cells[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.cells)
        return stream.getvalue()
