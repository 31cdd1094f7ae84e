"""Figure 1: how large the lesions of each test set are, and how bright beside what is healthy.

First row, of every image with a lesion: its pixels that are pathological, as a share of the brain's (brain MRI) or of
all (the others). Second row, of the same images: the mean brightness of what is pathological and of the rest of the
brain, or of the image. Colours are taken for grey by the mean of their channels. The study prints neither numbers nor
bins, nor says whether it counts images or lesions; here it is images.

Source: the caption of the study's Figure 1 and its section V-A.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import numpy as np

from upd_harness.checks.progress import in_turn
from upd_harness.evaluation.published import published
from upd_harness.report.text import table
from upd_harness.reproduce.drawing import COLOURS, figure_of, saved
from upd_harness.reproduce.lesions import Floats, lesions_in
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.result import SCHEMA, Reproduction
from upd_zoo.errors import NotFoundError
from upd_zoo.progress import Report
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, Foreground, Protocol, TestSet, get_domain

BLOCK: Final = 256
"""Images that are read at a time."""
_BINS: Final = 40
_LETTERS: Final = 32
"""Of a title's line that are as wide as a panel."""
_HEALTHY, _LESION = COLOURS[:2]
_QUARTILES: Final = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One test set of the figure.

    Attributes:
        test_set: Which.
        store: Where it comes from.
        sizes: (N,) share of each image with a lesion that is pathological, in (0, 1].
        lesions: (N,) mean brightness of what is pathological, in [0, 1].
        rest: (N,) mean brightness of the rest, in [0, 1]; NaN where there is none.
    """

    test_set: TestSet
    store: Store
    sizes: Floats
    lesions: Floats
    rest: Floats

    @property
    def of_brain(self) -> bool:
        """Whether sizes are shares of the brain; else of the image."""
        return get_domain(self.test_set.id).modality.foreground is Foreground.ABOVE_MINIMUM

    @property
    def brighter(self) -> float | None:
        """Share of the images whose lesions are brighter than the rest; None where no image has a rest."""
        known = np.isfinite(self.rest)
        return float((self.lesions[known] > self.rest[known]).mean()) if known.any() else None


def reproduce_fig_1(order: Order, on_progress: Report) -> Reproduction:
    """Return Figure 1 from the test sets with masks that are prepared.

    Raises:
        NotFoundError: None is prepared, or none shows a lesion.
        MissingExtraError: matplotlib is not installed.
    """
    stores = dict(_stores(order.data))
    if not stores:
        raise NotFoundError(
            f"no test set with masks is prepared in {order.data}",
            "one at least",
            "upd-zoo prepare phantom-t2 --subjects 10",
        )
    turns = in_turn([*stores.values()], on_progress)
    panels = [measure(test_set, *turn) for test_set, turn in zip(stores, turns, strict=True)]
    panels = [panel for panel in panels if len(panel.sizes)]
    if not panels:
        raise NotFoundError(
            f"no image in {', '.join(test_set.id for test_set in stores)} shows a lesion", "one at least"
        )
    described = [_described(panel) for panel in panels]
    document = {"schema": SCHEMA, "item": "fig-1", "panels": described}
    return Reproduction("fig-1", document, _as_text(described), _drawn(panels))


def _stores(data: Path) -> Iterator[tuple[TestSet, Store]]:
    """Yield the test sets with masks that are prepared: the study's own images of them, or else the sound ones."""
    for test_set in TEST_SETS.values():
        for protocol in (Protocol.STUDY, Protocol.SOUND):
            try:
                store = Store(store_path(data, test_set.id, "test", protocol))
            except NotFoundError:
                continue
            if store.masks is not None:
                yield test_set, store
            break


def measure(test_set: TestSet, store: Store, on_progress: Callable[[int], None]) -> Panel:
    """Return what one test set shows; images are read block by block."""
    rule = get_domain(test_set.id).modality.foreground
    blocks = []
    for start in range(0, len(store), BLOCK):
        blocks.append(_measured(store, start, rule))
        on_progress(min(start + BLOCK, len(store)))
    return Panel(test_set, store, *np.concatenate(blocks, axis=1))


