"""What each switch between the protocols does to a model, on the test sets: measured after choices were made.

A model is made by the sound recipe, then with one value of the study's at a time, then with all of them; and by the
sound recipe where images are prepared as the study did, or the truth alone is. Every variant is trained, and measured
on all test sets of its domain that are prepared; its outcome is kept by the hash of all that decides it, and what is
there is not made again.

    runs/<hash>/         of the trainings
    outcomes/<hash>.json one variant and seed on one test set
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np

from upd_harness.evaluation.contenders import MODEL, answers, metrics_of
from upd_harness.evaluation.intervals import bootstrap_intervals, tally_of
from upd_harness.grid.comparison import Spread, vars_of
from upd_harness.grid.identity import hash_of
from upd_harness.grid.trial import Contest, Planned, fitted, kept, planned
from upd_harness.grid.variants import Variant, switches_of
from upd_zoo.artefact.metrics import METRICS, STUDY_DICE, Metric, figure
from upd_zoo.artefact.records import Config
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.names import ModelId
from upd_zoo.progress import Report, silent
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.runtime.model import Predict
from upd_zoo.stores.places import Part
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, Protocol, test_sets_of

SCHEMA: Final = "upd-zoo/effect/1"
SOUND: Final = "sound"
STUDY: Final = "study"
"""What the rows without any and with all values of the study's are called."""
PREPARED: Final = "prepared as by the study"
JUDGED: Final = "masks as of the study"
"""What those are called whose images, or whose masks of the test images alone, were prepared under its protocol."""


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of one model.

    Attributes:
        contest: Of the model.
        name: What is changed of the sound recipe: a switch as it would be typed, or what it is called.
        variant: The changes.
        judged: By whose rules the masks were prepared that it is held against; None for those of its images.
    """

    contest: Contest
    name: str
    variant: Variant
    judged: Protocol | None = None


def rows_of(contest: Contest, switches: Sequence[str], more: Sequence[Variant]) -> list[Row]:
    """Return the rows of a model: sound, each switch at the study's value, variants of one's own, all of the study's.

    Args:
        contest: Of the model.
        switches: Which of the study's values are tried; nothing for all. Names of other methods' switches are passed
            over.
        more: Further variants; those that the recipe is already are left out.
    """
    model = ModelId.parse(contest.model)
    sound = contest.recipe({})
    study = switches_of(sound, load_recipe(model, Protocol.STUDY, contest.profile))
    chosen = {key: value for key, value in study.items() if not switches or key in switches}
    single = [Variant({key: value}) for key, value in chosen.items()]
    own = [variant for variant in more if contest.recipe(variant.changes) != sound]
    rows = [Row(contest, SOUND, Variant({})), *(Row(contest, each.name, each) for each in (*single, *own))]
    if len(study) > 1:
        rows.append(Row(contest, STUDY, Variant(study)))
    return [*rows, *_of_preparation(contest, sound)]


def _of_preparation(contest: Contest, sound: Recipe) -> list[Row]:
    """Return the rows of images and masks that were prepared under the study's protocol; none where none are."""
    other = replace(contest, prepared=Protocol.STUDY)
    tests = [(test_set.id, Part.TEST) for test_set in test_sets_of(sound.domain.id)]
    wanted = (
        (Row(other, PREPARED, Variant({})), [(sound.domain.id, Part.TRAIN)]),
        (Row(contest, JUDGED, Variant({}), Protocol.STUDY), tests),
    )
    return [row for row, stores in wanted if any(_is_own(contest, other, sound, *store) for store in stores)]


def _is_own(contest: Contest, other: Contest, sound: Recipe, target: str, part: Part) -> bool:
    """Return whether a store stands that another contest alone reads."""
    path = other.path(sound, target, part)
    return path.is_dir() and path != contest.path(sound, target, part)


