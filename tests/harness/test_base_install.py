"""The base install, in an empty environment: it lists, pulls, verifies, scores and evaluates without torch."""

import subprocess
from pathlib import Path

import pytest

from fake.inputs import head, rows_of, write_broken, write_volume
from fake.installs import REPOSITORY, install, new_environment
from fake.program import Answer, Command, finished

MODEL = "vae-phantom-t2"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that holds the base install and nothing else."""
    programs = new_environment(tmp_path_factory.mktemp("fresh") / "venv")
    install(programs, REPOSITORY)
    return programs


@pytest.fixture
def bare(fresh: Path, environment: dict[str, str], tmp_path: Path) -> Command:
    """Run the freshly installed program."""
    environment.pop("PYTHONPATH", None)

    def run(*arguments: str | Path, **variables: str) -> Answer:
        return finished([str(fresh / "upd-zoo"), *map(str, arguments)], environment | variables, tmp_path, None)

    return run


@pytest.mark.fresh
def test_a_base_install_does_all_but_making_models(fresh: Path, bare: Command, artefact: Path, tmp_path: Path) -> None:
    for module, there in (("torch", False), ("onnx", False), ("scipy", False), ("upd_zoo", True)):
        looked = subprocess.run([fresh / "python", "-c", f"import {module}"], cwd=tmp_path, capture_output=True)
        assert (looked.returncode == 0) == there, f"{module}: {looked.stderr.decode()}"

    assert [row["id"] for row in bare("list", "--json").json] == [MODEL]
    pulled = bare("pull", MODEL)
    assert (pulled.code, pulled.out.strip().startswith(str(tmp_path))) == (0, True), pulled
    assert bare("verify", MODEL).code == 0
    assert bare("info", MODEL).code == 0
    assert "missing" in bare("doctor", "--json").json["extra train"]

    write_volume(tmp_path / "scans" / "good.nii.gz", head(0))
    assert bare("score", "scans", "-m", MODEL, "-o", "whole").code == 0
    expected = write_broken(tmp_path / "scans")
    scored = bare("score", "scans", "-m", artefact, "-o", "scores", "--json")
    assert (scored.code, scored.json["ok"], scored.json["failed"]) == (3, 1, len(expected)), scored
    assert len(rows_of(tmp_path / "scores")) == 1 + len(expected)

    evaluated = bare("evaluate", "-m", MODEL, "-o", "evaluation", "--json")
    assert (evaluated.code, evaluated.json["images"]) == (0, 12), evaluated
    assert (tmp_path / "evaluation" / "report.html").is_file()

    for backend in ("torch", "torchscript"):
        refused = bare("score", "scans", "-m", MODEL, "-o", "eager", "-q", "--backend", backend)
        assert refused.is_one_error(7), refused
        assert "pip install 'upd-zoo[train]'" in refused.err
