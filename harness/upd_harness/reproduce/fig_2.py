"""Figure 2: the Dice of every slice with a lesion, against how large and how bright the lesion is.

A map is called pathological from the threshold on that gives the best Dice of the whole test set (⌈Dice⌉ of Table II);
the Dice of each slice at this one threshold is its point. Its place: the lesion as a share of the brain, and the mean
brightness of the lesion less that of the slice's whole brain, lesion included, both in the units of the image, [0, 1].
The study says "compared to the average intensity in the slice" and leaves open how; a difference is defined wherever
there is a brain. An arrow shows how much Dice rises with one standard deviation more of either, from a regression on
both (`influence`); all arrows of a figure have one scale.

Source: section VI-B of the study and the caption of its Figure 2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_harness.reproduce.drawing import COLOURS, figure_of, saved
from upd_harness.reproduce.gathering import Gathered, Present, headline
from upd_harness.reproduce.influence import Influence, Slope, influence
from upd_harness.reproduce.lesions import Floats, lesions_in
from upd_harness.reproduce.models import make_missing
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.result import SCHEMA, Block, Reproduction
from upd_zoo.errors import UsageError
from upd_zoo.progress import Progress, Report
from upd_zoo.runtime.model import Predict
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TestSet, get_domain

METHODS: Final = ("r-vae", "expvae", "fae", "dae")
COLUMN: Final = "brats-t2"
SIZE, CONTRAST = "size", "contrast"
_BATCH: Final = 16
_REACH: Final = 0.35
"""Of a panel's side that the longest arrow of a figure is long: from the middle, it stays within."""


def reproduce_fig_2(order: Order, on_progress: Report) -> Reproduction:
    """Return Figure 2: its four methods on BraTS-T2 or what stands for it, unless others are asked for; the first seed.

    Raises:
        NotFoundError: None of the models is there.
        MissingExtraError: matplotlib is not installed.
    """
    gathered, test_sets = Gathered(), [test for column in order.only or (COLUMN,) for test in order.tests(column)[:1]]
    methods = order.methods or METHODS
    for test_set in test_sets:
        tasks = [order.task(method, test_set.domain, order.seeds[0]) for method in methods]
        gathered.add(tasks, test_set, order, make_missing(tasks, order, on_progress), on_progress)
    gathered.check_some("fig-2")
    panels = [(_title(each, test_sets), _slices(each, order, on_progress)) for each in gathered.present]
    title = headline(order, f"Dice of slices: {', '.join(test.title for test in test_sets)}")
    described = [
        {"title": name, "task": each.task.name, "test_set": each.result.test_set, "labels": each.result.labels}
        | as_document(slices)
        for each, (name, slices) in zip(gathered.present, panels, strict=True)
    ]
    return Reproduction(
        "fig-2",
        {"schema": SCHEMA, "item": "fig-2", "material": order.material, "banner": order.banner, "panels": described}
        | {"missing": gathered.missing},
        pictures=drawn(panels, title),
        title="Dice of each slice against size and contrast of its lesion",
        banner=order.banner,
        blocks=[as_block(panels), *gathered.block()],
        cells=[{"panel": panel["title"]} | row for panel in described for row in panel["slices"]],
    )


def _title(each: Present, test_sets: Sequence[TestSet]) -> str:
    return each.found.config.title + (f", {each.result.test_set}" if len(test_sets) > 1 else "")


def _slices(each: Present, order: Order, on_progress: Report) -> "Slices":
    from upd_zoo.runtime.folder import load_folder

    model = load_folder(each.found.folder, device="cpu", threads=order.plan.threads)
    threshold = each.result.metrics.dice_threshold
    if threshold is None:
        raise UsageError(f"{each.result.test_set} has no lesion", "a test set with masks", "leave out --test-set")
    total = int(each.store.anomalous.sum())
    return measure(model, each.store, threshold, lambda done: on_progress(Progress(each.task.name, done, total)))


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """The slices with a lesion of one test set, as one model finds them.

    Attributes:
        dice: (N,) of each slice, in [0, 1].
        sizes: (N,) share of the brain that is pathological, in (0, 1].
        contrasts: (N,) brightness of the lesion less that of the brain, in [-1, 1].
        subjects: N names, of whom each is.
        numbers: (N,) positions in their volumes.
        threshold: From which map value on a pixel is called pathological.
    """

    dice: Floats
    sizes: Floats
    contrasts: Floats
    subjects: list[str]
    numbers: list[int]
    threshold: float

    def influence(self) -> Influence | None:
        """Return how much Dice moves with size and with contrast."""
        return influence(self.dice, self.sizes, self.contrasts, self.subjects)


