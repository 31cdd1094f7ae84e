"""How fast files are scored: beside the network alone, and up to the network."""

import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from figures import BATCH, DOMAIN, Figure, config_of, model_of, say, shortest
from upd_harness.engines.local import apart
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, ONNX, Config, PixelConvention
from upd_zoo.errors import UpdZooError
from upd_zoo.runtime.model import Array, Model
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, STUDY_SIDE, get_test_set

_LARGE: Final = "rd", "full"
_SMALL: Final = "vae", "quick"
_PHANTOM_SLICES: Final = 84
"""So many of a phantom are in a store."""
_TRAINED_ON: Final = 4 / 3
"""Phantoms in a training store for each in a test store."""
_SET: Final = 3
"""How many times as many slices are evaluated as are scored."""


def _export(method: str, profile: str, folder: Path) -> None:
    """Write the configuration and the ONNX file of an untrained model."""
    import torch

    from upd_zoo.detector import Detector
    from upd_zoo.export.formats import write_onnx

    torch.manual_seed(0)
    config = config_of(method, profile)
    write_record(folder / CONFIG, config)
    write_onnx(Detector.from_config(config), folder / ONNX, config.input.channels, config.input.side)


def _model(folder: Path) -> Model:
    return model_of(read_record(folder / CONFIG, Config), onnx_predict(folder / ONNX, "cpu", None))


def scoring(slices: int, repeats: int) -> list[Figure]:
    """Compare scoring two volumes, from file to report, with the network alone, and evaluating a test set with scoring.

    An evaluation learns two baselines and draws intervals once, so its test set is as large as small ones are.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        say("exporting the study's RD")
        apart(_export, *_LARGE, folder)
        figures = {}
        for side in (STUDY_SIDE, 240):
            say(f"{slices} slices of {side} x {side}, {repeats} times with and without files")
            figures[side] = apart(_scored, folder, side, slices, repeats)
        say(f"about {_SET * slices} slices of phantoms, {repeats} times evaluated")
        evaluated = apart(_evaluated, folder, _SET * slices, repeats)
        _, scored, *_ = figures[STUDY_SIDE]
        ratio = Figure(f"{evaluated.name} / score", evaluated.value / scored.value, "x", 1 / 1.15)
        return [*figures[STUDY_SIDE], *figures[240], evaluated, ratio]


def _scored(folder: Path, side: int, slices: int, repeats: int) -> list[Figure]:
    from upd_harness.scoring.cases import open_case
    from upd_harness.scoring.folder import score_folder
    from upd_harness.scoring.inputs import Input
    from upd_harness.scoring.settings import Settings

    model, inputs = _model(folder), folder / f"inputs-{side}"
    paths = [_write_volume(inputs / f"{number}.nii.gz", side, slices // 2, number) for number in range(2)]
    images = np.concatenate([open_case(Input.of(path), model.config).images for path in paths])

    def network() -> None:
        for start in range(0, len(images), BATCH):
            model.network(images[start : start + BATCH])

    def timed(images: Array) -> tuple[Array, Array]:
        began = time.perf_counter()
        answer = model.network(images)
        inside.append(time.perf_counter() - began)
        return answer

    def whole() -> None:
        inside.clear()
        began, settings = time.perf_counter(), Settings(batch_size=BATCH, mode="overwrite")
        summary = score_folder(replace(model, network=timed), inputs, folder / "scores", settings)
        shares.append(sum(inside) / (time.perf_counter() - began))
        if summary.ok != len(paths):
            raise UpdZooError(
                f"{summary.failed} of {len(paths)} volumes were not scored",
                "none that failed, for the speed is that of successes",
            )

    inside: list[float] = []
    shares: list[float] = []
    model.network(images[:BATCH])
    alone, complete = shortest(repeats, network, whole)
    return [
        Figure(f"RD, {side} x {side}: network alone", len(images) / alone, "slices/s"),
        Figure(f"RD, {side} x {side}: score, file to report", len(images) / complete, "slices/s"),
        Figure(f"RD, {side} x {side}: score / network alone", alone / complete, "x", 0.85),
        Figure(f"RD, {side} x {side}: share of that time inside the network", statistics.median(shares), "x"),
    ]


def _evaluated(folder: Path, slices: int, repeats: int) -> Figure:
    from upd_harness.evaluation.run import evaluate
    from upd_zoo.sources.phantoms import PHANTOMS
    from upd_zoo.sources.preparation import fill
    from upd_zoo.sources.source import Request

    request = Request(subjects=round(_TRAINED_ON * slices / _PHANTOM_SLICES))
    fill(PHANTOMS, [StoreName(DOMAIN, Part.TRAIN), StoreName(DOMAIN, Part.TEST)], folder, request)
    model, store = _model(folder), Store(folder / DOMAIN / Part.TEST)
    model.network(np.array(store.images[:BATCH]))
    (complete,) = shortest(repeats, lambda: evaluate(model, get_test_set(DOMAIN), store, folder / "evaluation"))
    name = f"RD, {len(store)} slices of {len(set(store.subjects))} subjects: evaluate, store to report"
    return Figure(name, len(store) / complete, "slices/s")


def _write_volume(path: Path, side: int, slices: int, seed: int) -> Path:
    """Write a scan of `slices` axial slices, none empty: a cylinder of noisy tissue, as hard to pack as a real one."""
    import nibabel as nib

    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    tissue = np.random.default_rng(seed).normal(500, 60, (side, side, slices)).clip(1)
    data = np.where((rows**2 + columns**2 < 0.6)[..., None], tissue, 0).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([240 / side, 240 / side, 1.0, 1.0])), path)
    return path


def reading(repeats: int) -> list[Figure]:
    """Measure how fast files pass the gate and become squares."""
    from PIL import Image

    from upd_harness.scoring.cases import open_case
    from upd_harness.scoring.inputs import Input

    config, slices = config_of(*_SMALL), 100
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
