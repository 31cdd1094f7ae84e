"""Messages name commands that a user of the package has: no script and no target of the repository's Makefile."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for room in ("zoo/upd_zoo", "harness/upd_harness")
    for path in (ROOT / room).rglob("*")
    if path.suffix in {".py", ".jinja", ".js"}
)
TARGETS = set(re.findall(r"^([a-z][a-z0-9%-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def texts_of(path: Path) -> list[str]:
    """Return what a file can say: the strings of a program, comments left out, or the whole of a template."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [text]
    strings = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return [each for each in strings if isinstance(each, str)]


def of_the_repository(text: str) -> list[str]:
    """Return what a text names that only a copy of the repository has."""
    targets = [target for target in re.findall(r"\bmake ([a-z0-9-]+)", text) if target in TARGETS]
    return [*targets, *re.findall(r"\bmake [A-Z]+=", text), *re.findall(r"\bscripts/\w*", text)]


@pytest.mark.parametrize("text", ["make train MODEL=x", "run make demo first", "python scripts/train.py x"])
def test_the_check_sees_what_only_the_repository_has(text: str) -> None:
    assert of_the_repository(text)
    assert not of_the_repository("make room, then upd-zoo train x; subscripts/superscripts")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_message_names_what_only_the_repository_has(path: Path) -> None:
    assert not [found for text in texts_of(path) for found in of_the_repository(text)]
