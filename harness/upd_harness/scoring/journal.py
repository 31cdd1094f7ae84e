"""The journal of a scoring run: one line of JSON per finished input, and what a later run may take from it."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from upd_harness.report.text import legible
from upd_harness.scoring.inputs import Input
from upd_zoo.files import replacing, sha256_of, to_json

SCHEMA: Final = "upd-zoo/score/3"
IDENTIFYING: Final = ("model", "backend", "precision", "space")
"""What a row says of its run."""
CSV_COLUMNS: Final = (
    "input",
    "status",
    "score",
    "percentile",
    "threshold",
    "is_anomalous",
    "warnings",
    "map",
    "error_code",
    "error",
    "model",
)

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a journal; a last line that a kill cut short, or a file that is not there, yields nothing."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict) and row.get("schema") == SCHEMA:
                yield row


def is_of(row: Row, identity: Mapping[str, Any]) -> bool:
    """Return whether a row is of a run with this identity: of one of its models, or of none where it had a choice."""
    models = identity.get("models")
    if models is None:
        return all(row.get(name) == identity[name] for name in IDENTIFYING)
    of_none = dict.fromkeys(IDENTIFYING)
    return any(all(row.get(name) == each[name] for name in IDENTIFYING) for each in (of_none, *models.values()))


def still_good(row: Row, source: Input, output: Path, identity: Mapping[str, Any]) -> bool:
    """Return whether a row need not be made again.

    It must be of the same run and of the same bytes, and its outputs must be there, as they were written.
    """
    if row["status"] != "ok" or not is_of(row, identity):
        return False
    try:
        written = {kind: sha256_of(output / name) for kind, name in row["outputs"].items()}
        hashes = {path: sha256_of(path) for path in source.files}
    except OSError:
        return False
    return bool(written == row["outputs_sha256"]) and source.sha256_of(hashes) == row["input_sha256"]


def open_journal(path: Path, mode: Literal["w", "a"]) -> TextIO:
    """Open a journal for writing; undecodable bytes of a file name become the escapes that JSON has for them."""
    return path.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_row(stream: TextIO, row: Row) -> None:
    """Append a row and hand it to the operating system, so that a kill cannot take it back."""
    stream.write(to_json(row, indent=None) + "\n")
    stream.flush()


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a journal, whole or not at all."""
    with replacing(path) as temporary, open_journal(temporary, "w") as stream:
        for row in rows:
            write_row(stream, row)


def in_order(path: Path, names: Iterable[str]) -> Iterator[Row]:
    """Yield the last row of each input of a journal, in the order of `names`, holding no row in memory."""
    offsets: dict[str, int] = {}
    with path.open("rb") as stream:
        offset = 0
        for line in stream:
            offsets[json.loads(line)["input"]] = offset
            offset += len(line)
        for name in names:
            if name in offsets:
                stream.seek(offsets[name])
                yield json.loads(stream.readline())


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write the table for spreadsheets, whole or not at all.

    A name that a spreadsheet would take for a formula gets an apostrophe before it; line ends and whatever else
    cannot be printed are spelled out.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            error = row["error"] or {}
            flat = {name: row.get(name) for name in CSV_COLUMNS}
            flat |= {"model": (row["model"] or {}).get("id")}
            flat |= {"map": (row["outputs"] or {}).get("map"), "error_code": error.get("code")}
            flat |= {"error": error.get("message"), "warnings": "; ".join(each["code"] for each in row["warnings"])}
            writer.writerow({name: _inert(value) for name, value in flat.items()})


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = legible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


_FORMULA: Final = ("=", "+", "-", "@")
"""Beginnings that a spreadsheet takes for a formula."""
