"""Tables and facts on terminals of any width: nothing is cut, and no line is longer than it must be."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from fake.program import PROGRAM, Command
from upd_harness.report.text import facts, table
from upd_zoo.files import megabytes

HEADER = ("model", "revision", "method", "domain", "pre-training", "labels")
ROWS = [
    ("vae-phantom-t2", "main", "VAE", "phantom-t2", "none", "synthetic phantoms, quick profile"),
    ("rd-ixi-t2", "seed-1", "RD", "ixi-t2", "imagenet", ""),
]
FACTS = {
    "model": "vae-phantom-t2",
    "folder": "/home/somebody/.cache/huggingface/hub/upd-zoo/vae-phantom-t2/0123456789abcdef",
    "files": ", ".join(f"file-{number}.json ({number} MB)" for number in range(9)),
    "labels": "",
}
WIDTHS = (60, 80, 120)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_keeps_every_cell_and_its_width(width: int) -> None:
    text = table(HEADER, ROWS, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert {word for row in ROWS for cell in row for word in cell.split()} <= {*text.split()}


def test_a_table_that_fits_is_a_table_and_else_one_fact_below_the_other() -> None:
    assert table(HEADER, ROWS, 120) == table(HEADER, ROWS)
    assert len(table(HEADER, ROWS).splitlines()) == 1 + len(ROWS)
    first, second = table(HEADER, ROWS, 60).split("\n\n")
    assert first.splitlines()[0].split() == ["model", "vae-phantom-t2"]
    assert "labels" not in second, "what is empty needs no line"


@pytest.mark.parametrize("width", WIDTHS)
def test_facts_keep_every_word_whole(width: int) -> None:
    text = facts(FACTS, width)
    words = {word for fact in FACTS.values() for word in fact.split()}
    assert words <= {*text.split()}
    longest = 2 + max(map(len, words))
    assert all(len(line) <= max(width, longest) for line in text.splitlines())
    assert len(facts(FACTS).splitlines()) == len(FACTS), "in a pipe every fact is a line"


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 MB"),
        (1, "under 0.01 MB"),
        (9_999, "under 0.01 MB"),
        (10_000, "0.01 MB"),
        (99_999, "0.1 MB"),
        (1_250_000, "1.2 MB"),
        (123_456_789, "123 MB"),
    ],
)
def test_bytes_are_told_in_megabytes(count: int, told: str) -> None:
    assert megabytes(count) == told


def seen_on_terminal(command: list[str], environment: dict[str, str], folder: Path, width: int) -> str:
    """Return what a command shows on a terminal of this width."""
    reader, writer = pty.openpty()
    size = f"import fcntl, struct, termios; fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, {width}, 0, 0))"
    start = f"{size}; import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [PROGRAM.with_name("python"), "-c", start, *command], env=environment, cwd=folder, stdout=writer
    ) as process:
        os.close(writer)
        content = b""
        while True:
            try:
                block = os.read(reader, 1 << 16)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not block:
                break
            content += block
        process.wait(timeout=60)
    os.close(reader)
    return content.decode().replace("\r\n", "\n")


def test_a_command_heeds_the_width_of_its_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    environment = {name: value for name, value in environment.items() if name != "COLUMNS"}
    shown = seen_on_terminal([str(PROGRAM), "list"], environment, tmp_path, 60)
    assert shown
    assert all(len(line) <= 60 for line in shown.splitlines())
    wide = seen_on_terminal([str(PROGRAM), "list"], environment, tmp_path, 200)
    assert len(wide.splitlines()) == 2
    assert {*wide.splitlines()[1].split()} == {*wide.splitlines()[1].split()} & {*shown.split()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", [["list"], ["info"], ["verify"], ["doctor"], ["evaluate"]], ids=lambda verb: verb[0])
def test_every_answer_stays_whole(
    upd_zoo: Command, artefact: Path, tmp_path: Path, verb: list[str], width: int
) -> None:
    if verb == ["evaluate"]:
        arguments: list[str | Path] = ["evaluate", "-m", "vae-phantom-t2", "-o", tmp_path / "out", "--overwrite", "-q"]
    else:
        arguments = [*verb, *([artefact] if verb[0] in ("info", "verify") else [])]
    narrow, piped = (upd_zoo(*arguments, COLUMNS=columns) for columns in (str(width), ""))
    assert narrow.code == piped.code == 0
    words = {word for line in piped.out.splitlines() if not line.startswith("free disk") for word in line.split()}
    assert words <= {*narrow.out.split()}
    longest = 2 + max(map(len, words))
    assert all(len(line) <= max(width, longest) for line in narrow.out.splitlines()), narrow.out
