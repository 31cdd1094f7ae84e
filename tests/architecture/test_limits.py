"""How long files and functions may be, and how many parameters a function may take."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for room in ("zoo/upd_zoo", "harness/upd_harness") for path in (ROOT / room).rglob("*.py"))
LINES_OF_A_FILE = 500
LINES_OF_A_FUNCTION = 40
"""Its signature counts, its docstring does not."""
PARAMETERS = 8
COMMANDS = ROOT / "harness/upd_harness/cli"
"""A command's parameters are its options."""
LEARNERS = (ROOT / "zoo/upd_zoo/methods", ROOT / "zoo/upd_zoo/pretrain")
"""What a recipe sets of a learner is a keyword of its constructor with a default: a setting, not a parameter."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_in(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Return the lines of a function without its docstring."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0)


def parameters(function: Function, *, has_settings: bool = False) -> int:
    """Return how many parameters a function takes beside `self`; settings of a learner are none."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args)]
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    settings = has_settings and function.name == "__init__"
    names += [each.arg for each, default in keywords if default is None or not settings]
    return len([name for name in names if name not in {"self", "cls"}])


def too_long(tree: ast.AST) -> list[str]:
    found = [(each.name, length(each)) for each in functions_in(tree)]
    return [f"{name}: {lines} lines" for name, lines in found if lines > LINES_OF_A_FUNCTION]


def too_many(tree: ast.AST, *, has_settings: bool = False) -> list[str]:
    found = [(each.name, parameters(each, has_settings=has_settings)) for each in functions_in(tree)]
    return [f"{name}: {count} parameters" for name, count in found if count > PARAMETERS]


def test_the_check_sees_what_is_too_long_and_takes_too_many() -> None:
    body = "\n".join(["    x = 1"] * LINES_OF_A_FUNCTION)
    assert too_long(ast.parse(f'def f():\n    """A docstring\n\n    of three lines."""\n{body}'))
    assert not too_long(ast.parse(f'def f():\n    """A docstring\n\n    of three lines."""\n{body[:-10]}'))
    names = ", ".join(f"a{number}" for number in range(PARAMETERS))
    assert too_many(ast.parse(f"def f({names}, *, b): pass"))
    assert not too_many(ast.parse(f"class C:\n  def f(self, {names}): pass"))
    keywords = ", ".join(f"b{number}=1" for number in range(PARAMETERS))
    assert not too_many(ast.parse(f"def __init__(self, a, *, {keywords}): pass"), has_settings=True)
    assert too_many(ast.parse(f"def __init__(self, a, *, {keywords}): pass"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short_and_take_few_parameters(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    assert not too_long(tree)
    if not path.is_relative_to(COMMANDS):
        assert not too_many(tree, has_settings=any(path.is_relative_to(room) for room in LEARNERS))
