"""Measure how far the packaged models are from their answers in other runtimes, and write the page of it.

    python scripts/runtimes.py WORK

Each runtime is installed below `WORK` by itself, from PyPI or npm, and runs a program of `scripts/answers` on the
images that a model brings. What has been installed there before is used again.
"""

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.checks.proof import Proven, judge
from upd_harness.cli.app import run_alone
from upd_harness.cli.terminal import reports_errors
from upd_harness.speed.hardware import hardware
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.proof import Proof
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config
from upd_zoo.errors import OfflineError
from upd_zoo.files import write_text
from upd_zoo.hub.packaged import packaged, place_of
from upd_zoo.names import ModelId

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAMS: Final = Path(__file__).parent / "answers"
PAGE: Final = ROOT / "cards" / "results" / "runtimes.md"
HEAD: Final = """# Models in other runtimes

Written by `scripts/runtimes.py`: the ONNX files of the packaged models, run on the three images that each brings, and
held against what the eager model answered where it was exported. *Map* and *score* are the largest differences as a
share of the range that the answers span; *order* is Spearman's correlation of the two maps, the lowest of the three;
*turned* are images that change sides of the threshold, and *may turn* how many of the healthy images that the threshold
comes from could, if their scores moved as far: the one at the threshold always may.

| model | runtime | computes in | map | score | order | turned | may turn |
|---|---|---|---|---|---|---|---|
"""
FOOT: Final = """
Measured on {machine}, {system}. The tolerance of an export is a ten-thousandth of the range.

**OpenVINO computes in bfloat16 where the processor has such numbers**, unless it is told not to:
`compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})`. Its thresholds and figures hold for
float32.

## Any runtime on any machine

A program of a few lines runs `proof/image.npy` of a model and writes what comes out, `anomaly_map.npy` and `score.npy`:
[ONNX Runtime](../../scripts/answers/onnx_runtime.py), [OpenVINO](../../scripts/answers/open_vino.py),
[onnxruntime-web](../../scripts/answers/web.mjs), or yours. Then this tells the same as the table above, and ends with
exit code 8 where they are too far off:

    upd-zoo verify MODEL --answers FOLDER

For the runtimes that upd-zoo itself uses, `upd-zoo verify MODEL --here` does both.
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that is installed by itself.

    Attributes:
        title: What the page calls it, before its version.
        package: On PyPI, or on npm.
        wanted: Which version of it; empty for the newest.
        program: A file of `scripts/answers`.
        arguments: What the program takes besides the two folders.
    """

    title: str
    package: str
    wanted: str
    program: str
    arguments: tuple[str, ...] = ()

    @property
    def on_npm(self) -> bool:
        """Whether it runs under Node.js."""
        return self.program.endswith(".mjs")


