"""Tables II to V: detection and localisation of every method on every test set, ours beside what the study printed."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from upd_harness.evaluation.published import TABLES, published
from upd_harness.reproduce.claims import checked, claims_of, described, shown
from upd_harness.reproduce.estimate import RULE, Estimate, Verdict, judge, tolerance
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.order import Order, stand_ins
from upd_harness.reproduce.result import SCHEMA, Block, Reproduction, Shown
from upd_harness.reproduce.score_chart import Panel, chart
from upd_harness.reproduce.scores import Ours, Score, gather, measured_as, methods_of
from upd_zoo.artefact.metrics import METRICS, Metric
from upd_zoo.errors import NotFoundError
from upd_zoo.progress import Report
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import preparing
from upd_zoo.vocabulary import STUDY_SIDE, TEST_SETS, TestSet, side_of

TITLES: Final = {
    "table-ii": "detection and localisation, brain MRI and retinal photographs",
    "table-iii": "detection, chest radiographs",
    "table-iv": "detection and localisation after CCD pre-training, brain MRI and retinal photographs",
    "table-v": "detection after CCD pre-training, chest radiographs",
}
_RELATED: Final = {"table-iv": ("table-ii",), "table-v": ("table-iii",)}
"""Tables whose figures a table's claims need beside its own."""
_MARKS: Final = {Verdict.WITHIN: " ✓", Verdict.OUTSIDE: " ✗"}
_POOR: Final = " †"
_ABSENT: Final = "-"
_SMALL: Final = 0.01
_FINE: Final = 4
_INTERVALS: Final = (
    "Brackets, which a terminal leaves out, hold the 95 % interval over subjects, and over seeds where there are "
    "several."
)
_POOR_MEANS: Final = (
    "† Not above the best trivial baseline: chance, brightness, darkness, the place of a slice, how far brain voxels "
    "lie from their mean in healthy subjects, or a few figures of the image from theirs."
)
_NAMED: Final = re.compile(r"\S+@seed-\d+")
"""A model in a reason, which several methods then share."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of a table.

    Attributes:
        column: Test set of the study.
        test_set: What stands for it; None where nothing does.
        method: Id.
        metric: Which.
        printed: What the study printed; None where it printed nothing.
        ours: What was measured; None where nothing was.
        score: The results that it is of.
        trivial: The highest figure of a trivial baseline, on the same images; None where none has one.
        verdict: What the one is beside the other.
        reason: Why it was not run, or is not judged.
    """

    column: str
    test_set: TestSet | None
    method: str
    metric: Metric
    printed: float | None
    ours: Estimate | None
    score: Score
    trivial: float | None
    verdict: Verdict
    reason: str

    @property
    def chance(self) -> Estimate | None:
        """What a random classifier comes to on the same images; None where no result says it."""
        return self.score.chance(self.metric.id)

    @property
    def poor(self) -> bool:
        """Whether what has learnt nothing does as well."""
        return self.ours is not None and self.trivial is not None and self.ours.mean <= self.trivial

    @property
    def interval(self) -> str:
        """Its 95 % interval, where the test sample's part of that is known."""
        if self.ours is None or self.ours.sampling is None:
            return ""
        low, high = self.ours.interval
        decimals = _decimals(high, 2)
        return f"[{low:.{decimals}f}, {high:.{decimals}f}]"

    @property
    def text(self) -> str:
        """Our figure, its spread over seeds, whether it agrees, and whether what has learnt nothing does as well."""
        if self.ours is None:
            return _ABSENT
        mean, deviation, decimals = self.ours.mean, self.ours.deviation, _decimals(self.ours.mean)
        spread = "" if deviation is None else f" ±{deviation:.{decimals}f}"
        return f"{mean:.{decimals}f}{spread}{_MARKS.get(self.verdict, '')}{_POOR if self.poor else ''}"


