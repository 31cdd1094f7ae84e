"""What every command has in common: how it is helped, how it talks, and that neither needs torch."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from upd_harness.cli.options import command
from upd_harness.cli.program import app
from upd_harness.cli.terminal import Terminal
from upd_zoo.errors import UsageError

SHARED = ({"--json"}, {"-q", "--quiet"}, {"-v", "--verbose"}, {"--no-progress"})


def walk(made: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, with the words that name it."""
    for name, each in getattr(made, "commands", {}).items():
        yield (*path, name), each
        yield from walk(each, (*path, name))


def ended_with(program: typer.Typer, *arguments: str) -> int:
    """Return the exit code of a program."""
    with pytest.raises(SystemExit) as ended:
        program(list(arguments), prog_name="upd-zoo")
    return int(ended.value.code or 0)


COMMANDS = dict(walk(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_talks_as_it_is_told_to(words: tuple[str, ...]) -> None:
    spelled = [set(option.opts) for option in COMMANDS[words].params]
    for names in SHARED:
        assert names in spelled, names


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_and_command_is_explained(words: tuple[str, ...]) -> None:
    told = COMMANDS[words]
    assert told.help
    assert not [each.name for each in told.params if not each.help]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_can_be_asked_what_it_does(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], option: str
) -> None:
    assert ended_with(app, *words, option) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"{' '.join(words)} [OPTIONS]" in said.out
    for each in COMMANDS[words].params:
        for name in each.opts if each.param_type_name == "option" else ():
            assert name in said.out


def test_the_menu_tells_every_command_in_one_whole_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert ended_with(app, "--help") == 0
    menu = capsys.readouterr().out.partition("Commands:")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in menu.splitlines()[1:]] == [words[0] for words in COMMANDS if len(words) == 1]
    assert "..." not in menu


_ASKED = """
import sys
from upd_harness.cli.program import app
for words in sys.argv[1:]:
    try:
        app([*words.split(), "--help"], prog_name="upd-zoo")
    except SystemExit as ended:
        assert not ended.code, words
heavy = {"torch", "onnxruntime", "nibabel", "scipy", "PIL", "jinja2"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_help_imports_nothing_heavy() -> None:
    asked = [" ".join(words) for words in COMMANDS]
    done = subprocess.run([sys.executable, "-c", _ASKED, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts").rglob("*.py"))
_PLAIN = re.compile(r"typer\.Typer\((?=[^)]*pretty_exceptions_enable=False)")
_BOXED = re.compile(r"typer\.(run|Typer)\(")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_boxes_its_tracebacks(path: Path) -> None:
    assert not _BOXED.search(_PLAIN.sub("", path.read_text(encoding="utf-8")))


# Groups of options


@dataclass(frozen=True)
class Pair:
    """Two options."""

    first: Annotated[int, typer.Option("--first", help="One.")]
    second: Annotated[int, typer.Option("--second", help="Two.")] = 2


def run(function: Any, *arguments: str) -> int:
    """Return the exit code of a program that has one command."""
    program = typer.Typer()
    program.command()(function)
    return ended_with(program, *arguments)


def test_a_group_is_spelled_out_and_handed_over_whole() -> None:
    seen: list[object] = []

    @command
    def add(
        extra: Annotated[int, typer.Option("--extra", help="More.")] = 0, *, pair: Pair, terminal: Terminal
    ) -> None:
        """Keep what was given."""
        seen.extend((extra, pair, terminal))

    assert run(add, "--first", "5", "--extra", "7", "--json", "-v") == 0
    assert seen == [7, Pair(5, 2), Terminal(as_json=True, verbose=True)]
    assert run(add, "--second", "5") == 2


def test_a_command_without_a_say_in_its_talk_is_refused() -> None:
    def silent(pair: Pair) -> None:
        """Say nothing."""

    with pytest.raises(TypeError, match="silent takes no Terminal"):
        command(silent)


@pytest.mark.parametrize("options", [[], ["-v"]])
def test_an_error_tells_where_it_arose_if_that_is_wanted(
    capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    @command
    def fail(terminal: Terminal) -> None:
        """Raise."""
        raise UsageError("a mistake was made") from ValueError("of this kind")

    assert run(fail, *options) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "error: A mistake was made."
    assert (len(said.splitlines()) > 1, "of this kind" in said) == (bool(options), bool(options))
