"""The cache from the command line: what lies there, what would go, and what goes."""

from pathlib import Path

import pytest

from fake.program import Command

MODEL = "vae-phantom-t2"


@pytest.fixture
def pulled(upd_zoo: Command) -> Path:
    """The folder of a model that was pulled."""
    return Path(upd_zoo("pull", MODEL, "-q").out.strip())


def test_what_was_pulled_is_listed_with_its_size(upd_zoo: Command, pulled: Path) -> None:
    text, data = upd_zoo("cache", "ls"), upd_zoo("cache", "ls", "--json")
    (row,) = data.json
    size = sum(path.stat().st_size for path in pulled.rglob("*") if path.is_file())
    assert (row["model"], row["revisions"], row["bytes"], row["folder"]) == (MODEL, ["main"], size, str(pulled))
    assert MODEL in text.out
    assert " MB " in text.out
    assert all(len(line) <= 60 or str(pulled) in line for line in upd_zoo("cache", "ls", COLUMNS="60").out.splitlines())


def test_an_empty_cache_says_so(upd_zoo: Command) -> None:
    answer = upd_zoo("cache", "ls")
    assert (answer.code, answer.out, answer.err) == (0, "", "no model is in the cache\n")
    assert upd_zoo("cache", "ls", "--json").json == []


def test_what_would_go_is_shown_and_stays(upd_zoo: Command, pulled: Path) -> None:
    answer = upd_zoo("cache", "rm", MODEL, "--dry-run", "--json")
    assert (answer.code, answer.json["removed"], answer.json["models"][0]["model"]) == (0, False, MODEL)
    assert "would be free" in upd_zoo("cache", "rm", "--all", "--dry-run").out
    assert pulled.is_dir()


@pytest.mark.parametrize("which", [[MODEL], [f"{MODEL}@main"], ["--all"], ["--all", "--older-than", "0"]])
def test_what_is_named_goes_without_a_question(upd_zoo: Command, pulled: Path, which: list[str]) -> None:
    answer = upd_zoo("cache", "rm", *which, "-y", "--json")
    assert (answer.code, answer.json["removed"]) == (0, True)
    assert not pulled.exists()
    assert upd_zoo("pull", MODEL).code == 0


def test_what_is_young_stays(upd_zoo: Command, pulled: Path) -> None:
    answer = upd_zoo("cache", "rm", "--all", "--older-than", "3", "-y")
    assert (answer.code, answer.err) == (0, "nothing is to go\n")
    assert pulled.is_dir()


@pytest.mark.parametrize(
    ("which", "code"),
    [([], 2), ([MODEL, "--all"], 2), (["rd-idrid", "-y"], 4), ([MODEL], 2), (["--all", "--older-than", "-1", "-y"], 2)],
)
def test_what_is_not_said_clearly_removes_nothing(upd_zoo: Command, pulled: Path, which: list[str], code: int) -> None:
    answer = upd_zoo("cache", "rm", *which, "-q")
    assert answer.is_one_error(code), answer
    assert pulled.is_dir()
