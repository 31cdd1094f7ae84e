import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from upd_zoo.errors import ToleranceError

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("bench")


@pytest.mark.parametrize(
    ("value", "limit", "better", "passed"),
    [
        (9.9, 10, "higher", False),
        (10, 10, "higher", True),
        (0.6, 0.6, "lower", True),
        (0.61, 0.6, "lower", False),
        (1, 0, "lower", False),
        (1, None, "higher", None),
    ],
)
def test_a_figure_knows_on_which_side_of_its_limit_it_has_to_be(
    bench: Any, value: float, limit: float | None, better: str, passed: bool | None
) -> None:
    assert bench.Figure("speed", value, "x", limit, better).passed is passed


def test_a_missed_limit_is_an_error_that_names_it_and_no_other(bench: Any) -> None:
    kept, missed, free = bench.Figure("kept", 2, "x", 1), bench.Figure("slow", 1, "x", 2), bench.Figure("free", 0, "x")
    bench.check_limits([kept, free])
    with pytest.raises(ToleranceError, match=r"^1 limits are missed: slow\."):
        bench.check_limits([kept, missed, free])
    verdicts = {line.split()[0]: line.split()[-1] for line in bench.as_table([kept, missed, free]).splitlines()}
    assert (verdicts["kept"], verdicts["slow"], verdicts["free"]) == ("kept", "MISSED", "x")


def test_what_is_compared_takes_turns_and_counts_by_its_shortest_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    times = iter([5.0, 1.0, 2.0, 4.0])

    def measured(action: Any) -> float:
        action()
        return next(times)

    monkeypatch.setattr(sys.modules["figures"], "seconds_of", measured)
    shortest = sys.modules["figures"].shortest(2, lambda: called.append("a"), lambda: called.append("b"))
    assert called == ["a", "b", "b", "a"]
    assert shortest == [4.0, 1.0]


def test_every_group_has_a_function_that_measures_it(bench: Any) -> None:
    for group in bench.Group:
        tree = ast.parse((BENCH / f"{bench.MODULES[group]}.py").read_text(encoding="utf-8"))
        assert group in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.slow
def test_a_small_run_says_what_it_measured_and_ends_as_its_figures_do(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, str(BENCH / "bench.py"), "--only", "metrics", "--pixels", "20000", "--json"]
    run = subprocess.run([*command, "--output", str(out)], capture_output=True, text=True, check=False)
    assert run.returncode in (0, ToleranceError.exit_code), run.stderr
    report = json.loads(run.stdout)
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert json.loads(out.read_text(encoding="utf-8")) == report
    assert run.returncode == (ToleranceError.exit_code if any(f["passed"] is False for f in figures.values()) else 0)
    assert figures["AP_p and best Dice: largest difference"]["passed"]
    assert 0 < figures["tally: peak allocations beyond the data"]["value"] < 200
    assert report["versions"]["python"]
    assert report["hardware"]["cores"] >= 1