def measure(predict: Predict, store: Store, threshold: float, on_progress: Callable[[int], None]) -> Slices:
    """Return the slices with a lesion of a test set with masks.

    Args:
        predict: Images to maps and scores.
        store: The test set.
        threshold: The one that gives the best Dice of the whole test set.
        on_progress: Told how many images are done.
    """
    masks = store.masks
    assert masks is not None  # noqa: S101 - for the types
    rows = np.array([row for row in np.flatnonzero(store.anomalous) if masks[row].any()], np.intp)
    rule = get_domain(store.facts.name.split("/")[0]).modality.foreground
    parts = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        images, lesions = np.ascontiguousarray(store.images[batch]), np.array(masks[batch], np.bool_)
        maps, _ = predict(images)
        size, lesion, rest = lesions_in(images, lesions, rule)
        # The whole brain's mean is size · lesion + (1 - size) · rest; where nothing is left, the lesion is the whole.
        contrast = np.where(size < 1, (1 - size) * (lesion - np.nan_to_num(rest)), 0.0)
        parts.append(np.stack([dice_of(maps[:, 0] >= threshold, lesions), size, contrast]))
        on_progress(min(start + _BATCH, len(rows)))
    dice, sizes, contrasts = np.concatenate(parts, axis=1) if parts else np.empty((3, 0))
    names, numbers = [store.subjects[row] for row in rows], [int(store.index[row]["slice"]) for row in rows]
    return Slices(dice, sizes, contrasts, names, numbers, threshold)


def dice_of(found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Floats:
    """Return (N,) 2 |A ∩ B| / (|A| + |B|) of masks (N, H, W), the truth being somewhere in every image."""
    both = (found & truth).sum(axis=(1, 2))
    return np.asarray(2 * both / (found.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))))


def as_document(slices: Slices) -> dict[str, Any]:
    """Return what a panel shows, for programs."""
    found = slices.influence()
    columns = (slices.subjects, slices.numbers, slices.dice, slices.sizes, slices.contrasts)
    return {
        "threshold": slices.threshold,
        "influence": None if found is None else found.as_document(SIZE, CONTRAST),
        "slices": [
            {"subject": subject, "slice": number, "dice": float(dice), SIZE: float(size), CONTRAST: float(contrast)}
            for subject, number, dice, size, contrast in zip(*columns, strict=True)
        ],
    }


def as_block(panels: Sequence[tuple[str, Slices]]) -> Block:
    """Return the slopes of all panels as a table."""
    head = ("method", "slices", "subjects", "mean Dice", "Dice per sd of size", "Dice per sd of contrast", "R²")
    notes = (
        "Slopes of a linear regression of Dice on size and contrast together, both divided by their standard "
        "deviation; in brackets 95 % intervals over subjects. Every panel has the threshold of its own best Dice.",
    )
    return Block("How much Dice moves with size and contrast", head, [_row(*panel) for panel in panels], notes)


def _row(title: str, slices: Slices) -> tuple[str, ...]:
    found, mean = slices.influence(), f"{slices.dice.mean():.3f}" if len(slices.dice) else "-"
    counts = (str(len(slices.dice)), str(len({*slices.subjects})), mean)
    if found is None:
        return (title, *counts, "-", "-", "-")
    explained = "-" if found.explained is None else f"{found.explained:.2f}"
    return (title, *counts, _told(found.first), _told(found.second), explained)


def _told(slope: Slope) -> str:
    interval = "" if slope.interval is None else " ({:+.3f} to {:+.3f})".format(*slope.interval)
    return f"{slope.value:+.3f}{interval}"


def drawn(panels: Sequence[tuple[str, Slices]], title: str) -> dict[str, bytes]:
    """Return the figure as PNG: a panel for each method, all with the same axes.

    Args:
        panels: Titles and slices.
        title: Above all, with the test set, and what a reader must be told of it.
    """
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    with figure_of(2.6 * columns + 0.9, 2.4 * rows + 0.8) as figure:
        figure.suptitle(title, fontsize=9)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        longest = max((_length(slices.influence()) for _, slices in panels), default=0.0)
        highest = max(float(slices.dice.max(initial=0)) for _, slices in panels)
        for axis, panel in zip(axes, panels, strict=False):
            points = _draw_panel(axis, *panel, longest, highest)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("lesion, % of the brain", fontsize=8)
        figure.supylabel("brightness of the lesion - of the brain", fontsize=8)
        figure.colorbar(points, ax=axes.tolist(), label="Dice of the slice", shrink=0.7, aspect=30)
        return {".png": saved(figure, ".png")}


def _length(found: Influence | None) -> float:
    return 0.0 if found is None else float(np.hypot(found.first.value, found.second.value))


def _draw_panel(axis: Any, name: str, slices: Slices, longest: float, highest: float) -> Any:
    """Draw one panel; return its points, which the scale of colours is of."""
    found = slices.influence()
    points = axis.scatter(
        100 * slices.sizes, slices.contrasts, c=slices.dice, s=10, cmap="viridis", vmin=0, vmax=highest, linewidths=0
    )
    axis.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    if found is None:
        axis.set_title(f"{name}\ntoo few slices to tell an influence", fontsize=8)
        return points
    axis.set_title(f"{name}\nsize {_told(found.first)}\ncontrast {_told(found.second)}", fontsize=8)
    if longest:
        reach = _REACH / longest
        axis.annotate(
            "",
            xy=(0.5 + reach * found.first.value, 0.5 + reach * found.second.value),
            xytext=(0.5, 0.5),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "-|>", "color": COLOURS[1], "linewidth": 2, "shrinkA": 0, "shrinkB": 0},
        )
    return points
