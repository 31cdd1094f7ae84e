from pathlib import Path
from typing import Any

import pytest

from fake.scripts import script
from upd_zoo.errors import ToleranceError
from upd_zoo.registry import registered
from upd_zoo.roster import own_methods


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("pages", monkeypatch)


def test_the_page_is_current_has_every_method_and_says_which_the_study_has_not(pages: Any) -> None:
    text = (pages.CARDS / "settings.md").read_text(encoding="utf-8")
    assert text == pages.settings_page()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        f"{registered()[method].title}{'' if method in pages.published() else ' (not in the study)'}"
        for method in own_methods()
    ]


def test_a_value_of_the_study_stands_in_brackets_where_it_differs(pages: Any) -> None:
    rows = dict(pages.rows_of("padim"))
    assert rows["`share`"] == ["1.0 [0.18]", "1.0 [0.18]", "1.0", "1.0"]
    assert rows["pixels"] == ["[0, 1]", "[0, 1]", "[0, 1]", "[0, 1] [[-1, 1]]"]


def test_an_old_page_is_not_accepted_and_written_anew(pages: Any, tmp_path: Path) -> None:
    texts = {tmp_path / "settings.md": "new\n", tmp_path / "parameters.md": "as it was\n"}
    (tmp_path / "settings.md").write_text("old\n")
    (tmp_path / "parameters.md").write_text("as it was\n")
    with pytest.raises(ToleranceError, match=r"These files are not current: settings\.md\."):
        pages.publish(texts, check=True, again="tables")
    pages.publish(texts, check=False, again="tables")
    assert (tmp_path / "settings.md").read_text() == "new\n"
    pages.publish(texts, check=True, again="tables")