def _measured(store: Store, start: int, rule: Foreground) -> Floats:
    """Return (3, N): size, brightness of the lesions and of the rest, of the images with a lesion in a block."""
    assert store.masks is not None  # noqa: S101 - for the types
    masks = np.asarray(store.masks[start : start + BLOCK], np.bool_)
    sick = np.flatnonzero(masks.any(axis=(1, 2)))
    return lesions_in(np.array(store.images[start : start + BLOCK][sick]), masks[sick], rule)


def _described(panel: Panel) -> dict[str, Any]:
    """Return what a panel shows, in numbers."""
    facts = panel.store.facts
    return {
        "test_set": panel.test_set.id,
        "title": panel.test_set.title,
        "store": facts.name,
        "sha256": panel.store.sha256,
        "labels": facts.labels,
        "images": len(panel.sizes),
        "share_of": "brain" if panel.of_brain else "image",
        "size": _distribution(panel.sizes, _size_edges(panel)),
        "lesion_brightness": _distribution(panel.lesions, _unit()),
        "other_brightness": _distribution(panel.rest[np.isfinite(panel.rest)], _unit()),
        "brighter": panel.brighter,
        "published": published("fig-1").get(panel.test_set.id),
    }


def _size_edges(panel: Panel) -> Floats:
    return np.linspace(0, float(panel.sizes.max()), _BINS + 1)


def _unit() -> Floats:
    return np.linspace(0, 1, _BINS + 1)


def _distribution(values: Floats, edges: Floats) -> dict[str, list[float]]:
    quartiles = np.quantile(values, _QUARTILES) if len(values) else np.array([])
    counts = np.histogram(values, edges)[0]
    return {"quartiles": quartiles.tolist(), "edges": edges.tolist(), "counts": counts.tolist()}


def _as_text(panels: Sequence[dict[str, Any]]) -> str:
    head = ("test set", "images", "size, median", "lesions brighter", "the study says", "labels")
    rows = [
        (
            each["test_set"],
            str(each["images"]),
            f"{100 * each['size']['quartiles'][1]:.3g} % of the {each['share_of']}",
            "-" if each["brighter"] is None else f"in {100 * each['brighter']:.0f} %",
            each["published"] or "-",
            ", ".join(each["labels"]),
        )
        for each in panels
    ]
    return table(head, rows)


def _drawn(panels: Sequence[Panel]) -> dict[str, bytes]:
    """Return the figure as PNG and SVG; the same panels always give the same bytes."""
    with figure_of(max(2.6 * len(panels), 4), 4.6) as figure:
        axes = figure.subplots(2, len(panels), squeeze=False)
        for panel, (top, bottom) in zip(panels, axes.T, strict=True):
            _draw_panel(panel, top, bottom)
        axes[0, 0].set_ylabel("images")
        axes[1, 0].set_ylabel("images")
        axes[1, 0].legend(frameon=False)
        return {suffix: saved(figure, suffix) for suffix in (".png", ".svg")}


def _draw_panel(panel: Panel, top: Any, bottom: Any) -> None:
    title, labels = (fill(text, _LETTERS) for text in (panel.test_set.title, ", ".join(panel.store.facts.labels)))
    top.set_title(f"{title}\n{labels}", fontsize=8)
    top.hist(100 * panel.sizes, 100 * _size_edges(panel), color=_LESION)
    top.set_xlabel(f"lesion, % of the {'brain' if panel.of_brain else 'image'}")
    for values, colour, label in ((panel.rest, _HEALTHY, "the rest"), (panel.lesions, _LESION, "lesion")):
        bottom.hist(values[np.isfinite(values)], _unit(), color=colour, alpha=0.6, label=label)
    bottom.set_xlabel("mean brightness")
