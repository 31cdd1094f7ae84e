"""Every piece of code on a model's card runs where only what it imports is installed, and gives the right score."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fake.inputs import rows_of, write_picture
from fake.installs import REPOSITORY, environment_with
from fake.program import Answer, finished
from fake.trained import COLOUR, GREY, trained_artefact
from upd_harness.scoring.folder import score_folder
from upd_zoo.artefact.records import CARD, WEIGHTS
from upd_zoo.hub import open_hub
from upd_zoo.hub.packaged import packaged, place_of
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import load_folder

PACKAGED = [row.id for row in packaged()]
_REQUIREMENTS = {"PIL": "pillow", "json": "", "numpy": "numpy", "pathlib": "", "upd_zoo": str(REPOSITORY)}
"""What is to be installed for what is imported; nothing for Python's own."""
_GIVEN = "import numpy\nimages = numpy.load('proof/image.npy')\n"
_TOLD = "\nprint('scores', *(float(each) for each in score))"


@pytest.fixture(params=[*PACKAGED, GREY, COLOUR])
def folder(request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as somebody has it: its folder, with an image in it, and a hub where it is found by name."""
    name, hub = ModelId.parse(request.param), tmp_path / "hub"
    if request.param in PACKAGED:
        made = place_of(name)
        (hub / "none").mkdir(parents=True)
    else:
        made = trained_artefact(tmp_path_factory, request.param)
        open_hub(hub).publish(made, name, force=True)
    copy = shutil.copytree(made, tmp_path / "model")
    write_picture(copy / "image.png", 7, colour=name.domain.modality.channels == 3, size=(150, 201))
    return copy


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Callable[..., Answer]:
    """Run a program in the model's folder, as a user who has nothing but that and a hub."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_", "PYTHON"))}
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    hub = {} if (tmp_path / "hub" / "none").is_dir() else {"UPD_ZOO_HUB": str(tmp_path / "hub")}

    def typed(*command: str | Path) -> Answer:
        return finished([*map(str, command)], kept | own | hub, folder, 300)

    return typed


def codes_of(card: str) -> Iterator[str]:
    """Yield each piece of Python; with what stands before it, where it goes on from that."""
    plain = ""
    for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        plain = code if "InferenceSession" in code else plain
        yield plain + code if "square" in code and code != plain else code


def requirements_of(code: str) -> list[str]:
    """Return what must be installed for what a piece of code imports."""
    imported = {line.split()[1].partition(".")[0] for line in code.splitlines() if re.match(r"(import|from) ", line)}
    found = {_REQUIREMENTS.get(name, name) for name in imported} - {""}
    if {"torch", str(REPOSITORY)} <= found:
        return [f"{REPOSITORY}[train]"]
    return sorted(found)


@pytest.mark.fresh
@pytest.mark.timeout(1200)
def test_every_snippet_of_a_card_runs_where_its_imports_alone_are_installed(
    folder: Path, run: Callable[..., Answer], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    score_folder(load_folder(folder, device="cpu", threads=1), folder / "image.png", tmp_path / "expected")
    scores = {True: [rows_of(tmp_path / "expected")[0]["score"]], False: np.load(folder / "proof" / "score.npy")}
    codes = list(codes_of((folder / CARD).read_text(encoding="utf-8")))
    assert len(codes) == (5 if (folder / WEIGHTS).is_file() else 2)
    for code in codes:
        python = environment_with(tmp_path_factory, *requirements_of(code), "numpy")
        whole = (_GIVEN if "images" in code else "") + code + (_TOLD if "score" in code else "")
        done = run(python, "-I", "-c", whole)
        assert done.code == 0, f"{code}\n{done.err}"
        if "score" in code:
            told = [float(each) for each in done.out.splitlines()[-1].split()[1:]]
            assert told == pytest.approx(list(scores["image.png" in code]), abs=1e-4), code


@pytest.mark.fresh
@pytest.mark.timeout(1200)
def test_the_command_of_a_card_scores_a_folder(
    folder: Path, run: Callable[..., Answer], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = re.findall(r"```\n(upd-zoo .*?)\n```", (folder / CARD).read_text(encoding="utf-8"))[0]
    shutil.copytree(folder, tmp_path / "FOLDER", ignore=lambda _, names: {*names} - {"image.png"})
    program = environment_with(tmp_path_factory, str(REPOSITORY), "numpy").with_name("upd-zoo")
    _, *arguments = command.replace("FOLDER", str(tmp_path / "FOLDER")).replace("OUTPUT", str(tmp_path / "out")).split()
    done = run(program, *arguments)
    assert done.code == 0, done.err
    assert len(rows_of(tmp_path / "out")) == 1
