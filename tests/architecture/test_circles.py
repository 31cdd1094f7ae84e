"""No module needs itself: imports make no circle, not even those inside functions or for types alone."""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from architecture.test_imports import MODULES

Graph = Mapping[str, Collection[str]]


def imports_of(source: str, modules: Collection[str]) -> set[str]:
    """Return which of some modules a source imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in inner}
    return found & {*modules}


def graph_of(files: Mapping[str, Path]) -> Graph:
    return {name: imports_of(path.read_text(encoding="utf-8"), files) - {name} for name, path in files.items()}


def reached_from(start: str, graph: Graph) -> set[str]:
    """Return what a module imports, and what that imports, and so on."""
    reached: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += graph[module]
    return reached


def circles_in(graph: Graph) -> Iterator[set[str]]:
    """Yield every largest set of modules each of which needs all others, smallest name first."""
    reached = {module: reached_from(module, graph) for module in graph}
    seen: set[str] = set()
    for module in sorted(graph):
        if module in reached[module] and module not in seen:
            circle = {other for other in reached[module] if module in reached[other]}
            seen |= circle
            yield circle


def test_the_check_sees_lazy_and_typed_imports(tmp_path: Path) -> None:
    sources = {
        "house": "",
        "house.door": "def enter():\n    from house import hall\n",
        "house.hall": "import typing\nif typing.TYPE_CHECKING:\n    from house.stairs import Step\n",
        "house.stairs": "import house.door\n",
        "house.roof": "from house.stairs import Step\n",
    }
    files = {name: tmp_path / f"{name}.py" for name in sources}
    for name, path in files.items():
        path.write_text(sources[name], encoding="utf-8")
    assert list(circles_in(graph_of(files))) == [{"house.door", "house.hall", "house.stairs"}]


def test_no_module_needs_itself() -> None:
    assert list(circles_in(graph_of(MODULES))) == []
