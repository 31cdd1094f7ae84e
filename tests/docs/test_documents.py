"""What documents say of the repository is there: links, paths, names of the code, targets of the Makefile."""

import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from upd_harness.cli.program import app
from upd_harness.reproduce.items import ITEMS
from upd_zoo.sources.listed import SOURCES

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cards", "harness", "scripts", "tests", "zoo")
"""Folders of the repository; a path that begins with another word, such as `out/demo`, is made by a command."""
PACKAGES = {"upd_zoo": ROOT / "zoo", "upd_harness": ROOT / "harness"}
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for room in ROOMS for path in (ROOT / room).rglob("*.md"))])
STUDY = ROOT / "cards" / "study.md"
METHODS = {path.stem.replace("_", "-") for path in (ROOT / "zoo/upd_zoo/methods").glob("[!_]*.py")}
"""Each method lives in the file of its id, as the contract tests ask."""
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, re.MULTILINE)) | {f"reproduce-{item}" for item in ITEMS}

COMMANDS = vars(typer.main.get_command(app))["commands"]

FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z]+:")
PLACEHOLDER = re.compile(r"[<>{}*$…]|NNNN")
COMMAND = re.compile(r"^(?:\$ )?upd-zoo ([a-z]+)\b")
OPTION = re.compile(r"(?<!\S)-{1,2}[A-Za-z][\w-]*")
TARGET = re.compile(r"^(?:\$ )?make((?: +[\w=./-]+)*)")
CITATION = re.compile(r"cards/study\.md,\s+sections?\s+(\d[\d.]*(?:(?:,\s+|\s+and\s+)\d[\d.]*)*)")
ABSOLUTE = re.compile(r"(?:^|[\s`'\"(=])(/[A-Za-z][^\s`'\")]*|[A-Za-z]:\\\S*|~/\S*|file:/\S*)", re.MULTILINE)


def code_of(text: str) -> list[str]:
    """Return the lines of code blocks and the spans between backticks."""
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    return [*lines, *SPAN.findall(FENCE.sub("", text))]


def words_of(text: str) -> Iterator[str]:
    """Yield what stands between blanks and punctuation in the code of a document, placeholders left out."""
    for code in code_of(text):
        for word in re.split(r"[\s,;:()='\"]+", code):
            if not PLACEHOLDER.search(word):
                yield word.rstrip(".")


def broken_links(text: str, path: Path) -> Iterator[str]:
    for link in LINK.findall(SPAN.sub("", FENCE.sub("", text))):
        file, _, fragment = link.partition("#")
        target = path.parent / file if file else path
        if ELSEWHERE.match(link):
            continue
        if not target.exists() or (fragment and fragment not in anchors_of(target)):
            yield link


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that a document's headings get."""
    headings = HEADING.findall(FENCE.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_paths(text: str, _: Path) -> Iterator[str]:
    for word in words_of(text):
        room, slash, _rest = word.partition("/")
        base = PACKAGES.get(room, ROOT if room in ROOMS else None)
        if slash and base is not None and not (base / word).exists():
            yield word


def unknown_names(text: str, _: Path) -> Iterator[str]:
    for word in words_of(text):
        first, *others = word.split(".")
        if first in PACKAGES and all(part.isidentifier() for part in others) and not is_in_the_code(first, *others):
            yield word


def is_in_the_code(package: str, *parts: str) -> bool:
    """Return whether a dotted name leads to a module, or to a word of one; nothing is imported."""
    place = PACKAGES[package] / package
    for number, part in enumerate(parts):
        if (place / part).is_dir():
            place = place / part
        elif place.joinpath(f"{part}.py").is_file():
            place = place / f"{part}.py"
        else:
            source = (place if place.is_file() else place / "__init__.py").read_text(encoding="utf-8")
            return all(re.search(rf"\b{name}\b", source) for name in parts[number:])
    return True


def unknown_targets(text: str, _: Path) -> Iterator[str]:
    for code in code_of(text):
        found = TARGET.match(code)
        words = found[1].split() if found else []
        yield from (word for word in words if "=" not in word and word not in TARGETS)


def unknown_commands(text: str, _: Path) -> Iterator[str]:
    for code in code_of(text):
        if (found := COMMAND.match(code)) and found[1] not in COMMANDS:
            yield found[1]
        elif found:
            yield from (option for option in OPTION.findall(code) if option not in options_of(COMMANDS[found[1]]))


def options_of(command: Any) -> set[str]:
    """Return the options of a command of the program, and those of the commands below it."""
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union({"-h", "--help"}, *map(options_of, vars(command).get("commands", {}).values()))


def absolute_paths(text: str, _: Path) -> Iterator[str]:
    yield from ABSOLUTE.findall(text)


Check = Callable[[str, Path], Iterator[str]]
CHECKS = (broken_links, missing_paths, unknown_names, unknown_targets, unknown_commands, absolute_paths)
every_check = pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])