def carry_out(row: Row, seed: int, on_progress: Report = silent) -> list[dict[str, Any]]:
    """Return the outcomes of a row with one seed, one for every test set that is prepared, making what is missing.

    Raises:
        NotFoundError: The training images are not prepared.
        UpdZooError: The training fails.
    """
    plan = planned(row.contest, row.variant, seed)

    @cache
    def model() -> tuple[Predict, Config]:
        return fitted(row.contest, plan, seed, on_progress)

    found = []
    for place in _places(row, plan):
        made = partial(_outcome, place, model)
        found.append({**kept(place.path, made), "row": row.name})
    return found


def finished(row: Row, seed: int) -> list[dict[str, Any]]:
    """Return those outcomes of a row with one seed that are there."""
    places = _places(row, planned(row.contest, row.variant, seed))
    found = [json.loads(place.path.read_text(encoding="utf-8")) for place in places if place.path.is_file()]
    return [{**outcome, "row": row.name} for outcome in found]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an outcome is kept, the test that it is of, what that is held against, and all that decides it."""

    path: Path
    store: Store
    truth: Store
    identity: Mapping[str, Any]


def _places(row: Row, plan: Planned) -> list[_Place]:
    """Return the places of the outcomes on all prepared test sets of a domain."""
    places, contest = [], row.contest
    for test_set in test_sets_of(plan.recipe.domain.id):
        with suppress(NotFoundError):  # a test set of other data than the domain's need not be at hand
            store = truth = Store(contest.path(plan.recipe, test_set.id, Part.TEST))
            identity = {**plan.inputs, "test_set": test_set.id, "test": store.sha256}
            if row.judged is not None:
                truth = Store(replace(contest, prepared=row.judged).path(plan.recipe, test_set.id, Part.TEST))
                identity["truth"] = truth.sha256
            path = contest.out / "outcomes" / f"{hash_of(identity)}.json"
            places.append(_Place(path, store, truth, identity))
    return places


def _outcome(place: _Place, model: Callable[[], tuple[Predict, Config]]) -> dict[str, Any]:
    """Return what a model comes to.

    Raises:
        UsageError: The masks that it is held against are of other images.
    """
    store, truth = place.store, place.truth
    if [_slice(row) for row in store.index] != [_slice(row) for row in truth.index]:
        raise UsageError(
            f"{truth.folder} holds other images than {store.folder}",
            "the same scans, prepared under both protocols",
            "prepare both again from one folder",
        )
    predict, config = model()
    every, found = np.ones(len(store), np.bool_), answers(predict, config, store)
    maps, scores = found[MODEL]
    pixels = None if truth.masks is None else tally_of(maps, np.array(truth.masks), store.subjects)
    intervals = bootstrap_intervals(scores.astype(np.float64), truth.anomalous, store.subjects, pixels)
    return {
        "schema": SCHEMA,
        **place.identity,
        "images": len(store),
        "anomalous": int(truth.anomalous.sum()),
        "subjects": store.facts.subjects,
        "labels": store.facts.labels,
        "metrics": {who: metrics_of(*each, truth, every).model_dump() for who, each in found.items()},
        "intervals": intervals,
    }


def _slice(row: Mapping[str, str]) -> tuple[str, str]:
    return row["subject"], row["slice"]


# Pages

THRESHOLDS: Final = "Dice of 100 thresholds"
"""What the row of differences between the study's Dice and the exact one is called."""
DOCUMENT: Final = "upd-zoo/effects/2"
COLUMNS: Final = (*METRICS, STUDY_DICE)
"""What is shown of every row: the four metrics, and the study's own Dice beside the exact one."""
_COUNTS: Final = ("labels", "images", "anomalous", "subjects")
_MADE_OF: Final = ("model", "row", "seed", "test_set", "run", "train", "test", "weights", "code")


