"""Names and messages from outside as text that can be shown: on a terminal, in a table, in a page."""

import json


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
