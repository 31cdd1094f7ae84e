"""Text for people: tables, and names and messages from outside made fit to be shown on a terminal or in a page."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final


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


def counted(number: int, what: str) -> str:
    """Return a number with what it counts, such as "1 subject" and "2 subjects"."""
    return f"{number} {what}{'s' * (number != 1)}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return rows of text in aligned columns under their header; where that is too wide, one below the other.

    Args:
        header: What the columns are called.
        rows: A text for each column.
        width: Signs in a line; None for any number of them.
    """
    widths = [max(len(str(row[column])) for row in (header, *rows)) for column in range(len(header))]
    if width is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        named = (dict(zip(header, row, strict=True)) for row in rows)
        return "\n\n".join(facts({name: cell for name, cell in each.items() if cell}, width) for each in named)
    lines = (
        _GAP.join(str(cell).ljust(each) for cell, each in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )
    return "\n".join(lines)


def facts(named: Mapping[str, object], width: int | None = None) -> str:
    """Return facts as lines of "name  fact"; a long one goes on below itself, and no word of it is broken.

    Args:
        named: The facts by their names.
        width: Signs in a line; None for any number of them.
    """
    left = max((len(name) for name in named), default=0) + len(_GAP)
    return "\n".join(_fact(name, str(fact), left, width) for name, fact in named.items())


def prose(text: str, width: int | None = None) -> str:
    """Return sentences on as many lines as they need; no word of them is broken."""
    return text if width is None else "\n".join(_lines(text, width))


def _fact(name: str, fact: str, left: int, width: int | None) -> str:
    if width is None or left + len(fact) <= width:
        return f"{name:{left}}{fact}".rstrip()
    if left + max(map(len, fact.split())) > width:  # a path that has no room beside the names gets lines of its own
        return "\n".join((name, *(_GAP + line for line in _lines(fact, width - len(_GAP)))))
    return "\n".join(f"{'' if number else name:{left}}{line}" for number, line in enumerate(_lines(fact, width - left)))


def _lines(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)


_GAP: Final = "  "
