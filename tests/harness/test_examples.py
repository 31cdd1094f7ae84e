"""The example images: small, attributed, of parts that no model learns from, and written by one command."""

from pathlib import Path
from typing import Any

import pytest

from fake.program import Command
from fake.scripts import script
from upd_harness.scoring.inputs import Input
from upd_zoo.images.gate import read_photograph, read_volume

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "cards" / "examples"
FOLDERS = ["brain", "chest", "fundus"]


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("examples", monkeypatch)


def test_the_examples_are_written_with_the_command_to_type_next(upd_zoo: Command, tmp_path: Path) -> None:
    answer = upd_zoo("examples", "-o", "my examples")
    assert answer.code == 0
    assert "then type: upd-zoo score 'my examples'" in answer.out
    written = {path.relative_to(tmp_path / "my examples") for path in (tmp_path / "my examples").rglob("*")}
    folders = [EXAMPLES / folder for folder in FOLDERS]
    expected = [EXAMPLES / "README.md", *folders, *(path for folder in folders for path in folder.iterdir())]
    assert written == {path.relative_to(EXAMPLES) for path in expected}
    again = upd_zoo("examples", "-o", "my examples")
    assert again.is_one_error(2)
    assert "name another with -o" in again.err


def test_what_is_there_is_not_lost(upd_zoo: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert upd_zoo("examples", "-o", "file").is_one_error(2)
    assert (tmp_path / "file").read_text() == "mine"
    told = upd_zoo("examples", "--json").json
    assert (told["folder"], told["then"]) == ("upd-zoo-examples", "upd-zoo score upd-zoo-examples")


@pytest.mark.parametrize("folder", FOLDERS)
def test_four_of_a_kind_are_small_and_whole(folder: str) -> None:
    paths = sorted((EXAMPLES / folder).iterdir())
    kinds = [path.name.partition("-")[0] for path in paths]
    assert kinds == ["diseased", "diseased", "healthy", "healthy"]
    assert sum(path.stat().st_size for path in paths) <= 200_000
    for path in paths:
        if Input.of(path).is_volume:
            assert read_volume(path).data.ndim == 3
        else:
            assert read_photograph(path).stored.ndim == 3


def test_every_example_has_its_source_in_the_page(examples: Any) -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    sources = {Path(source).stem for source in examples._COPIED.values()}
    sources |= {subject for _, subject in examples._BRAINS.values()}
    assert len(sources) == sum(len(list((EXAMPLES / folder).iterdir())) for folder in FOLDERS) == 12
    assert [source for source in sources if f"`{source}`" not in page] == []


def test_no_model_learns_from_an_example(examples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    examples.check_parts()
    numbers = (f"nih_cxr/images/{number:08}_000.png" for number in range(1, 30))
    refused = 0
    for source in numbers:
        monkeypatch.setitem(examples._COPIED, "chest/healthy-1.png", source)
        try:
            examples.check_parts()
        except SystemExit:
            refused += 1
    assert 10 < refused < 29


@pytest.mark.real
def test_pictures_are_those_of_their_source(examples: Any, open_images: Path) -> None:
    for name, source in examples._COPIED.items():
        assert (EXAMPLES / name).read_bytes() == (open_images / source).read_bytes()
