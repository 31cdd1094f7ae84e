"""Figure 3: one diseased image of each test set, as every method draws and maps it; drawn by lot, never chosen.

The lot: among the subjects of a test set with a diseased image one is drawn, then one of its diseased images, by
NumPy's generator of seed 0. Colours of a map run from the median of a model's healthy pixels to the value that one of a
thousand of them exceeds, the same for every image. A method that draws no image has an empty place.

Source: section VI-C of the study and its Figure 3, which are called uncurated and do not say how images were taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from upd_harness.engines.local import apart
from upd_harness.evaluation.published import published
from upd_harness.grid.pictures import Answer, answer_of
from upd_harness.report.overlay import overlay
from upd_harness.report.sheet import panel
from upd_harness.reproduce.drawing import png_of
from upd_harness.reproduce.gathering import Gathered, Present, headline
from upd_harness.reproduce.models import make_missing
from upd_harness.reproduce.order import Order, columns
from upd_harness.reproduce.result import SCHEMA, Block, Reproduction
from upd_zoo.progress import Progress, Report
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, TestSet

RULE: Final = (
    "Drawn by lot: of each test set one subject with a diseased image, then one of its diseased images, by NumPy's "
    "default_rng(0). Nothing was chosen by eye."
)
_SEED: Final = 0
_CELL, _GAP, _LABEL, _TOP, _FONT = 96, 2, 76, 84, 12
"""Pixels: side of a picture, between two, left of all, above all, and height of letters."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One image of a test set and what models make of it.

    Attributes:
        test_set: Which.
        row: Of the image in its store.
        subject: Of whom it is.
        image: (C, H, W) in [0, 1].
        mask: (H, W), 1 where pathological; None where that is not known.
        answers: What each method makes of it, by the method's id.
    """

    test_set: TestSet
    row: int
    subject: str
    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.uint8] | None
    answers: Mapping[str, Answer]


def reproduce_fig_3(order: Order, on_progress: Report) -> Reproduction:
    """Return Figure 3: all methods of the study on its test sets or what stands for them; the first seed.

    Raises:
        NotFoundError: None of the models is there.
    """
    gathered, methods = Gathered(), order.methods or [*published("table-vi")]
    test_sets = _test_sets(order)
    tasks = {each.id: [order.task(name, each.domain, order.seeds[0]) for name in methods] for each in test_sets}
    failed = make_missing((task for each in tasks.values() for task in each), order, on_progress)
    for test_set in test_sets:
        gathered.add(tasks[test_set.id], test_set, order, failed, on_progress)
    gathered.check_some("fig-3")
    shown = []
    for done, test_set in enumerate(test_sets, start=1):
        present = [each for each in gathered.present if each.result.test_set == test_set.id]
        shown += [_column(test_set, present)] if present else []
        on_progress(Progress(test_set.id, done, len(test_sets)))
    titles = {each.found.config.method: each.found.config.title for each in gathered.present}
    rows = [(method, titles[method]) for method in methods if method in titles]
    described = [_described(each) for each in shown]
    return Reproduction(
        "fig-3",
        {"schema": SCHEMA, "item": "fig-3", "material": order.material, "banner": order.banner, "rule": RULE}
        | {"cases": described, "methods": [method for method, _ in rows], "missing": gathered.missing},
        pictures={".png": drawn(shown, rows, headline(order, "a diseased image of each test set, drawn by lot"))},
        title="A diseased image of each test set, as every method draws and maps it",
        banner=order.banner,
        blocks=[_block(described), *gathered.block()],
        cells=described,
    )


def _test_sets(order: Order) -> list[TestSet]:
    """Return the test sets that are shown, each once."""
    wanted = [test for column in order.only or columns() for test in order.tests(column)[:1]]
    return [TEST_SETS[name] for name in dict.fromkeys(test.id for test in wanted if order.has_store(test))]


def lot(store: Store) -> int:
    """Return which image of a test set is shown; see `RULE`."""
    generator = np.random.default_rng(_SEED)
    sick = np.flatnonzero(store.anomalous)
    subjects = list(dict.fromkeys(store.subjects[row] for row in sick))
    subject = subjects[generator.integers(len(subjects))]
    return int(generator.choice([row for row in sick if store.subjects[row] == subject]))


def _column(test_set: TestSet, present: Sequence[Present]) -> Column:
    """Return a column; stores of all sides hold the same images in the same order, so the lot falls on one image."""
    store = present[0].store
    row = lot(store)
    answers = {
        each.found.config.method: apart(answer_of, each.found.folder, np.array(each.store.images[[row]]))
        for each in present
    }
    mask = None if store.masks is None else np.array(store.masks[row])
    return Column(test_set, row, store.subjects[row], np.array(store.images[row]), mask, answers)


def _described(column: Column) -> dict[str, Any]:
    lesion = None if column.mask is None else int(column.mask.sum())
    return {"test_set": column.test_set.id, "row": column.row, "subject": column.subject, "lesion_pixels": lesion}


def _block(cases: Sequence[Mapping[str, Any]]) -> Block:
    rows = [tuple("not known" if value is None else str(value) for value in case.values()) for case in cases]
    return Block("The images", ("test set", "row of the store", "subject", "pixels of the lesion"), rows, (RULE,))


def drawn(shown: Sequence[Column], rows: Sequence[tuple[str, str]], title: str) -> bytes:
    """Return the figure as PNG.

    Args:
        shown: Two columns of pictures each: image and truth above, below what a method draws and its map.
        rows: Id and title of each method.
        title: Above all.
    """
    step, font = _CELL + _GAP, ImageFont.load_default(_FONT)
    size = (max(_LABEL + 2 * step * len(shown), 460), _TOP + step * (len(rows) + 1) + 2 * _FONT)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.multiline_text((4, 2), title, fill="black", font=font)
    pen.text((4, size[1] - 2 * _FONT + 4), "drawn by lot, seed 0; nothing was chosen by eye", fill="black", font=font)
    for number, (_, name) in enumerate(rows, start=1):
        pen.text((4, _TOP + step * number + _CELL // 2 - _FONT // 2), name, fill="black", font=font)
    for number, column in enumerate(shown):
        left = _LABEL + 2 * step * number
        pen.text((left, _TOP - 2 * _FONT - 6), column.test_set.id, fill="black", font=font)
        pen.text((left, _TOP - _FONT - 4), "image/drawn", fill="black", font=font)
        pen.text((left + step, _TOP - _FONT - 4), "truth/map", fill="black", font=font)
        for place, picture in enumerate(_pictures(column, [method for method, _ in rows])):
            if picture is not None:
                at = (left + step * (place % 2), _TOP + step * (place // 2))
                sheet.paste(picture.resize((_CELL, _CELL), Image.Resampling.LANCZOS), at)
    return png_of(sheet)


def _pictures(column: Column, methods: Sequence[str]) -> list[Image.Image | None]:
    """Return the pictures of a column row by row, two in each; None for an empty place."""
    pictures: list[Image.Image | None] = [
        panel(column.image),
        None if column.mask is None else panel(column.image, column.mask),
    ]
    for answer in (column.answers.get(method) for method in methods):
        if answer is None:
            pictures += [None, None]
            continue
        side = answer.maps.shape[-1]
        image = column.image if column.image.shape[-1] == side else np.zeros((1, side, side), np.float32)
        pictures.append(None if answer.drawn is None else panel(answer.drawn[0]))
        pictures.append(overlay(image, answer.maps[0], *answer.colours))
    return pictures
