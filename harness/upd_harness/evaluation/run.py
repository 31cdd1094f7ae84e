"""How good a model is on a test set: the study's four metrics, beside trivial baselines, with intervals.

Source: sections V-E and VI of the study.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.contenders import MODEL, RANDOM, Gathered, chance, gather
from upd_harness.evaluation.exposure import NAME as EXPOSURE
from upd_harness.evaluation.healthy import Healthy
from upd_harness.evaluation.intervals import bootstrap_intervals
from upd_harness.evaluation.metrics import Floats
from upd_harness.evaluation.published import printed_of
from upd_harness.evaluation.resampling import aupro
from upd_harness.evaluation.stored import SUFFIX, Kept
from upd_harness.evaluation.subgroups import looks_of, of_images, position_baseline, probes, strata, subject_level
from upd_harness.evaluation.tested import Tested
from upd_harness.report.html import GalleryItem, write_evaluation_report
from upd_harness.report.overlay import COLOURED, colour_range, thumbnail
from upd_harness.report.run_record import describe_run, utc_now
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import RESULTS, Config, Result, Space
from upd_zoo.errors import UsageError
from upd_zoo.files import held_alone, replacing, write_json
from upd_zoo.progress import Report, silent
from upd_zoo.runtime.model import Model
from upd_zoo.stores.store import Facts, Store
from upd_zoo.vocabulary import DOMAINS, TestSet

SCORES, REPORT, RUN = "scores.csv", "report.html", "run.json"
_LOCK: Final = ".lock"
Gathering: TypeAlias = Callable[[Tested, Store, Path | None, Report], Gathered]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A result and what its report shows.

    Attributes:
        result: The numbers.
        scores: (N,) score of each image.
        anomalous: (N,) whether it shows pathology.
        report: The page.
    """

    result: Result
    scores: Floats
    anomalous: npt.NDArray[np.bool_]
    report: Path


def evaluate(
    model: Model,
    test_set: TestSet,
    store: Store,
    output: Path,
    *,
    revision: str = "main",
    gathering: Gathering = gather,
    arguments: dict[str, Any] | None = None,
    on_progress: Report = silent,
) -> Evaluation:
    """Score a test set and write what it amounts to.

    Args:
        model: What scores.
        test_set: Which test.
        store: Its prepared images.
        output: Where `results/<test set>.json` and `.npz`, `scores.csv`, `run.json` and `report.html` go.
        revision: Which revision of the model.
        gathering: How images are scored: `gather`, or `upd_harness.evaluation.sharding.Sharded`.
        arguments: What the user asked for, kept in `run.json`.
        on_progress: Told how many images are done.

    Raises:
        UsageError: The model takes images of another kind or size, or brains in another space or scaled otherwise.
    """
    _check_known_images(model.config, test_set, store.facts)
    tested = Tested.of(model, revision)
    tested = replace(tested, labels=(*tested.labels, *_contrasts(model.config, test_set)))
    return measure(tested, test_set, store, output, gathering=gathering, arguments=arguments, on_progress=on_progress)


def measure(
    tested: Tested,
    test_set: TestSet,
    store: Store,
    output: Path,
    *,
    gathering: Gathering = gather,
    arguments: dict[str, Any] | None = None,
    on_progress: Report = silent,
) -> Evaluation:
    """Score a test set by what fits its images, and write what it amounts to; see `evaluate`."""
    began, started = time.monotonic(), utc_now()
    healthy = Healthy.beside(test_set, store)
    gathered = gathering(tested, store, None if healthy.brains is None else healthy.brains.folder, on_progress)
    scores = np.array(gathered.contenders[MODEL].scores)
    written = output / RESULTS / f"{test_set.id}.json"
    tallies = Kept(scores, store.anomalous, store.subjects, gathered.pixels).write(written.with_suffix(SUFFIX))
    result = _result(tested, test_set, store, gathered, healthy).model_copy(update={"tallies": tallies})
    write_record(written, result)
    _write_scores(output / SCORES, store, scores)
    (low, high), gallery = _gallery(tested, store, scores)
    run = describe_run("evaluate", *tested.described(), arguments or {}, started, time.monotonic() - began)
    run |= {"test_set": test_set.id, "store": store.facts.provenance, "colours": {"low": low, "high": high}}
    write_json(output / RUN, run)
    report = write_evaluation_report(
        output,
        result.model_dump(mode="json", by_alias=True),
        run,
        gallery,
        healthy_scores=scores[~store.anomalous],
        anomalous_scores=scores[store.anomalous],
    )
    clear_earlier(output, written)
    return Evaluation(result, scores, store.anomalous, report)


def clear_earlier(output: Path, written: Path, *, without: Sequence[str] = ()) -> None:
    """Remove what an earlier evaluation left in a folder beside the result that was written now.

    Args:
        output: The folder.
        written: The result.
        without: Names of files that this evaluation has none of.
    """
    for earlier in (output / RESULTS).iterdir():
        if earlier.stem != written.stem:  # of another test set
            earlier.unlink()
    for name in without:
        (output / name).unlink(missing_ok=True)


@contextmanager
def room(output: Path, *, overwrite: bool) -> Iterator[None]:
    """Hold a folder for an evaluation while the block runs; one that was made for it goes again where nothing came.

    Args:
        output: The folder.
        overwrite: Whether an earlier evaluation may be lost.

    Raises:
        UsageError: It is no folder, it holds an evaluation and `overwrite` is off, it holds anything else, or another
            evaluation is being written to it.
    """
    _check_room(output, overwrite)
    with ExitStack() as holding:
        if not output.exists():
            output.mkdir(parents=True)
            holding.callback(_remove_if_empty, output)
        holding.enter_context(held_alone(output / _LOCK, f"another evaluation is being written to {output}"))
        _check_room(output, overwrite)
        yield


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _check_room(output: Path, overwrite: bool) -> None:
    if not output.is_dir():
        if os.path.lexists(output):
            raise UsageError(f"the output {output} is no folder", "a new or empty folder", "name another with -o")
        return
    if not any(path.name != _LOCK for path in output.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"the output folder {output} is not empty", "an empty or new folder", "add --overwrite")
    if not _is_evaluation(output):
        raise UsageError(
            f"the output folder {output} holds no evaluation that could be replaced",
            "an empty or new folder, or an earlier evaluation",
            "choose another folder",
        )