def reproduce_scores(item: str, order: Order, on_progress: Report) -> Reproduction:
    """Return one of Tables II to V.

    Raises:
        NotFoundError: No test set is prepared, and no result is there.
        UsageError: There is no such method.
    """
    ours = gather((item, *_RELATED.get(item, ())), order, (item,), on_progress)
    cells = list(_cells(item, ours))
    if all(each.ours is None for each in cells) and not _stands(item, order):
        first = [test_set.id for column in published(item)["bold"] for test_set in stand_ins(order.material, column)]
        where = store_path(order.data, first[0], "test", order.protocol, side_of(order.plan.side or STUDY_SIDE))
        raise NotFoundError(
            f"no test set of {item} is prepared in {order.data} under the protocol {order.protocol}",
            ", ".join(first),
            preparing(first[0], where.name),
        )
    claims = checked(claims_of(item), ours)
    blocks = [*_blocks(item, cells, ours), shown(claims, order.banner), _judgement(cells, order), _making(ours)]
    document = {
        "schema": SCHEMA,
        "item": item,
        "material": order.material,
        "banner": order.banner,
        "protocol": order.protocol,
        "profile": order.plan.profile,
        "seeds": list(order.seeds),
        "rule": RULE,
        "cells": [_described(each, order) for each in cells],
        "claims": described(claims),
    }
    outside = sum(each.verdict is Verdict.OUTSIDE for each in cells)
    rows = [_as_row(each, order) for each in cells]
    picture = chart(_lines(cells), order.banner)
    pictures = {} if picture is None else {".png": picture}
    measured = any(cell.ours for cell in cells)
    return Reproduction(item, document, "", pictures, TITLES[item], order.banner, blocks, rows, outside, measured)


def _lines(cells: Sequence[Cell]) -> list[list[Panel]]:
    """Return what a chart shows of test sets that were measured: how images are told apart, and below that pixels."""
    metrics = {cell.metric.id: cell.metric for cell in cells}
    measured = {key: mine for key, mine in _by_test(cells).items() if any(cell.ours for cell in mine)}
    return [
        [
            _panel(name or column, [cell for cell in mine if cell.metric is metrics[wanted]])
            for (column, name), mine in (measured or _by_test(cells)).items()
        ]
        for wanted in ("ap_image", "ap_pixel")
        if wanted in metrics
    ]


def _panel(title: str, cells: Sequence[Cell]) -> Panel:
    rows = [(cell.method, cell.ours, cell.printed) for cell in cells]
    trivial = max((cell.trivial for cell in cells if cell.trivial is not None), default=None)
    return Panel(title, cells[0].metric.title, rows, trivial)


def _stands(item: str, order: Order) -> bool:
    return any(order.has_store(each) for column in published(item)["bold"] for each in order.tests(column))


def _cells(item: str, ours: Ours) -> Iterator[Cell]:
    """Yield the figures of a table, test set by test set, in the order in which it was printed."""
    for column, bold in published(item)["bold"].items():
        metrics = METRICS[: len(bold)]
        for test_set in ours.order.tests(column) or (None,):
            for method in methods_of(item, ours.order):
                for metric in metrics:
                    yield _cell(item, ours, column, test_set, method, metric)


def _cell(item: str, ours: Ours, column: str, test_set: TestSet | None, method: str, metric: Metric) -> Cell:
    index = [each.id for each in METRICS].index(metric.id)
    rows = published(item)["printed"]
    row = rows.get(method, {}).get(column)
    printed = None if row is None else float(row[index])
    if test_set is None:
        why = f"nothing {ours.order.material} stands for {column}"
        return Cell(column, None, method, metric, printed, None, Score(), None, Verdict.NOT_RUN, why)
    score = ours.score(method, test_set, ccd=TABLES[item])
    name = measured_as(metric.id, ours.order.protocol)
    estimate = score.estimate(name)
    known = [float(each[column][index]) for each in rows.values() if column in each]
    verdict, reason = _verdict(ours.order, score, estimate, printed, known)
    return Cell(column, test_set, method, metric, printed, estimate, score, score.trivial(name), verdict, reason)


