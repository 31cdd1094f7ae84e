"""Who may import what, and that nobody asks a method for its name."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"upd_zoo": ROOT / "zoo", "upd_harness": ROOT / "harness"}
MAKERS = (
    *("method", "registry", "detector", "training", "fitting", "methods", "layers", "pretrain", "export"),
    *("runtime.eager", "runtime.tensors"),
)
"""Parts of upd_zoo that make models and need torch; everything else works without."""
EXTRAS = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxscript",
    "safetensors",
    "accelerate",
    "nilearn",
    "scipy",
    "matplotlib",
)
"""What the base install does not have."""
WITHOUT_EXTRAS = f"""
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        print(module, "needs", error.name)
"""


def modules_of(package: str) -> dict[str, Path]:
    """Return every module of a package by its dotted name, without importing any."""
    folder = PACKAGES[package]
    modules = {}
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def is_maker(module: str) -> bool:
    return any(module == f"upd_zoo.{part}" or module.startswith(f"upd_zoo.{part}.") for part in MAKERS)


MODULES = {name: path for package in PACKAGES for name, path in modules_of(package).items()}
TORCH_FREE = [module for module in MODULES if not is_maker(module)]
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))


def run_python(program: str, *arguments: str) -> str:
    """Return what a fresh interpreter prints."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_check_sees_what_needs_torch() -> None:
    assert run_python(WITHOUT_EXTRAS, "upd_zoo.detector").startswith("upd_zoo.detector needs torch")


def test_what_makes_no_models_works_in_the_base_install() -> None:
    assert run_python(WITHOUT_EXTRAS, *TORCH_FREE) == ""


def test_importing_the_packages_loads_no_torch_where_there_is_one() -> None:
    heavy = {"torch", "timm", "onnx", "safetensors", "accelerate"}
    program = f"import {', '.join(TORCH_FREE)}, sys; print(*({{*sys.modules}} & {heavy!r}))"
    assert run_python(program).split() == []


def test_every_public_name_can_be_had_without_torch() -> None:
    program = "import sys, upd_zoo; [getattr(upd_zoo, name) for name in upd_zoo.__all__]; print('torch' in sys.modules)"
    assert run_python(program).split() == ["False"]


def test_the_tests_of_metrics_need_no_torch() -> None:
    program = "import pytest, sys; pytest.main(sys.argv[1:]); print('torch' in sys.modules)"
    tests = str(ROOT / "tests" / "harness" / "test_metrics.py")
    answer = run_python(program, "--collect-only", "-qq", "-p", "no:cacheprovider", tests)
    assert "test_metrics.py: " in answer
    assert answer.splitlines()[-1] == "False"


def imported_by(path: Path) -> set[str]:
    """Return the top-level packages that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_arrows_point_from_scripts_to_harness_to_zoo() -> None:
    outside = {"scripts", "tests", "fake", *(path.stem for path in SCRIPTS)}
    forbidden = {"upd_zoo": outside | {"upd_harness"}, "upd_harness": outside}
    for package, names in forbidden.items():
        for module, path in modules_of(package).items():
            assert not imported_by(path) & names, module


def test_one_line_of_the_zoo_leads_to_the_harness_and_only_when_it_is_called() -> None:
    sources = {module: path.read_text(encoding="utf-8").splitlines() for module, path in modules_of("upd_zoo").items()}
    named = {module: line for module, lines in sources.items() for line in lines if '"upd_harness' in line}
    assert named == {"upd_zoo.scores": '_SCORING: Final = "upd_harness.scoring.table"'}
    program = "import sys, upd_zoo.loading; print('upd_zoo.scores' in sys.modules, 'upd_harness' in sys.modules)"
    assert run_python(program).split() == ["True", "False"]


@cache
def method_names() -> set[str]:
    """Return ids and titles of all methods, read from their files."""
    paths = (path for name, path in MODULES.items() if name.startswith("upd_zoo.methods."))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    assignments = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    return {
        node.value.value
        for node in assignments
        if isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and [ast.unparse(target) for target in node.targets] in (["id"], ["title"])
    }


def decisions_in(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every expression on which code branches, and every pattern of a match."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.match_case):
            yield node.pattern
            if node.guard is not None:
                yield node.guard
        elif isinstance(node, ast.Compare | ast.BoolOp):
            yield node


def names_asked_for(tree: ast.AST, names: set[str]) -> list[str]:
    constants = (
        node for decision in decisions_in(tree) for node in ast.walk(decision) if isinstance(node, ast.Constant)
    )
    return [f"line {node.lineno}: {node.value!r}" for node in constants if node.value in names]


@pytest.mark.parametrize(
    "source",
    [
        "if method == 'rd': pass",
        "x = 1 if 'RD' in title else 2",
        "y = [m for m in methods if m.id != 'rd']",
        "match method:\n    case 'rd': pass",
        "special = method in ('rd', 'x')",
    ],
)
def test_the_check_sees_a_branch_on_a_name(source: str) -> None:
    assert names_asked_for(ast.parse(source), {"rd", "RD"})
    assert not names_asked_for(ast.parse(source), {"other"})


@pytest.mark.parametrize("path", [*MODULES.values(), *SCRIPTS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_decision_hangs_on_the_name_of_a_method(path: Path) -> None:
    names = method_names()
    assert {"vae", "VAE", "rd", "RD"} <= names
    assert not names_asked_for(ast.parse(path.read_text(encoding="utf-8")), names)
