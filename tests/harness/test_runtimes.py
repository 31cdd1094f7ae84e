"""Packaged models in other runtimes and versions: whether they answer what they must, and how a user asks for that."""

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.program import Command, finished
from fake.scripts import SCRIPTS, script
from upd_zoo.artefact.proof import PROOF
from upd_zoo.errors import OfflineError
from upd_zoo.hub.packaged import packaged, place_of
from upd_zoo.names import ModelId


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("runtimes", monkeypatch)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture
def answered(runtimes: Any, work: Path, tmp_path: Path) -> Callable[[str, Path], tuple[str, Any]]:
    """Give in which numbers a runtime computes, and how far its answers are off."""

    def answer(key: str, model: Path) -> tuple[str, Any]:
        try:
            installed = runtimes.install(runtimes.RUNTIMES[key], work)
        except OfflineError as error:
            pytest.skip(str(error))
        precision = runtimes.answer(runtimes.RUNTIMES[key], installed, model, tmp_path / "answers")
        return precision, runtimes.held(model, tmp_path / "answers")

    return answer


@pytest.mark.slow
@pytest.mark.skipif(platform.system() == "Windows", reason="environments have another layout there")
@pytest.mark.parametrize("runtime", ["oldest", "newest", "openvino", "openvino-f32", "web"])
@pytest.mark.parametrize("model", [row.id for row in packaged()])
def test_a_packaged_model_answers_alike_wherever_numbers_are_float32(
    model: str, runtime: str, answered: Callable[[str, Path], tuple[str, Any]]
) -> None:
    precision, proven = answered(runtime, place_of(ModelId.parse(model)))
    assert proven.passed == (precision == "f32"), proven
    if proven.passed:
        assert proven.turned == 0


def test_answers_of_any_runtime_are_held_against_the_models_own(
    upd_zoo: Command, artefact: Path, tmp_path: Path
) -> None:
    program = SCRIPTS / "answers" / "onnx_runtime.py"
    assert finished([sys.executable, str(program), str(artefact), str(tmp_path / "answers")]).code == 0
    right = upd_zoo("verify", artefact, "--answers", "answers", "--json")
    assert (right.code, right.json["passed"], right.json["turned"]) == (0, True, 0)

    scores = np.load(tmp_path / "answers" / "score.npy")
    np.save(tmp_path / "answers" / "score.npy", scores + np.float32(1e3))
    wrong = upd_zoo("verify", artefact, "--answers", "answers")
    assert wrong.code == 8
    assert "What answers holds of vae-phantom-t2 is outside its tolerance" in wrong.err
    assert "images change sides of the threshold" in wrong.out


@pytest.mark.parametrize(
    ("damage", "code", "said"), [("missing", 4, "holds no score.npy"), ("other", 5, "the shape (1,)")]
)
def test_answers_that_are_none_are_refused(
    damage: str, code: int, said: str, upd_zoo: Command, artefact: Path, tmp_path: Path
) -> None:
    (tmp_path / "anomaly_map.npy").write_bytes((artefact / PROOF[1]).read_bytes())
    if damage == "other":
        np.save(tmp_path / "score.npy", np.zeros(1, np.float32))
    refused = upd_zoo("verify", artefact, "--answers", tmp_path)
    assert refused.is_one_error(code), refused
    assert said in refused.err


def test_either_this_machine_answers_or_a_folder_does(upd_zoo: Command, artefact: Path, tmp_path: Path) -> None:
    assert upd_zoo("verify", artefact, "--here", "--answers", tmp_path).is_one_error(2)
