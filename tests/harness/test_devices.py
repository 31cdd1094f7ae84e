"""A driver that offers a device is not enough to run on it: a stub of one stands in for a machine without CUDA."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake.inputs import head, write_volume
from fake.program import Command

DRIVER = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
"""
BACKENDS = ("onnx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("torchscript", "torch")))
TRAINER = """
import sys, pathlib
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.errors import UsageError
from upd_zoo.recipe import load_recipe
from upd_zoo.names import ModelId
recipe = load_recipe(ModelId.parse("vae-phantom-t2"), profile="quick")
trainer = Trainer(pathlib.Path("run"), recipe, "auto")
print(trainer.device.type, trainer.device_note, sep=": ")
try:
    Trainer(pathlib.Path("run"), recipe, "cuda")
except UsageError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a machine whose driver reports one device, and which has no CUDA."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler to make a driver with")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", folder / "driver.c"], check=True, timeout=60
    )
    return {"LD_LIBRARY_PATH": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_volume(tmp_path / "in" / "scan.nii.gz", head(0))
    return tmp_path / "in"


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_usable_device_the_choice_falls_on_the_cpu_and_is_explained(
    program: Command, driver: dict[str, str], artefact: Path, folder: Path, backend: str
) -> None:
    answer = program("score", folder, "-m", artefact, "-o", "out", "--backend", backend, "--json", **driver)
    assert answer.code == 0, answer.err
    assert "cuda:0 exists but cannot be used: " in answer.err
    assert f"on cpu through {backend}" in answer.err
    assert answer.json["ok"] == 1, "what a library prints would be no JSON"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_device_that_was_asked_for_and_cannot_be_used_is_one_error(
    program: Command, driver: dict[str, str], artefact: Path, folder: Path, backend: str
) -> None:
    answer = program("score", folder, "-m", artefact, "-o", "out", "--backend", backend, "-d", "cuda", **driver)
    assert answer.is_one_error(2), answer.err
    assert "cuda:0 exists but cannot be used: " in answer.err


def test_the_doctor_tells_what_each_runtime_can_use(program: Command, driver: dict[str, str]) -> None:
    facts = program("doctor", "--json", **driver).json
    assert facts["CUDA devices"] == 1
    for backend in ("onnx", "torch"):
        assert facts[f"CUDA through {backend}"].startswith("cannot be used: ")


@pytest.mark.slow
def test_training_falls_back_and_explains_it_too(driver: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAINER],
        env=os.environ | driver,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    fallen, refused = done.stdout.splitlines()
    assert fallen.startswith("cpu: cuda:0 exists but cannot be used: ")
    assert refused.startswith("No CUDA device can be used: ")
