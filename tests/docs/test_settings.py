import importlib
from pathlib import Path
from typing import Any

import pytest

from upd_zoo.errors import ToleranceError
from upd_zoo.registry import registered

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("settings")


def test_the_page_is_current_and_has_every_method_of_the_study(settings: Any) -> None:
    text = settings.PAGE.read_text(encoding="utf-8")
    assert text == settings.as_markdown()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        registered()[method].title for method in sorted(settings.published())
    ]


def test_a_value_of_the_study_stands_in_brackets_where_it_differs(settings: Any) -> None:
    rows = dict(settings.rows_of("padim"))
    assert rows["`share`"] == ["1.0 [0.18]", "1.0 [0.18]", "1.0", "1.0"]
    assert rows["pixels"] == ["[0, 1]", "[0, 1]", "[0, 1]", "[-1, 1]"]


def test_an_old_page_is_not_accepted(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PAGE", tmp_path / "settings.md")
    with pytest.raises(SystemExit) as stopped:
        settings.main(check=True)
    assert stopped.value.code == ToleranceError.exit_code
