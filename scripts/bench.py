"""Measure upd-zoo's speed and memory on this machine and compare them with what it promises.

    python scripts/bench.py
    python scripts/bench.py --only metrics --pixels 200000 --json

What is promised is a ratio of two times of one run wherever it can be, so that it means the same on every machine. Each
group runs in a process of its own, so that none sees another's threads, imports or memory. Other work on the machine
only ever adds time: where two things are compared, each is repeated and the shortest times are taken.

Weights are random, for speed does not depend on them. Ends with exit code 8 where a limit is missed.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer

from bench_figures import BATCH, Figure, apart, config_of, model_of, resident, seconds_of, shortest
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.report.run_record import utc_now, versions
from upd_harness.report.text import table
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, ONNX, TORCHSCRIPT, Config, PixelConvention
from upd_zoo.errors import ToleranceError, UpdZooError
from upd_zoo.files import write_json
from upd_zoo.hub.catalogue import CATALOGUE, Catalogue, Row
from upd_zoo.runtime.model import Array, Model
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.vocabulary import DOMAINS, IMAGE_SIZE

SCHEMA: Final = "upd-zoo/bench/1"
_STARTS: Final = 5
_STUDY_RD, _QUICK_VAE = ("rd", "full"), ("vae", "quick")
_ANOMALOUS: Final = 0.03
_BLOCK: Final = 1 << 20


class Group(StrEnum):
    """What is measured together."""

    COMMANDS = "commands"
    SCORING = "scoring"
    METRICS = "metrics"
    BACKENDS = "backends"
    PHANTOMS = "phantoms"
    READING = "reading"
    MEMORY = "memory"
    MODELS = "models"
    SIZES = "sizes"
    TRAINING = "training"


def _progress(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


def commands() -> list[Figure]:
    """Measure how soon the program answers, and that it does so without torch."""
    bare = statistics.median(seconds_of(partial(_run, [sys.executable, "-c", "pass"])) for _ in range(_STARTS))
    figures = [Figure("python -c pass, median of 5", bare, "s")]
    with tempfile.TemporaryDirectory() as hub:
        rows = tuple(Row(f"vae-{domain}", "main", "VAE") for domain in sorted(DOMAINS))
        Catalogue(rows).write(Path(hub) / CATALOGUE)
        for name, arguments in (
            ("--help", ["--help"]),
            ("list, default hub", ["list"]),
            ("list, folder hub", ["list", "--hub", hub]),
        ):
            figures += _command(name, arguments, bare)
    return figures


def _command(name: str, arguments: list[str], bare: float) -> list[Figure]:
    program = shutil.which("upd-zoo", path=sysconfig.get_path("scripts"))
    if program is None:
        raise UpdZooError(
            "the program upd-zoo is not installed beside this Python", "", "make bench, which installs it"
        )
    command = [program, *arguments]
    median = statistics.median(seconds_of(partial(_run, command)) for _ in range(_STARTS))
    imported = re.findall(r"\| +torch(?:\.\S+)?$", _run(command, PYTHONPROFILEIMPORTTIME="1"), re.MULTILINE)
    return [
        Figure(f"upd-zoo {name}, median of 5", median, "s", 0.6, "lower"),
        Figure(f"upd-zoo {name} / python -c pass", median / bare, "x"),
        Figure(f"upd-zoo {name}: modules of torch", len(imported), "modules", 0, "lower"),
    ]


def _run(command: list[str], **variables: str) -> str:
    """Return what a command writes to stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "UPD_ZOO_HUB"}
    answer = subprocess.run(  # noqa: S603 - this project's own program
        command, env=environment | variables, capture_output=True, text=True, check=True
    )
    return answer.stderr


def _export(method: str, profile: str, folder: Path) -> None:
    """Write the configuration and the ONNX file of an untrained model."""
    import torch

    from upd_zoo.detector import Detector
    from upd_zoo.export.formats import write_onnx

    torch.manual_seed(0)
    config = config_of(method, profile)
    write_record(folder / CONFIG, config)
    write_onnx(Detector.from_config(config), folder / ONNX, config.input.channels)


def _model(folder: Path) -> Model:
    return model_of(read_record(folder / CONFIG, Config), onnx_predict(folder / ONNX, "cpu", None))


