"""What the program says: nothing from outside steers a terminal, and work without one tells how far it is."""

import json
import sys
import time

import pytest

from upd_harness.cli.failure import INTERRUPTED
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_harness.report.text import legible, legible_json
from upd_zoo.errors import UpdZooError
from upd_zoo.progress import Progress

HOSTILE = "a\x1b[2J\x9b31m\u202egnp\r\udcff"


def ended_by(error: BaseException) -> int:
    """Return the exit code of a command that raises this error."""

    @reports_errors
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command()
    return int(ended.value.code or 0)


def test_what_cannot_be_printed_is_spelled_out() -> None:
    assert legible(HOSTILE) == r"a\x1b[2J\x9b31m\u202egnp\r\udcff"
    assert legible("été 日本\n", keep="\n") == "été 日本\n"


def test_a_legible_document_is_the_same_document() -> None:
    value = {"name": HOSTILE + "\x00\x7f\U000e0001", "plain": "été"}
    text = legible_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert "été" in text


@pytest.mark.parametrize("as_json", [True, False])
def test_names_from_outside_never_steer_the_terminal(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    terminal = Terminal(as_json)
    terminal.say(HOSTILE)
    terminal.data({"name": HOSTILE}, f"first\nsecond {HOSTILE}")
    ended_by(UpdZooError(HOSTILE))
    ended_by(OSError(5, "wrong", HOSTILE))
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not [sign for sign in text if not sign.isprintable() and sign != "\n"]


def test_an_interrupt_says_what_is_true_of_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt) as interrupt, when_interrupted("half of it is kept"):
        raise KeyboardInterrupt
    assert ended_by(interrupt.value) == ended_by(KeyboardInterrupt()) == INTERRUPTED
    assert capsys.readouterr().err == "interrupted: half of it is kept\ninterrupted\n"


def test_work_in_a_pipe_says_now_and_then_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Terminal().bar("scoring") as advance:
        for done in range(1, 601):
            now[0] += 0.5
            advance(Progress("", done, 600))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring: 4 of 600 after 2 s"
    assert 5 <= len(lines) <= 12


def test_bytes_in_a_pipe_tell_how_long_the_rest_takes_as_it_came_in_this_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Terminal().bar("pulling", in_bytes=True) as advance:
        now[0] += 3  # the hub was asked
        advance(Progress("a", 0, 10_000_000))
        advance(Progress("b", 50_000_000, 110_000_000))  # an earlier process left this
        now[0] += 3
        advance(Progress("b", 56_000_000, 110_000_000))
    assert capsys.readouterr().err == "pulling, b: 56.0 MB of 110 MB after 6 s, about 27 s more\n"


@pytest.mark.parametrize("terminal", [Terminal(quiet=True), Terminal(no_progress=True)])
def test_nothing_is_said_of_progress_where_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with terminal.bar("scoring") as advance:
        now[0] = 1000.0
        advance(Progress("", 1, 2))
    assert capsys.readouterr().err == ""


def test_a_bar_names_its_part_and_keeps_room_for_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    with Terminal().bar("training") as advance:
        advance(Progress("main", 3, 8, "[red]folder/of/a/hospital/with/a/long/name/scan.nii.gz"))
    shown = capsys.readouterr().err
    for part in ("training, main", "3/8", "[red]folder", "…", "scan.nii.gz", "━"):
        assert part in shown
