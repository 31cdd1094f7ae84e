"""An install from a wheel, away from the repository: it prepares phantoms, trains, scores and evaluates."""

import os
import subprocess
from pathlib import Path

import pytest

from fake.inputs import rows_of
from fake.installs import REPOSITORY, install, new_environment, uv
from fake.program import Answer, Command, finished

MODEL = "vae-phantom-cxr"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is handed on."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--out-dir", folder, REPOSITORY)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment that holds what trains, and not what grows brains."""
    found = new_environment(tmp_path_factory.mktemp("fresh") / "venv")
    install(found, f"{wheel}[train]")
    return found


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Command:
    """Run the installed program, for a user who has neither a hub nor stores."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_", "PYTHON"))}
    variables = kept | {"UPD_ZOO_DATA": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*arguments: str | Path) -> Answer:
        return finished([str(programs / "upd-zoo"), *map(str, arguments)], variables, tmp_path, None)

    return run


@pytest.mark.fresh
@pytest.mark.timeout(1200)
def test_from_a_wheel_a_model_is_made_and_used(installed: Command, programs: Path, wheel: Path, tmp_path: Path) -> None:
    for module, there in (("torch", True), ("scipy", False)):
        looked = subprocess.run([programs / "python", "-c", f"import {module}"], cwd=tmp_path, capture_output=True)
        assert (looked.returncode == 0) == there, f"{module}: {looked.stderr.decode()}"

    prepared = installed("prepare", "phantom-cxr", "--subjects", "32", "--json")
    assert prepared.code == 0, prepared.err
    trained = installed("train", MODEL, "--profile", "quick", "--steps", "10", "-d", "cpu", "--protocol", "study")
    assert trained.code == 0, trained.err
    artefact = tmp_path / trained.out.strip()
    assert artefact == tmp_path / "out" / "runs" / MODEL / "artefact"
    assert installed("verify", artefact).code == 0

    assert installed("phantoms", "phantom-cxr", "-o", "files").code == 0
    scored = installed("score", "files", "-m", artefact, "-o", "scores", "--json")
    assert (scored.code, scored.json["ok"], scored.json["failed"]) == (3, 6, 1), scored.err
    assert len(rows_of(tmp_path / "scores")) == 7
    evaluated = installed(
        "evaluate", "-m", artefact, "--test-set", "phantom-cxr", "--into", "-o", "evaluation", "--json"
    )
    assert evaluated.code == 0, evaluated.err
    assert (tmp_path / "evaluation" / "report.html").is_file()

    assert installed("publish", artefact, "--hub", "hub").code == 0
    assert [row["id"] for row in installed("list", "--hub", "hub", "--json").json] == [MODEL]

    refused = installed("prepare", "phantom-t2", "--subjects", "2")
    assert refused.is_one_error(7), refused
    assert "pip install 'upd-zoo[prepare]'" in refused.err
    install(programs, f"{wheel}[train,prepare]")
    assert installed("prepare", "phantom-t2", "--subjects", "2").code == 0
