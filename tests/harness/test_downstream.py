"""A project that has a model's ONNX file, and neither upd-zoo nor torch, gets the scores of the program."""

import sys
import tomllib
from pathlib import Path

import pytest

from fake.inputs import write_picture
from fake.installs import environment_with
from fake.program import finished
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.journal import read_rows
from upd_zoo.artefact.records import ONNX
from upd_zoo.hub.packaged import defaults, place_of
from upd_zoo.runtime.folder import load_folder
from upd_zoo.runtime.model import Model

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "tests" / "downstream"
EXAMPLES = {"chest-xray": "chest", "fundus": "fundus"}

# What a program imports is refused where it is not one of these, their parts or Python's own.
_GUARD = """
import runpy, sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "upd_zoo", "upd_harness", "onnx", "timm", "huggingface_hub", "pydantic"}:
            raise ImportError(f"{name} is not among what the project depends on")

sys.meta_path.insert(0, Guard())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def told(python: Path | str, model: Path, pictures: list[Path], *before: str) -> dict[str, tuple[float, bool]]:
    """Return score and verdict of each picture, as the project prints them."""
    done = finished([str(python), *before, str(PROJECT / "score_pictures.py"), str(model), *map(str, pictures)])
    assert done.code == 0, done.err
    rows = [line.split("\t") for line in done.out.splitlines()]
    return {name: (float(score), verdict == "above") for name, score, verdict in rows}


def expected(model: Model, pictures: list[Path], work: Path) -> dict[str, tuple[float, bool]]:
    """Return what the program writes of them."""
    score_folder(model, pictures[0].parent, work)
    rows = {row["input"]: row for row in read_rows(work / "results.jsonl")}
    return {path.name: (rows[path.name]["score"], rows[path.name]["is_anomalous"]) for path in pictures}


def assert_same(found: dict[str, tuple[float, bool]], wanted: dict[str, tuple[float, bool]]) -> None:
    assert {name: row[1] for name, row in found.items()} == {name: row[1] for name, row in wanted.items()}
    for name, (score, _) in wanted.items():
        assert found[name][0] == pytest.approx(score, abs=1e-4), name


@pytest.mark.parametrize("colour", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["grey", "colour"])
def test_the_project_scores_as_the_program_does(
    colour: bool, model: Model, colour_model: Model, artefact: Path, colour_artefact: Path, tmp_path: Path
) -> None:
    folder, runs = (colour_artefact, colour_model) if colour else (artefact, model)
    sizes = [(40, 60), (150, 131)]
    pictures = [
        write_picture(tmp_path / "in" / f"{number}.png", number, colour=colour, size=size)
        for number, size in enumerate(sizes)
    ]
    wanted = expected(runs, pictures, tmp_path / "out")
    assert_same(told(sys.executable, folder, pictures, "-c", _GUARD), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_the_project_scores_by_packaged_models_with_its_own_requirements_alone(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    requirements = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    python = environment_with(tmp_path_factory, *requirements)
    for name in ("torch", "upd_zoo", "huggingface_hub"):
        assert finished([str(python), "-I", "-c", f"import {name}"]).code != 0
    folder = place_of(defaults()[kind])
    pictures = sorted((ROOT / "cards" / "examples" / EXAMPLES[kind]).iterdir())
    wanted = expected(load_folder(folder, device="cpu", threads=1), pictures, tmp_path / "out")
    assert_same(told(python, folder / ONNX, pictures, "-I"), wanted)