@every_check
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_document_says_nothing_that_is_not_there(path: Path, check: Check) -> None:
    assert list(check(path.read_text(encoding="utf-8"), path)) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (broken_links, "see [there](cards/nowhere.md)"),
        (broken_links, "see [there](CONTRIBUTING.md#nowhere)"),
        (broken_links, "![picture](nowhere.png)"),
        (missing_paths, "in `zoo/upd_zoo/nowhere.py`."),
        (missing_paths, "in `upd_harness/nowhere.py`."),
        (missing_paths, "```\npython scripts/nowhere.py --out out/demo\n```"),
        (unknown_names, "in `upd_zoo.nowhere`"),
        (unknown_names, "call `upd_zoo.nothing(1)`"),
        (unknown_targets, "run `make nothing`"),
        (unknown_targets, "```\n$ make DOMAIN=idrid nothing  # a reason\n```"),
        (unknown_commands, "type `upd-zoo nothing`"),
        (unknown_commands, "```\n$ upd-zoo score images -m vae-idrid --nothing\n```"),
        (absolute_paths, "in `/anywhere/else`"),
        (absolute_paths, "put it into ~/data"),
        (absolute_paths, "file:/anywhere"),
        (absolute_paths, "C:\\data"),
    ],
)
def test_what_is_not_there_is_seen(check: Check, text: str) -> None:
    assert list(check(text, ROOT / "README.md"))


@every_check
@pytest.mark.parametrize(
    "text",
    [
        "[up](SECURITY.md#limits), [down](cards/), [out](https://example.org/x) and/or `map[0](x)`",
        "`zoo/upd_zoo/method.py`, `upd_zoo/method.py`, `cards/methods/<id>.md`, `out/demo`, `onnx/model.onnx`",
        "`upd_zoo.load`, `upd_zoo.images.gate`; make nothing of it",
        "```\n$ upd-zoo score images -m vae-idrid --part-id 0\nupd-zoo doctor data idrid --data out\nupd-zoo\n```",
        "```\n$ make test  # all tests\nmake prepare DOMAIN=idrid ROOT=path/to/IDRiD\nmake\n```",
    ],
)
def test_what_is_there_is_left_alone(check: Check, text: str) -> None:
    assert list(check(text, ROOT / "README.md")) == []


@pytest.mark.parametrize(
    ("folder", "names"),
    [("methods", METHODS), ("data", {source.title.lower() for source in SOURCES})],
    ids=["methods", "data sources"],
)
def test_every_method_and_every_data_source_has_its_card(folder: str, names: set[str]) -> None:
    assert {path.stem for path in (ROOT / "cards" / folder).glob("*.md")} == names


def test_the_menu_fits_one_screen_and_names_what_can_be_reproduced() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607 - the system's own
    lines = done.stdout.splitlines()
    assert 10 < len(lines) < 24
    assert max(map(len, lines)) <= 80
    named = {word.removeprefix("reproduce-") for line in lines for word in re.split(r"[\s,;]+", line)}
    families = [[item for item in ITEMS if item.startswith(family)] for family in ("table", "fig")]
    assert {"ITEM", *(item for family in families for item in (family[0], family[-1]))} <= named


def test_every_card_is_listed_but_those_of_methods_that_the_study_does_not_have() -> None:
    folder = ROOT / "cards"
    listed = set(LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    cards = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"README.md"}
    published = tomllib.loads((ROOT / "harness/upd_harness/published.toml").read_text(encoding="utf-8"))
    study = {f"methods/{method}.md" for method in published["table-vi"]}
    assert listed <= cards
    assert {card for card in cards - listed if card in study or not card.startswith("methods/")} == set()


def unknown_sections(text: str) -> list[str]:
    """Return the sections of the card of the study that are cited and that it does not have."""
    sections = {heading.split()[0] for heading in HEADING.findall(STUDY.read_text(encoding="utf-8"))}
    cited = [number for numbers in CITATION.findall(text) for number in re.findall(r"\d+(?:\.\d+)?", numbers)]
    return [number for number in cited if number not in sections]


@pytest.mark.parametrize("room", ROOMS)
def test_sections_of_the_study_that_are_cited_exist(room: str) -> None:
    texts = [path for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".toml", ".md"}]
    found = {path.name: unknown_sections(path.read_text(encoding="utf-8")) for path in texts}
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


def test_a_section_of_the_study_that_is_not_there_is_seen() -> None:
    card = STUDY.relative_to(ROOT).as_posix()
    assert unknown_sections(f"Source: {card}, sections 2, 3.1 and 9.9; {card},\n    section 8.") == ["9.9", "8"]


def test_decisions_are_numbered_without_a_gap_and_say_their_number() -> None:
    decisions = sorted((ROOT / "cards" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        assert HEADING.findall(text)[1:] == ["Context", "Decision", "Consequences"], path.name


def test_what_cannot_be_reproduced_ends_make_with_the_reason(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "upd-zoo"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    (tmp_path / "ready").touch()
    command = ["make", "-C", str(ROOT), "reproduce-table-ii", f"VENV={tmp_path}", "-o", f"{tmp_path}/ready"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Error 2" in ended.stderr
    assert "Phantoms stand in." not in ended.stderr