def _verdict(
    order: Order, score: Score, estimate: Estimate | None, printed: float | None, column: Sequence[float]
) -> tuple[Verdict, str]:
    if estimate is None:
        undefined = "this test set does not define it" if score.results else "the method has no network for CCD"
        return Verdict.NOT_RUN, _first(score.reasons) or undefined
    if order.material is not Material.STUDY:
        return Verdict.NOT_JUDGED, "a stand-in: not the images of the printed figure"
    if printed is None:
        return Verdict.NOT_JUDGED, "the study printed none"
    return judge(estimate, printed, column)


def _first(reasons: Sequence[str]) -> str:
    """Return the first reason, and how many others there are, which are mostly the same of another seed."""
    others = len({*reasons}) - 1
    return "".join(reasons[:1]) + (f" And {others} more." if others > 0 else "")


def _by_test(cells: Sequence[Cell]) -> dict[tuple[str, str | None], list[Cell]]:
    """Return the cells by their test set of the study and what stands for it."""
    found: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.column, _id(cell.test_set)), []).append(cell)
    return found


def _blocks(item: str, cells: Sequence[Cell], ours: Ours) -> Iterator[Block]:
    """Yield a table for each test set: a row for each method, ours and the printed figure side by side."""
    for (column, name), mine in _by_test(cells).items():
        printed_as = TEST_SETS[column].title
        if name is None:
            yield Block(printed_as, notes=[f"Not run: nothing {ours.order.material} stands for it."])
            continue
        heading = printed_as if name == column else f"{TEST_SETS[name].title}, in place of {printed_as}"
        metrics = list(dict.fromkeys(cell.metric for cell in mine))
        head = ["method", *(word for metric in metrics for word in (metric.title, "printed"))]
        rows = list(_rows(item, column, mine)) if any(cell.ours for cell in mine) else []
        yield Block(heading, head, rows, _notes(mine))


def _rows(item: str, column: str, cells: Sequence[Cell]) -> Iterator[Sequence[str | Shown]]:
    for method in dict.fromkeys(cell.method for cell in cells):
        mine = [cell for cell in cells if cell.method == method]
        pairs = [(Shown(cell.text, _kind(cell), cell.interval), Shown(_printed(cell.printed))) for cell in mine]
        yield [method, *(each for pair in pairs for each in pair)]
    row = published(item)["printed"]["random"][column]
    by_metric = [[cell for cell in cells if cell.metric is each] for each in dict.fromkeys(c.metric for c in cells)]
    texts = [_first_known(chance.mean for cell in mine if (chance := cell.chance)) for mine in by_metric]
    yield ["random", *(Shown(each) for pair in zip(texts, map(_printed, row), strict=True) for each in pair)]
    told = [
        _first_known(sorted((cell.trivial for cell in mine if cell.trivial is not None), reverse=True))
        for mine in by_metric
    ]
    yield ["best trivial", *(Shown(each) for text in told for each in (text, ""))]


def _first_known(values: Iterable[float]) -> str:
    """Return the first of some figures as a cell has it."""
    return next((f"{value:.{_decimals(value)}f}" for value in values), _ABSENT)


def _decimals(value: float, usual: int = 3) -> int:
    """Return after how many decimals a figure is cut: later where lesions are a thousandth of the pixels."""
    return usual if value >= _SMALL else _FINE


def _kind(cell: Cell) -> str:
    kinds = {Verdict.WITHIN: "within", Verdict.OUTSIDE: "outside", Verdict.NOT_RUN: "absent"}
    return kinds.get(cell.verdict, "")


def _printed(value: float | None) -> str:
    return "N/A" if value is None else f"{value:.3g}" if value < 0.005 else f"{value:.2f}"


def _notes(cells: Sequence[Cell]) -> list[str]:
    """Say what was scored, and which methods were not and why."""
    results = [each for cell in cells for each in cell.score.results]
    notes = []
    if results:
        first = results[0]
        labels = "; ".join((f"of {first.subjects} subjects", *_labels(cells)))
        notes.append(f"{first.images} images, {first.anomalous} anomalous, {labels}.")
    if any(cell.interval for cell in cells):
        notes.append(_INTERVALS)
    if any(cell.poor for cell in cells):
        notes.append(_POOR_MEANS)
    notes += _reasons("Not run", [cell for cell in cells if cell.ours is None])
    own = [cell for cell in cells if _id(cell.test_set) == cell.column]  # of stand-ins it is said of all at once
    notes += _reasons("Not judged", [cell for cell in own if cell.verdict is Verdict.NOT_JUDGED])
    lacking = [(cell.method, _first(cell.score.reasons)) for cell in cells if cell.ours and cell.score.reasons]
    return notes + _shared("Seeds are missing", lacking)


