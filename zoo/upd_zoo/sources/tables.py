"""Tables that come with a data set, and the files that they name."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Final

from upd_zoo.errors import InputError, InputErrorCode

_OLDEST: Final = 120
"""Some tables hold ages of 150 or 412 years; what is above counts as unknown."""


def read_table(path: Path, columns: Iterable[str], origin: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a comma-separated table with a header, blanks around values removed.

    Args:
        path: The table.
        columns: What must be there; more may be.
        origin: Where to get the data set.

    Raises:
        InputError: A column is missing, a row is shorter than the header, or the file is not text (`corrupt`).
    """
    needed = list(columns)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            if not {*needed} <= {*(rows.fieldnames or ())}:
                raise damaged(path, f"has the columns {rows.fieldnames}", f"at least {needed}", origin)
            for row in rows:
                if any(row[name] is None for name in needed):
                    raise damaged(path, f"breaks off in line {rows.line_num}", "whole rows", origin)
                yield {name: (row[name] or "").strip() for name in rows.fieldnames or ()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, "is not a table in UTF-8", "comma-separated text", origin) from error


def damaged(table: Path, what: str, accepted: str, origin: str) -> InputError:
    """Return the error for a table that is not as its authors publish it."""
    return InputError(InputErrorCode.CORRUPT, f"'{table.name}' {what}", accepted, origin)


def inside(root: Path, name: str) -> Path:
    """Return the file below `root` that a table names.

    Names are judged as Windows does, which knows the separators and roots of the other systems too.

    Raises:
        InputError: The name leads out of the folder (`unreadable`).
    """
    parts = PureWindowsPath(name)
    if parts.anchor or ".." in parts.parts:
        raise InputError(
            InputErrorCode.UNREADABLE,
            f"'{name}' leaves the folder of the data set",
            "a file below it",
            "check the table",
        )
    return root / name


def sex_of(text: str) -> str:
    """Return `F` or `M` by the first letter of what a table says, or nothing where it says something else."""
    return text[:1] if text in {"F", "M", "Female", "Male"} else ""


def age_of(text: str) -> int | None:
    """Return the whole years in `58`, `058Y` or `013M` (months) or `025D` (days); None where there are none."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in {"Y", "M", "D"} else (text, "Y")
    if not (number.isascii() and number.isdigit()):
        return None
    years = int(number) // {"Y": 1, "M": 12, "D": 365}[unit]
    return years if years <= _OLDEST else None
