"""Figure 4: how good models are that learnt from a share of the subjects, in as many steps as from all.

AP_i and, where there are masks, AP_p of four methods trained on 0, 1, 5, 10, 25, 50, 75 and 100 % of the training
subjects; 0 % is a single one, as in the study. Shares that are the same number of subjects are the same training, which
is made once and stands at each of them. Several seeds are shown by their mean and their extremes.

Source: section VI-F of the study and its Figure 4, which prints no numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from upd_harness.grid.identity import recipe_of
from upd_harness.grid.plan import Task
from upd_harness.reproduce.drawing import COLOURS, MARKERS, figure_of, saved
from upd_harness.reproduce.gathering import Gathered, headline
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.models import make_missing
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.result import SCHEMA, Block, Reproduction
from upd_zoo.errors import NotFoundError
from upd_zoo.progress import Report
from upd_zoo.stores.excerpt import subjects_in
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, TestSet

METHODS: Final = ("fae", "rd", "dae", "vae")
COLUMNS: Final = ("brats-t2", "atlas", "chexpert-effusion", "ddr")
ON_PHANTOMS: Final = ("ddr",)
"""The others take four times as long, and ten subjects of brain phantoms have one in every share up to 10 %."""
FRACTIONS: Final = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
METRICS: Final = {"ap_image": "AP_i", "ap_pixel": "AP_p"}


@dataclass(frozen=True, slots=True)
class Point:
    """A model at a share.

    Attributes:
        test_set: On which it was measured.
        method: Its id.
        title: Of its method.
        fraction: The share, in [0, 1].
        subjects: How many subjects that was.
        seed: Of its training.
        ap_image: AP_i.
        ap_pixel: AP_p; None without masks.
    """

    test_set: str
    method: str
    title: str
    fraction: float
    subjects: int
    seed: int
    ap_image: float | None
    ap_pixel: float | None


def reproduce_fig_4(order: Order, on_progress: Report) -> Reproduction:
    """Return Figure 4: its four methods unless others are asked for, on its test sets or what stands for them.

    Raises:
        NotFoundError: None of the models is there.
        MissingExtraError: matplotlib is not installed.
    """
    usual = ON_PHANTOMS if order.material is Material.PHANTOM else COLUMNS
    wanted = [test for column in order.only or usual for test in order.tests(column)[:1]]
    test_sets = [TEST_SETS[name] for name in dict.fromkeys(test.id for test in wanted if order.has_store(test))]
    methods = order.methods or METHODS
    tasks = {test_set.id: _tasks(test_set, methods, order) for test_set in test_sets}
    failed = make_missing((task for each in tasks.values() for task in each), order, on_progress)
    gathered = Gathered()
    for test_set in test_sets:
        gathered.add([*tasks[test_set.id]], test_set, order, failed, on_progress)
    gathered.check_some("fig-4")
    points = [
        Point(
            each.result.test_set,
            each.found.config.method,
            each.found.config.title,
            fraction,
            each.found.config.training.subjects,
            each.task.seed,
            each.result.metrics.ap_image,
            each.result.metrics.ap_pixel,
        )
        for each in gathered.present
        for fraction in tasks[each.result.test_set][each.task]
    ]
    points.sort(key=lambda point: (point.test_set, methods.index(point.method), point.fraction, point.seed))
    cells = [{name: getattr(point, name) for name in Point.__slots__} for point in points]
    return Reproduction(
        "fig-4",
        {"schema": SCHEMA, "item": "fig-4", "material": order.material, "banner": order.banner, "points": cells}
        | {"missing": gathered.missing},
        pictures=drawn(points, headline(order, "models that learnt from a share of the training subjects")),
        title="Models that learnt from a share of the training subjects, in as many steps as from all",
        banner=order.banner,
        blocks=[*as_blocks(points), *gathered.block()],
        cells=cells,
    )


def _tasks(test_set: TestSet, methods: Sequence[str], order: Order) -> dict[Task, list[float]]:
    """Return the trainings that a test set needs, each with the shares that it stands at."""
    found: dict[Task, list[float]] = {}
    for method in methods:
        for share, alike in groups(FRACTIONS, _subjects(order.task(method, test_set.domain, 0), order)).items():
            for seed in order.seeds:
                found[order.task(method, test_set.domain, seed, fraction=share)] = alike
    return found


def _subjects(task: Task, order: Order) -> int | None:
    """Return how many subjects the training images of a task are of; None where they are not prepared."""
    recipe = recipe_of(task, order.plan)
    try:
        store = Store(store_path(order.data, recipe.domain.id, "train", order.protocol, recipe.side))
    except NotFoundError:
        return None
    return store.facts.subjects


def groups(fractions: Sequence[float], subjects: int | None) -> dict[float, list[float]]:
    """Return shares that are as many subjects, together, by the largest of them.

    Args:
        fractions: In rising order.
        subjects: Of whom they are shares; None where that is not known, and each stands alone.
    """
    if subjects is None:
        return {fraction: [fraction] for fraction in fractions}
    counts: dict[int, list[float]] = {}
    for fraction in fractions:
        counts.setdefault(subjects_in(fraction, subjects), []).append(fraction)
    return {alike[-1]: alike for alike in counts.values()}


def _values(points: Sequence[Point], metric: str) -> dict[float, list[float]]:
    """Return a metric of all seeds by share, where it is defined."""
    found: dict[float, list[float]] = {}
    for point in points:
        value = getattr(point, metric)
        if value is not None:
            found.setdefault(point.fraction, []).append(value)
    return found


def _by(points: Sequence[Point], name: str) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(getattr(point, name), []).append(point)
    return found


def as_blocks(points: Sequence[Point]) -> list[Block]:
    """Return a table for each test set and metric: methods down, shares across, means over seeds."""
    blocks = []
    for test_set, of_set in _by(points, "test_set").items():
        fractions = {point.fraction: point.subjects for point in of_set}
        head = ("method", *(f"{100 * fraction:g} % ({count})" for fraction, count in sorted(fractions.items())))
        for metric, title in METRICS.items():
            rows = [
                (name, *_cells(_values(of_method, metric), sorted(fractions)))
                for name, of_method in _by(of_set, "title").items()
            ]
            note = "In brackets the number of subjects; 0 % is a single one."
            if any(getattr(point, metric) is not None for point in of_set):
                blocks.append(Block(f"{title} on {TEST_SETS[test_set].title}", head, rows, (note,)))
    return blocks


def _cells(values: Mapping[float, Sequence[float]], fractions: Sequence[float]) -> list[str]:
    return [f"{fmean(values[fraction]):.3f}" if fraction in values else "-" for fraction in fractions]


def drawn(points: Sequence[Point], title: str) -> dict[str, bytes]:
    """Return the figure as PNG: a column for each test set, a row for each metric, a line for each method."""
    of_sets, names = _by(points, "test_set"), [*_by(points, "title")]
    metrics = [metric for metric in METRICS if any(getattr(point, metric) is not None for point in points)]
    with figure_of(max(2.9 * len(of_sets) + 0.6, 4.2), 2.3 * len(metrics) + 0.9) as figure:
        figure.suptitle(title, fontsize=9)
        axes = figure.subplots(len(metrics), len(of_sets), squeeze=False)
        for (test_set, of_set), column in zip(of_sets.items(), axes.T, strict=True):
            column[0].set_title(TEST_SETS[test_set].title, fontsize=8)
            for metric, axis in zip(metrics, column, strict=True):
                _draw_panel(axis, of_set, metric, names)
        handles, labels = max(
            (axis.get_legend_handles_labels() for axis in axes.ravel()), key=lambda each: len(each[1])
        )
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        for axis in axes[-1]:
            axis.set_xlabel("training subjects, % (0: a single one)")
        return {".png": saved(figure, ".png")}


def _draw_panel(axis: Any, points: Sequence[Point], metric: str, names: Sequence[str]) -> None:
    """Draw the lines of one test set and metric; roots of shares keep the small ones apart."""
    axis.set_ylabel(METRICS[metric])
    ticks = sorted({point.fraction for point in points})
    axis.set_xticks([fraction**0.5 for fraction in ticks], [f"{100 * fraction:g}" for fraction in ticks])
    lines = {name: _values(of_method, metric) for name, of_method in _by(points, "title").items()}
    if not any(lines.values()):
        axis.text(0.5, 0.5, "no masks", transform=axis.transAxes, ha="center")
        return
    for name, values in lines.items():
        style, places = names.index(name), [fraction**0.5 for fraction in values]
        look = {"color": COLOURS[style % len(COLOURS)], "marker": MARKERS[style % len(MARKERS)], "markersize": 4}
        axis.plot(places, [fmean(each) for each in values.values()], label=name, linewidth=1.2, **look)
        low, high = [min(each) for each in values.values()], [max(each) for each in values.values()]
        axis.fill_between(places, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.set_ylim(bottom=0)