def _reasons(what: str, cells: Sequence[Cell]) -> list[str]:
    """Say of which methods something is true, and why."""
    return _shared(what, [(cell.method, cell.reason) for cell in cells])


def _shared(what: str, reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Say what is true of methods, those with one reason in one sentence."""
    having: dict[str, list[str]] = {}
    for method, reason in reasons:
        having.setdefault(_NAMED.sub("its model", reason), []).append(method)
    return [f"{what}: {', '.join(dict.fromkeys(names))}: {why}" for why, names in having.items()]


def _labels(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what must be told of figures: labels of all methods, then those of some with their names."""
    labels = {
        cell.method: [label for each in cell.score.results for label in each.labels] for cell in cells if cell.ours
    }
    for label in dict.fromkeys(label for each in labels.values() for label in each):
        having = [method for method, own in labels.items() if label in own]
        yield label if len(having) == len(labels) else f"{label} ({', '.join(having)})"


def _judgement(cells: Sequence[Cell], order: Order) -> Block:
    counts = Counter(cell.verdict for cell in cells)
    tally = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    of_study = order.material is Material.STUDY
    told = "" if of_study else "No cell is judged, since the images are not those of the printed figures. "
    return Block("Verdicts", notes=[f"{len(cells)} figures: {tally}.", f"{told}{RULE}"])


def _making(ours: Ours) -> Block:
    """Say under which budgets the models were made, and where they were found."""
    found = [each for score in ours.scores.values() for each in score.found]
    made = Counter(
        (
            each.config.training.profile,
            str(each.config.training.seed),
            str(each.config.settings.get("backbone", _ABSENT)),
            each.origin,
        )
        for each in found
    )
    rows = [[*kind, str(count)] for kind, count in sorted(made.items())]
    notes = [f"Protocol {ours.order.protocol}; seeds {', '.join(map(str, ours.order.seeds))}."]
    return Block("Models", ("profile", "seed", "backbone", "found in", "scored"), rows, notes)


def _described(cell: Cell, order: Order) -> dict[str, Any]:
    """Return a figure for programs, with the models that it is of."""
    models = [
        {
            "model": found.config.id,
            "revision": result.revision,
            "manifest": result.manifest,
            "profile": found.config.training.profile,
            "steps": found.config.training.steps,
            "seed": result.seed,
            "origin": found.origin,
        }
        for found, result in zip(cell.score.found, cell.score.results, strict=True)
    ]
    return {**_as_row(cell, order), "models": models}


def _as_row(cell: Cell, order: Order) -> dict[str, Any]:
    """Return a figure as a line of the CSV file."""
    ours, allowed = cell.ours, None
    if order.material is Material.STUDY and ours is not None and cell.printed is not None:
        allowed = tolerance(ours, cell.printed)
    return {
        "material": str(order.material),
        "column": cell.column,
        "test_set": _id(cell.test_set),
        "method": cell.method,
        "metric": cell.metric.id,
        "printed": cell.printed,
        "ours": None if ours is None else round(ours.mean, 4),
        "seeds": None if ours is None else ours.seeds,
        "deviation": None if ours is None else _rounded(ours.deviation),
        "sampling_error": None if ours is None else _rounded(ours.sampling),
        "low": None if ours is None or ours.sampling is None else _rounded(ours.interval[0]),
        "high": None if ours is None or ours.sampling is None else _rounded(ours.interval[1]),
        "trivial": _rounded(cell.trivial),
        "tolerance": _rounded(allowed),
        "verdict": str(cell.verdict),
        "reason": cell.reason,
    }


def _id(test_set: TestSet | None) -> str | None:
    return None if test_set is None else test_set.id


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
