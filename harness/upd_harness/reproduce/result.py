"""What a reproduction is, and what the study printed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

SCHEMA: Final = "upd-zoo/reproduction/1"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A table or figure of the study, reproduced.

    Attributes:
        item: Its name, such as `fig-1`.
        document: For programs.
        text: For people.
        pictures: Contents of picture files by their suffix; empty for tables.
    """

    item: str
    document: dict[str, Any]
    text: str
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def published(item: str) -> dict[str, Any]:
    """Return what the study printed in a table or figure."""
    text = (files("upd_harness") / "published.toml").read_text(encoding="utf-8")
    printed: dict[str, Any] = tomllib.loads(text)[item]
    return printed
