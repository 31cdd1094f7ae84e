"""Pictures of a grid: a diseased and a healthy image of each test set as every model draws and maps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from upd_harness.grid.plan import ARTEFACT, Plan, Task
from upd_harness.report.overlay import colour_range, overlay
from upd_harness.report.sheet import Line, panel, sheet
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config
from upd_zoo.files import replacing
from upd_zoo.runtime.model import Array
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Store

Masks = Sequence[npt.NDArray[np.uint8] | None]

_PANELS: Final = ("image", "drawn", "map", "truth")


def draw(tasks: Sequence[Task], test_set: str, plan: Plan) -> Path:
    """Draw one line for each task: the shown images, each with what the model draws, its map and the truth.

    Args:
        tasks: Finished ones, all with this test set.
        test_set: Its id.
        plan: Of the grid.

    Returns:
        The picture's path, in the folder of the grid.
    """
    artefacts = [plan.out / task.name / ARTEFACT for task in tasks]
    sides = [read_record(artefact / CONFIG, Config).input.side for artefact in artefacts]
    stores = {side: Store(store_path(plan.data, test_set, "test", plan.protocol, side)) for side in sides}
    rows = shown_rows(stores[sides[0]])  # stores of all sides hold the same images in the same order
    drawn = sheet(_PANELS, [_line(each, stores[side], rows) for each, side in zip(artefacts, sides, strict=True)])
    path = plan.out / f"{test_set}.png"
    with replacing(path) as temporary:
        drawn.save(temporary, "PNG", optimize=True)
    return path


def shown_rows(store: Store) -> list[int]:
    """Return which images a picture shows: the diseased one with the median lesion, and the healthy one most like it.

    Most like it is the one of another subject with the most nearly equal number of pixels that are not black.
    """
    lesions = store.masks[:].reshape(len(store), -1).sum(axis=1) if store.masks is not None else store.anomalous
    sick = sorted(np.flatnonzero(lesions), key=lambda row: (lesions[row], row))
    healthy = np.flatnonzero(~store.anomalous)
    if not sick or not len(healthy):
        return [int(row) for row in (*sick[:1], *healthy[:1])]
    middle = sick[len(sick) // 2]
    subjects = np.array(store.subjects)
    others = healthy[subjects[healthy] != subjects[middle]]
    shown = [int((np.asarray(store.images[row]) > 0).any(axis=0).sum()) for row in (middle, *others)]
    nearest = others[np.argmin(np.abs(np.array(shown[1:]) - shown[0]))] if len(others) else healthy[0]
    return [int(middle), int(nearest)]


def _line(artefact: Path, store: Store, rows: Sequence[int]) -> Line:
    """Return the panels of a model for some images of a store, image after image."""
    images = np.array(store.images[rows])  # (K, C, H, W)
    masks: Masks = list(store.masks[rows]) if store.masks is not None else [None] * len(rows)
    answer = answer_of(artefact, images)
    drawn = np.zeros_like(images) if answer.drawn is None else answer.drawn
    return panels_of(answer.title, images, drawn, answer.maps, masks, answer.colours)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a model makes of some images.

    Attributes:
        title: Of its method.
        maps: (K, H, W), higher is more anomalous.
        drawn: (K, C, H, W) the images as it would draw healthy ones; None where it draws none.
        colours: Map values at the ends of the colours, from its calibration: the same for all images.
    """

    title: str
    maps: Array
    drawn: Array | None
    colours: tuple[float, float]


def answer_of(artefact: Path, images: Array) -> Answer:
    """Return what the model of an artefact makes of images (K, C, H, W) in [0, 1]; imports torch."""
    import torch

    from upd_zoo.runtime.eager import load_detector

    config = read_record(artefact / CONFIG, Config)
    colours = colour_range(read_record(artefact / CALIBRATION, Calibration))
    detector = load_detector(artefact)
    with torch.no_grad():
        pixels = torch.from_numpy(images)
        maps = detector(pixels).anomaly_map.numpy()[:, 0]  # (K, H, W)
        drawn = detector.method.reconstruct(detector.pixels(pixels))  # (K, C, H, W) as the method sees pixels
    if drawn is not None and config.centred:
        drawn = drawn / 2 + 0.5
    return Answer(config.title, maps, None if drawn is None else drawn.numpy(), colours)


def panels_of(title: str, images: Array, drawn: Array, maps: Array, masks: Masks, colours: tuple[float, float]) -> Line:
    """Return a line of a sheet: for each image itself, its redrawing, its map over it, and the outline of its truth.

    Args:
        title: Of the line.
        images: (K, C, H, W) in [0, 1].
        drawn: (K, C, H, W) in [0, 1]; black where a method draws nothing.
        maps: (K, H, W).
        masks: K of (H, W), or None.
        colours: Map values at the ends of the colours.
    """
    panels: list[Image.Image] = []
    for image, other, anomaly_map, mask in zip(images, drawn, maps, masks, strict=True):
        panels += [panel(image), panel(other), overlay(image, anomaly_map, *colours), panel(image, mask)]
    return Line(title, panels)
