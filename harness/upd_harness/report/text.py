"""Text for people: tables, and names and messages from outside made fit to be shown on a terminal or in a page."""

import json
from collections.abc import Sequence


def legible(text: str, keep: str = "") -> str:
    r"""Spell out what cannot be printed: control and direction characters and undecodable bytes of file names.

    Args:
        text: Whatever stood outside; an escape sequence would steer a terminal, a line end split a table.
        keep: Signs that pass although they cannot be printed, such as the end of a line.

    Returns:
        The text with `\x1b` for the escape character and so on.
    """
    return "".join(sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text)


def legible_json(text: str) -> str:
    """Return a JSON document with what cannot be printed as the escapes that JSON has for it: the same document."""
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text in aligned columns under their header."""
    widths = [max(len(str(row[column])) for row in (header, *rows)) for column in range(len(header))]
    lines = (
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
    return "\n".join(lines)
