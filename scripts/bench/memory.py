"""What a scoring run holds in memory beside its model, on photographs as large as cameras make them."""

import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from figures import Figure, config_of, model_of, resident
from upd_harness.engines.local import apart
from upd_harness.scoring.folder import score_folder
from upd_zoo.errors import UpdZooError
from upd_zoo.runtime.model import Array

_SIZE: Final = 3000, 4000
_MOST: Final = 600e6
"""Bytes above the model; without a bound in bytes, 96 photographs of 1200 x 900 pixels took 1.06 GB."""
_RED: Final = (1.0, 0.5, 0.25)
"""Shares of brightness of the channels."""


def memory(photographs: int) -> list[Figure]:
    """Measure memory and time of scoring so many photographs of twelve megapixels by a network that costs nothing."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        apart(_write_photographs, folder / "inputs", photographs)
        config = config_of("vae", "quick", "phantom-fundus")
        model, before, began = model_of(config, _brightness), resident("VmRSS"), time.perf_counter()
        summary = score_folder(model, folder / "inputs", folder / "scores")
        seconds, peak = time.perf_counter() - began, resident("VmHWM")
    if summary.ok != photographs:
        raise UpdZooError(f"{summary.failed} of {photographs} photographs were not scored", "memory of successes only")
    name = f"{photographs} photographs of 12 megapixels"
    figures = [Figure(f"{name}: file to report", photographs / seconds, "images/s")]
    if before:
        figures.append(
            Figure(f"{name}: peak memory above the model", (peak - before) / 1e6, "MB", _MOST / 1e6, "lower")
        )
    return figures


def _write_photographs(folder: Path, count: int) -> None:
    """Write one noisy photograph like that of an eye, and links to it: what is read of each is the same."""
    from PIL import Image

    rows, columns = np.mgrid[-1 : 1 : _SIZE[0] * 1j, -1 : 1 : _SIZE[1] * 1j].astype(np.float32)
    disc = np.where(rows**2 + columns**2 < 0.9, 140 + 80 * columns, 4).astype(np.int16)
    noise = np.random.default_rng(0).integers(-6, 7, (*_SIZE, 3), np.int16)
    folder.mkdir()
    eye = disc[..., None] * np.array(_RED) + noise
    Image.fromarray(eye.clip(0, 255).astype(np.uint8)).save(folder / "0.jpg", quality=90)
    for number in range(1, count):
        (folder / f"{number}.jpg").symlink_to(folder / "0.jpg")


def _brightness(images: Array) -> tuple[Array, Array]:
    """Stand in for a network: the map is the image."""
    maps = images.mean(axis=1, keepdims=True)
    return maps, maps.max(axis=(1, 2, 3))