def scoring(slices: int, repeats: int) -> list[Figure]:
    """Compare scoring a folder of two volumes, from file to report, with the network alone on the same slices."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _progress("exporting the study's RD")
        apart(_export, *_STUDY_RD, folder)
        figures = []
        for side in (IMAGE_SIZE, 240):
            _progress(f"{slices} slices of {side} x {side}, {repeats} times with and without files")
            figures += apart(_scored, folder, side, slices, repeats)
    return figures


def _scored(folder: Path, side: int, slices: int, repeats: int) -> list[Figure]:
    from upd_harness.scoring.cases import open_case
    from upd_harness.scoring.folder import Settings, score_folder
    from upd_harness.scoring.inputs import Input

    model, inputs = _model(folder), folder / f"inputs-{side}"
    paths = [_write_volume(inputs / f"{number}.nii.gz", side, slices // 2, number) for number in range(2)]
    images = np.concatenate([open_case(Input.of(path), model.config).images for path in paths])

    def network() -> None:
        for start in range(0, len(images), BATCH):
            model.predict(images[start : start + BATCH])

    def timed(images: Array) -> tuple[Array, Array]:
        began = time.perf_counter()
        answer = model.predict(images)
        inside.append(time.perf_counter() - began)
        return answer

    def whole() -> None:
        inside.clear()
        began, settings = time.perf_counter(), Settings(batch_size=BATCH, mode="overwrite")
        summary = score_folder(replace(model, predict=timed), inputs, folder / "scores", settings)
        shares.append(sum(inside) / (time.perf_counter() - began))
        if summary.ok != len(paths):
            raise UpdZooError(
                f"{summary.failed} of {len(paths)} volumes were not scored",
                "none that failed, for the speed is that of successes",
            )

    inside: list[float] = []
    shares: list[float] = []
    model.predict(images[:BATCH])
    alone, complete = shortest(repeats, network, whole)
    return [
        Figure(f"RD, {side} x {side}: network alone", len(images) / alone, "slices/s"),
        Figure(f"RD, {side} x {side}: score, file to report", len(images) / complete, "slices/s"),
        Figure(f"RD, {side} x {side}: score / network alone", alone / complete, "x", 0.85),
        Figure(f"RD, {side} x {side}: share of that time inside the network", statistics.median(shares), "x"),
    ]


def _write_volume(path: Path, side: int, slices: int, seed: int) -> Path:
    """Write a scan of `slices` axial slices, none empty: a cylinder of noisy tissue, as hard to pack as a real one."""
    import nibabel as nib

    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    tissue = np.random.default_rng(seed).normal(500, 60, (side, side, slices)).clip(1)
    data = np.where((rows**2 + columns**2 < 0.6)[..., None], tissue, 0).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([240 / side, 240 / side, 1.0, 1.0])), path)
    return path


def metrics(pixels: int) -> list[Figure]:
    """Compare the tally of pixels with scikit-learn, in time, memory and value."""
    from upd_harness.evaluation.metrics import ScoreTally

    _progress(f"{pixels} pixels: tally")
    scores, mask = _pixels(pixels)
    ScoreTally().result()  # imports and first calls are not the tally's
    before = resident("VmRSS")
    tallied = seconds_of(partial(_tally, scores, mask))
    memory = {"resident memory": resident("VmHWM") - before} if before else {}
    tracemalloc.start()
    found = _tally(scores, mask)
    memory["allocations"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    _progress(f"{pixels} pixels: scikit-learn")
    reference, seconds = _reference(scores, mask)
    difference = max(abs(ours - theirs) for ours, theirs in zip(found, reference, strict=True))
    return [
        Figure("AP_p and best Dice: tally", pixels / tallied / 1e6, "Mpixel/s"),
        Figure("AP_p and best Dice: scikit-learn", pixels / seconds / 1e6, "Mpixel/s"),
        Figure("AP_p and best Dice: tally / scikit-learn", seconds / tallied, "x", 10),
        Figure("AP_p and best Dice: largest difference", difference, "", 1e-5, "lower"),
        *(
            Figure(f"tally: peak {kind} beyond the data", size / 1e6, "MB", 200, "lower")
            for kind, size in memory.items()
        ),
    ]


def _pixels(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return scores all over [0, 1), the tally's hardest case, and their mask; made in blocks to leave no peak."""
    generator = np.random.default_rng(0)
    scores, mask = np.empty(count, np.float32), np.empty(count, bool)
    for start in range(0, count, _BLOCK):
        block, truth = scores[start : start + _BLOCK], mask[start : start + _BLOCK]
        generator.random(out=block, dtype=np.float32)
        truth[:] = generator.random(block.size, np.float32) < _ANOMALOUS
        block[truth] = np.sqrt(block[truth])
    return scores, mask