def as_lines(outcomes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each model, test set and row: every metric over seeds, and how far it is from the sound one.

    Args:
        outcomes: Of any rows and seeds. A change is that of seeds which both rows have.
    """
    grouped: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for outcome in outcomes:
        grouped.setdefault((outcome["test_set"], outcome["model"], outcome["row"]), {})[outcome["seed"]] = outcome
    return [
        {
            "test_set": test_set,
            "model": model,
            "row": row,
            "seeds": sorted(seeds),
            "metrics": {
                metric.id: _figures(seeds, grouped.get((test_set, model, SOUND), {}), metric.id) for metric in COLUMNS
            },
        }
        for (test_set, model, row), seeds in grouped.items()
    ]


def _figures(
    seeds: Mapping[int, Mapping[str, Any]], sound: Mapping[int, Mapping[str, Any]], metric: str
) -> dict[str, Any] | None:
    """Return mean, deviation, interval and change of a metric over seeds; None where it is not defined."""
    values = {seed: each["metrics"][MODEL].get(metric) for seed, each in seeds.items()}
    if None in values.values():
        return None
    bounds = [each["intervals"][metric] for each in seeds.values() if metric in each["intervals"]]
    changes = [value - sound[seed]["metrics"][MODEL][metric] for seed, value in values.items() if seed in sound]
    return {
        **vars_of(Spread.of(list(values.values()))),
        "interval": [fmean(side) for side in zip(*bounds, strict=True)] if bounds else None,
        "change": vars_of(Spread.of(changes)) if changes else None,
    }


def document_of(profile: str, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the lines of outcomes, the test sets with their trivial baselines, and what every outcome was made of."""
    tests = {
        each["test_set"]: {key: each[key] for key in _COUNTS}
        | {"baselines": {who: metrics for who, metrics in each["metrics"].items() if who != MODEL}}
        for each in reversed(outcomes)
    }
    made = [{key: outcome[key] for key in _MADE_OF} for outcome in outcomes]
    return {
        "schema": DOCUMENT,
        "profile": profile,
        "versions": _each_once(outcome["versions"] for outcome in outcomes),
        "test_sets": tests,
        "lines": as_lines(outcomes),
        "outcomes": made,
    }


def joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of all lines of two; of one that both have, the newer, unless the older is of more seeds.

    A test set whose images are others now starts anew.

    Raises:
        UsageError: They are of two profiles.
    """
    if old["profile"] != new["profile"]:
        raise UsageError(
            f"the page is of profile '{old['profile']}', these lines of '{new['profile']}'",
            "a page for each profile",
            "--pages another folder",
        )
    images = _images_of(new)
    stays = [line for line in old["lines"] if images.get(line["test_set"]) in (None, _images_of(old)[line["test_set"]])]
    held = {_key(line): line for line in stays}
    fresh = [line for line in new["lines"] if len(held.get(_key(line), {"seeds": ()})["seeds"]) <= len(line["seeds"])]
    chosen = {_key(line) for line in fresh}
    lines = [line for line in stays if _key(line) not in chosen] + fresh
    known = {_key(line) for line in lines}
    outcomes = [each for each in old["outcomes"] if _key(each) in known - chosen]
    outcomes += [each for each in new["outcomes"] if _key(each) in chosen]
    return {
        "schema": DOCUMENT,
        "profile": new["profile"],
        "versions": _each_once((*old["versions"], *new["versions"])),
        "test_sets": dict(sorted({**old["test_sets"], **new["test_sets"]}.items())),
        "lines": sorted(lines, key=_place_on_page),
        "outcomes": sorted(outcomes, key=lambda each: (*_place_on_page(each), each["seed"])),
    }


def _each_once(versions: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [dict(pairs) for pairs in dict.fromkeys(tuple(each.items()) for each in versions)]


def _images_of(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of every test set's images, as its sound models met them."""
    return {each["test_set"]: each["test"] for each in document["outcomes"] if each["row"] == SOUND}


def _key(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["test_set"], line["model"], line["row"]


def _place_on_page(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what lines are sorted by: single switches stand between the two protocols."""
    test_set, model, row = _key(line)
    ends = (SOUND, None, STUDY, PREPARED, JUDGED)
    return test_set, model, ends.index(row if row in ends else None), row


def as_markdown(document: Mapping[str, Any]) -> str:
    """Return a document as text: all changes, then a table for each test set, with the metrics that it defines."""
    text = _glance(document)
    for test_set, facts in document["test_sets"].items():
        mine = [line for line in document["lines"] if line["test_set"] == test_set]
        shown = [metric for metric in COLUMNS if any(line["metrics"][metric.id] for line in mine)]
        counts = f"{facts['images']} images, {facts['anomalous']} anomalous, of {facts['subjects']} subjects"
        text += [f"## {TEST_SETS[test_set].title}", "", f"{', '.join(facts['labels'])}. {counts}.", ""]
        text += [f"| model | row | seeds | {' | '.join(metric.title for metric in shown)} |"]
        text += [f"|---|---|---|{'---|' * len(shown)}", *(_line(line, shown) for line in mine)]
        text += [_baseline(who, metrics, shown) for who, metrics in facts["baselines"].items()] + [""]
    return "\n".join(text)


def _glance(document: Mapping[str, Any]) -> list[str]:
    """Return the table of what every switch changes on every test set."""
    shown = {test_set: _headline(document, test_set) for test_set in document["test_sets"]}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for line in document["lines"]:
        test_set, method = line["test_set"], ModelId.parse(line["model"].partition("+")[0]).method
        figures = line["metrics"][shown[test_set].id]
        if line["row"] != SOUND and figures and figures["change"]:
            cells.setdefault((line["row"], method), {})[test_set] = _spread(figures["change"], "+")
        dice, hundred = (line["metrics"][metric] for metric in ("dice", STUDY_DICE.id))
        if line["row"] == SOUND and dice and hundred:
            cells.setdefault((THRESHOLDS, method), {})[test_set] = f"{hundred['mean'] - dice['mean']:+.3f}"
    heads = " | ".join(f"{metric.title}, {TEST_SETS[test_set].title}" for test_set, metric in shown.items())
    rows = [
        f"| `{row}` | {method} | {' | '.join(found.get(test_set, '') for test_set in shown)} |"
        for (row, method), found in sorted(cells.items(), key=_switch_order)
    ]
    return [
        "## Every change",
        "",
        f"| row | method | {heads} |",
        f"|---|---|{'---|' * len(shown)}",
        *rows,
        "",
    ]


def _headline(document: Mapping[str, Any], test_set: str) -> Metric:
    """Return by which metric changes are shown: of pixels where their truth is known."""
    by_id = {metric.id: metric for metric in METRICS}
    lines = [line for line in document["lines"] if line["test_set"] == test_set]
    return by_id["ap_pixel"] if any(line["metrics"]["ap_pixel"] for line in lines) else by_id["auroc"]


def _switch_order(item: tuple[tuple[str, str], Any]) -> tuple[int, str, str]:
    (row, method), _ = item
    ends = (None, THRESHOLDS, PREPARED, JUDGED, STUDY)
    return ends.index(row if row in ends else None), row, method


def _line(line: Mapping[str, Any], shown: Sequence[Metric]) -> str:
    cells = " | ".join(_cell(line["metrics"][metric.id], changed=line["row"] != SOUND) for metric in shown)
    return f"| `{line['model']}` | `{line['row']}` | {len(line['seeds'])} | {cells} |"


def _cell(figures: Mapping[str, Any] | None, *, changed: bool) -> str:
    if figures is None:
        return "n/a"
    interval, change = figures["interval"], figures["change"]
    bounds = "" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    return f"{_spread(figures)}{bounds}" + (f", {_spread(change, '+')}" if changed and change else "")


def _spread(figures: Mapping[str, Any], sign: str = "") -> str:
    deviation = figures["deviation"]
    return f"{figures['mean']:{sign}.3f}" + ("" if deviation is None else f" ± {deviation:.3f}")


def _baseline(who: str, metrics: Mapping[str, float | None], shown: Sequence[Metric]) -> str:
    return f"| {who} | | | {' | '.join(figure(metrics.get(metric.id)) for metric in shown)} |"