def oldest_onnx_runtime() -> str:
    """Return the first release of ONNX Runtime that the package accepts."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = re.search(r"onnxruntime>=([\d.]+)", " ".join(stated))
    assert found is not None, "pyproject.toml names the release"  # noqa: S101 - for the types
    return f"=={found[1]}.*"


RUNTIMES: Final = {
    "oldest": Runtime("ONNX Runtime", "onnxruntime", oldest_onnx_runtime(), "onnx_runtime.py"),
    "newest": Runtime("ONNX Runtime", "onnxruntime", "", "onnx_runtime.py"),
    "openvino": Runtime("OpenVINO", "openvino", "", "open_vino.py"),
    "openvino-f32": Runtime("OpenVINO", "openvino", "", "open_vino.py", ("f32",)),
    "web": Runtime("onnxruntime-web, WebAssembly", "onnxruntime-web", "", "web.mjs"),
}


@dataclass(frozen=True, slots=True)
class Installed:
    """A runtime that is there: how its program is called, and its version."""

    command: tuple[str, ...]
    version: str


def install(runtime: Runtime, work: Path) -> Installed:
    """Install a runtime below a folder, where it is not there yet.

    Raises:
        OfflineError: It cannot be fetched, or Node.js is missing.
    """
    folder = (work / re.sub(r"[^\w.]+", "-", f"{runtime.package}{runtime.wanted}").rstrip("-.")).absolute()
    return (_from_npm if runtime.on_npm else _from_pypi)(runtime, folder)


def _from_pypi(runtime: Runtime, folder: Path) -> Installed:
    python, uv = folder / "bin" / "python", [sys.executable, "-m", "uv"]
    if not python.exists():
        _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run([*uv, "pip", "install", "--quiet", "-p", str(python), f"{runtime.package}{runtime.wanted}", "numpy"])
    asked = f"from importlib.metadata import version; print(version('{runtime.package}'))"
    # Isolated: a path of this process must not lead to its own packages.
    return Installed((str(python), "-I", str(PROGRAMS / runtime.program)), _run([str(python), "-I", "-c", asked]))


def _from_npm(runtime: Runtime, folder: Path) -> Installed:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise OfflineError("Node.js is not installed", "programs called node and npm")
    if not (folder / "node_modules" / runtime.package).is_dir():
        _run([npm, "install", "--silent", "--no-fund", "--prefix", str(folder), runtime.package])
    # Node.js looks for packages beside the program.
    program = shutil.copy(PROGRAMS / runtime.program, folder)
    asked = f"console.log(require('{folder}/node_modules/{runtime.package}/package.json').version)"
    return Installed((node, str(program)), _run([node, "-e", asked]))


def _run(command: Sequence[str]) -> str:
    """Return what a command prints.

    Raises:
        OfflineError: It fails.
    """
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - programs of this file
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise OfflineError(f"{Path(command[0]).name} failed and said: {said}", "a network, where packages are missing")
    return done.stdout.strip()


def answer(runtime: Runtime, installed: Installed, model: Path, answers: Path) -> str:
    """Let a runtime write its answers into a folder, and return in which numbers it says that it computes."""
    command = [*installed.command, str(model.absolute()), str(answers.absolute()), *runtime.arguments]
    return _run(command) or "f32"


def held(model: Path, answers: Path) -> Proven:
    """Return how far answers are from what a model must answer."""
    proof = Proof.read(model, read_record(model / CONFIG, Config))
    calibration = read_record(model / CALIBRATION, Calibration)
    return judge(proof.answered(answers), proof, calibration, verify(model, ()).parity)


def line_of(model: str, runtime: Runtime, installed: Installed, precision: str, proven: Proven) -> str:
    """Return a line of the page."""
    (row,) = proven.rows
    cells = [
        f"`{model}`",
        f"{runtime.title} {installed.version}",
        precision,
        f"{row.map_difference / row.map_range:.1e}",
        f"{row.score_difference / row.score_range:.1e}",
        f"{row.rank_correlation:.6f}",
        f"{proven.turned} of 3",
        f"{proven.at_most} of {proven.cases}",
    ]
    return f"| {' | '.join(cells)} |"


def lines(work: Path) -> Iterator[str]:
    """Yield the line of every packaged model in every runtime."""
    for catalogued in packaged():
        for key, runtime in RUNTIMES.items():
            installed, model = install(runtime, work), place_of(ModelId.parse(catalogued.id))
            answers = work / "answers" / catalogued.id / key
            precision = answer(runtime, installed, model, answers)
            yield line_of(catalogued.id, runtime, installed, precision, held(model, answers))


@reports_errors
def main(
    work: Annotated[Path, typer.Argument(help="Where runtimes are installed and their answers lie.")],
) -> None:
    """Measure the packaged models in other runtimes, and write the page of it."""
    rows = list(lines(work))
    foot = FOOT.format(machine=hardware()["processor"], system=f"{platform.system()} {platform.machine()}")
    write_text(PAGE, HEAD + "\n".join(rows) + "\n" + foot)
    print(PAGE)


if __name__ == "__main__":
    run_alone(main)