def _is_evaluation(output: Path) -> bool:
    try:
        document = json.loads((output / RUN).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("command") == "evaluate"


def _check_known_images(config: Config, test_set: TestSet, facts: Facts) -> None:
    """Refuse a test of images that the model cannot know.

    Raises:
        UsageError: They are of another kind or size, or brains in another space or scaled otherwise.
    """
    if facts.channels != config.input.channels:
        raise UsageError(
            f"{facts.name} has {facts.channels} channels, {config.id} takes {config.input.channels}",
            f"a model of the domain {test_set.domain}",
        )
    modality, tested = config.images.modality, DOMAINS[test_set.domain].modality
    if modality is not tested:
        raise UsageError(
            f"the test set {test_set.id} holds images of the kind '{tested.title}', "
            f"{config.id} knows '{modality.title}'",
            f"a model of the domain {test_set.domain}",
        )
    config.check_side(facts.name, facts.side)
    config.check_scale(facts.name, facts.scale)
    space = Space.of(facts.provenance)
    if space is not None:
        config.check_space(space.template, space.template_sha256)


def _contrasts(config: Config, test_set: TestSet) -> list[str]:
    """Return what must be told of a model of scans of one contrast that is measured on another; mostly nothing."""
    learnt, tested = config.images.contrast, DOMAINS[test_set.domain].contrast
    return [f"learnt from {learnt}, measured on {tested}"] if learnt and tested and learnt != tested else []


def _result(tested: Tested, test_set: TestSet, store: Store, gathered: Gathered, healthy: Healthy) -> Result:
    has_masks = gathered.pixels is not None
    metrics = {name: contender.metrics(store.anomalous, has_masks) for name, contender in gathered.contenders.items()}
    metrics[RANDOM] = metrics[RANDOM].model_copy(update=chance(store.anomalous))
    if gathered.pixels is not None:
        metrics[MODEL] = metrics[MODEL].model_copy(update={"aupro": aupro(gathered.pixels)})
    scores, looks = np.array(gathered.contenders[MODEL].scores), looks_of(store, tested.rules.foreground)
    if (position := position_baseline(store, looks)) is not None:
        metrics["position"] = position
    if healthy.exposure is not None:
        metrics[EXPOSURE] = of_images(healthy.exposure.scores(store), store.anomalous)
    known = tested.calibration
    return Result(
        model=tested.name,
        revision=tested.revision,
        manifest=tested.sha256,
        test_set=test_set.id,
        store=store.sha256,
        healthy=None if healthy.store is None else healthy.store.sha256,
        left_out=healthy.left_out,
        seed=tested.seed,
        backend=tested.backend,
        precision=tested.precision,
        images=len(store),
        anomalous=int(store.anomalous.sum()),
        subjects=store.facts.subjects,
        metrics=metrics.pop(MODEL),
        intervals=bootstrap_intervals(scores, store.anomalous, store.subjects, gathered.pixels),
        baselines=metrics,
        labels=list(dict.fromkeys([*tested.labels, *store.facts.labels])),
        subject_level=None if known is None else subject_level(scores, store, looks, known, gathered.pixels),
        strata=strata(scores, store.anomalous, looks),
        probes=probes(scores, store.anomalous, looks),
        printed=printed_of(tested.method, test_set.id, ccd=tested.ccd),
    )


def _write_scores(path: Path, store: Store, scores: Floats) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("subject", "slice", "source", "anomalous", "score"))
        for row, score in zip(store.index, scores, strict=True):
            writer.writerow((row["subject"], row["slice"], row["source"], row["anomalous"], score))


def _gallery(tested: Tested, store: Store, scores: Floats) -> tuple[tuple[float, float], list[GalleryItem]]:
    """Return the ends of the scale of colours, and strips of the cases that say most: found best, found worst."""
    rows = dict(_telling(scores, store.anomalous))
    maps = {row: tested.predict(np.array(store.images[row])[None])[0][0, 0] for row in rows.values()}
    known = tested.calibration
    # Without healthy images to go by, the same shares of the pixels that are shown.
    shown = np.quantile(np.stack([*maps.values()]), COLOURED).tolist() if known is None else colour_range(known)
    low, high = shown
    items = []
    for title, row in rows.items():
        mask = store.masks[row] if store.masks is not None else None
        caption = f"{store.subjects[row]}, slice {store.index[row]['slice']}: score {scores[row]:.4g}"
        picture = thumbnail(np.array(store.images[row]), maps[row], low, high, mask)
        items.append(GalleryItem(title, picture, caption))
    return (low, high), items


def _telling(scores: Floats, anomalous: npt.NDArray[np.bool_]) -> Iterator[tuple[str, int]]:
    order = np.argsort(scores, kind="stable")
    sick, well = order[anomalous[order]], order[~anomalous[order]]
    if sick.size:
        yield "Anomalous, highest score", int(sick[-1])
        yield "Anomalous, median score", int(sick[sick.size // 2])
        yield "Anomalous, lowest score", int(sick[0])
    if well.size:
        yield "Healthy, highest score", int(well[-1])
        yield "Healthy, median score", int(well[well.size // 2])