def _tally(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    from upd_harness.evaluation.metrics import ScoreTally

    tally = ScoreTally()
    tally.update(scores, mask)
    result = tally.result()
    dice = result.best_dice.dice if result.best_dice else None
    return result.average_precision or 0.0, dice or 0.0


def _reference(scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> tuple[tuple[float, float], float]:
    """Return AP_p and ⌈Dice⌉ as scikit-learn computes them, and in how many seconds."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    began = time.perf_counter()
    average_precision = float(average_precision_score(mask, scores))
    precision, recall, _ = precision_recall_curve(mask, scores)
    dice = float((2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)).max())
    return (average_precision, dice), time.perf_counter() - began


def backends(repeats: int) -> list[Figure]:
    """Compare the three formats of the quick VAE."""
    import torch

    from upd_zoo.detector import Detector
    from upd_zoo.export.formats import write_onnx, write_torchscript
    from upd_zoo.runtime.eager import as_predict, load_script

    detector = Detector.from_config(config_of(*_QUICK_VAE))
    images = torch.rand(BATCH, 1, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as temporary:
        onnx, script = Path(temporary) / ONNX, Path(temporary) / TORCHSCRIPT
        write_onnx(detector, onnx, 1)
        write_torchscript(detector, script, 1)
        formats = {"eager": as_predict(detector), "TorchScript": as_predict(load_script(script))}
        formats["ONNX Runtime"] = onnx_predict(onnx, "cpu", None)
    for predict in formats.values():
        for _ in range(3):  # TorchScript compiles itself in its first calls
            predict(images)
    times = shortest(repeats, *(partial(predict, images) for predict in formats.values()))
    named = dict(zip(formats, times, strict=True))
    rates = [Figure(f"quick VAE, {name}", BATCH / seconds, "slices/s") for name, seconds in named.items()]
    return [*rates, Figure("quick VAE, ONNX Runtime / eager", named["eager"] / named["ONNX Runtime"], "x")]


def phantoms(subjects: int) -> list[Figure]:
    """Measure how fast phantoms are drawn on one core, in its own time: other work on the machine does not count."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return [
            _drawn("brain phantoms", "phantom-t2", subjects),
            _drawn("chest phantoms", "phantom-cxr", 20 * subjects),
            _drawn("fundus phantoms", "phantom-fundus", 20 * subjects),
        ]


def _drawn(name: str, domain: str, subjects: int) -> Figure:
    from upd_zoo.sources.phantoms import PHANTOMS
    from upd_zoo.sources.source import Request
    from upd_zoo.stores.places import Part, StoreName

    inputs = PHANTOMS.opened(Request(subjects=subjects + 1))(StoreName(domain, Part.TRAIN))
    first, *others = inputs.values()
    list(first())  # reads the templates
    began = time.process_time()
    slices = sum(len(list(draw())) for draw in others)
    return Figure(name, slices / (time.process_time() - began), "slices/s", 50)


def reading(repeats: int) -> list[Figure]:
    """Measure how fast files pass the gate and become squares."""
    from PIL import Image

    from upd_harness.scoring.cases import open_case
    from upd_harness.scoring.inputs import Input

    config, slices = config_of(*_QUICK_VAE), 100
    fundus = DOMAINS["phantom-fundus"].modality
    photographs = config.model_copy(
        update={"framing": fundus.framing, "input": PixelConvention(channels=fundus.channels)}
    )
    with tempfile.TemporaryDirectory() as temporary:
        volume = _write_volume(Path(temporary) / "volume.nii.gz", 240, slices, 0)
        picture = Path(temporary) / "photograph.png"
        pixels = np.random.default_rng(0).normal(128, 20, (1024, 1024, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(picture)
        actions = partial(open_case, Input.of(volume), config), partial(open_case, Input.of(picture), photographs)
        by_volume, by_picture = shortest(repeats, *actions)
    return [
        Figure("gate and framing, 240 x 240 slices of .nii.gz", slices / by_volume, "slices/s"),
        Figure("gate and framing, 1024 x 1024 photographs of .png", 1 / by_picture, "images/s"),
    ]


def memory(photographs: int) -> list[Figure]:
    """Measure what a folder of large photographs takes."""
    import bench_memory

    return bench_memory.memory(photographs)


def models(repeats: int) -> list[Figure]:
    """Compare the methods that anomalib has with anomalib's, and r-VAE with its plain loop."""
    import bench_models

    return bench_models.models(repeats)


def sizes() -> list[Figure]:
    """Measure how many bytes every method stores."""
    import bench_models

    return bench_models.sizes()


def training(repeats: int) -> list[Figure]:
    """Measure which part of training's time images are waited for."""
    import bench_training

    return bench_training.training(10 * repeats)


def hardware() -> dict[str, Any]:
    """Return what this machine is, and how busy it is with other work."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return {
        "processor": found[1] if found else platform.processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def as_table(figures: Iterable[Figure]) -> str:
    """Return the figures as text."""
    verdicts = {True: "kept", False: "MISSED", None: ""}
    rows = []
    for figure in figures:
        sign = ">=" if figure.better == "higher" else "<="
        limit = "" if figure.limit is None else f"{sign} {figure.limit:g}"
        rows.append((figure.name, f"{figure.value:.3g}", figure.unit, limit, verdicts[figure.passed]))
    return table(("figure", "value", "unit", "limit", ""), rows)


def check_limits(figures: Iterable[Figure]) -> None:
    """Make sure that every promise is kept.

    Raises:
        ToleranceError: One is not.
    """
    missed = [figure.name for figure in figures if figure.passed is False]
    if missed:
        raise ToleranceError(f"{len(missed)} limits are missed: {'; '.join(missed)}", "", "repeat on an idle machine")


@reports_errors
def main(
    only: Annotated[list[Group] | None, typer.Option(help="Only this group; may be given again.")] = None,
    pixels: Annotated[int, typer.Option(min=1000, help="Pixels of the metrics.")] = 50_000_000,
    slices: Annotated[int, typer.Option(min=2, help="Slices to score.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Of what is compared.")] = 2,
    subjects: Annotated[int, typer.Option(min=1, help="Brain phantoms; 20 times as many flat ones.")] = 4,
    photographs: Annotated[int, typer.Option(min=1, help="Photographs of 12 megapixels to score.")] = 100,
    out: Annotated[Path, typer.Option(help="File for the figures.")] = Path("out/bench.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Measure speed and memory, and compare them with their limits."""
    terminal, started, machine = Terminal(as_json), utc_now(), hardware()
    groups: dict[Group, Callable[[], list[Figure]]] = {
        Group.COMMANDS: commands,
        Group.SCORING: partial(scoring, slices, repeats),
        Group.METRICS: partial(apart, metrics, pixels),
        Group.BACKENDS: partial(apart, backends, 10 * repeats),
        Group.PHANTOMS: partial(apart, phantoms, subjects),
        Group.READING: partial(apart, reading, repeats),
        Group.MEMORY: partial(apart, memory, photographs),
        Group.MODELS: partial(apart, models, repeats),
        Group.SIZES: partial(apart, sizes),
        Group.TRAINING: partial(apart, training, repeats),
    }
    figures: list[Figure] = []
    for group in only or groups:
        terminal.say(f"{group} ...")
        figures += groups[group]()
    measured = versions() | {"scikit-learn": importlib.metadata.version("scikit-learn")}
    rows = [asdict(figure) | {"passed": figure.passed} for figure in figures]
    report = {"schema": SCHEMA, "started": started, "hardware": machine, "versions": measured, "figures": rows}
    write_json(out, report)
    terminal.data(report, as_table(figures))
    check_limits(figures)


if __name__ == "__main__":
    typer.run(main)
