"""The command `upd-zoo evaluate`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.engines import Where
from upd_harness.cli.fetching import announce, as_argument, folder_of, is_folder, located, revision_of
from upd_harness.cli.options import ChosenOrigin, Data, Output, Running, TestedOrigin, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import prose, table
from upd_zoo.artefact.metrics import figure, shown
from upd_zoo.errors import UsageError

if TYPE_CHECKING:  # importing what evaluates takes longer than --help may
    from upd_harness.evaluation.run import Evaluation, Gathering
    from upd_zoo.artefact.records import Result
    from upd_zoo.runtime.model import Model
    from upd_zoo.vocabulary import TestSet


@command
def evaluate(
    tested: TestedOrigin,
    output: Output,
    test_set: Annotated[
        str | None, typer.Option("--test-set", help="Test set; default: the one that MODEL names.")
    ] = None,
    data: Data = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier evaluation.")] = False,
    into: Annotated[
        bool, typer.Option("--into", help="Put the result into the artefact too, and on its card; MODEL is its folder.")
    ] = False,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, help="Parts that are scored in processes of their own.")
    ] = None,
    maps: Annotated[Path | None, typer.Option("--maps", help="Maps of any origin, instead of a model.")] = None,
    masks: Annotated[
        Path | None, typer.Option("--masks", help="With --maps: their masks, under the same names.")
    ] = None,
    score: Annotated[str, typer.Option("--score", help="With --maps: maximum or mean of a map.")] = "maximum",
    *,
    running: Running,
    where: Where,
    terminal: Terminal,
) -> None:
    """Measure a model, or anybody's maps, beside trivial baselines."""
    from upd_harness.evaluation.run import check_room

    origin = tested.chosen
    if maps is not None or masks is not None:
        _measure_maps(origin, (maps, masks), score, output, overwrite, terminal)
        return
    if origin is None:
        raise UsageError("nothing to measure is named", "-m MODEL, or --maps DIR --masks DIR", "add -m MODEL")
    chosen, artefact = _test_set_of(origin.name, test_set), _artefact(origin.name) if into else None
    check_room(output, overwrite=overwrite)
    evaluation = _evaluated(origin, chosen, (data, output), (running, where, shards), terminal)
    if artefact is not None:
        _put(evaluation.result, artefact, terminal)
    _tell(evaluation, chosen.title, terminal)


def _artefact(model: str) -> Path:
    """Return the folder of the artefact into which a result shall go.

    Raises:
        UsageError: The model is not given as a folder.
    """
    folder = folder_of(model)
    if folder is None:
        raise UsageError(
            f"what was pulled of {model} is what its publisher says it is, and stays so",
            "with --into, the folder of a run or of its artefact",
            "name a folder with -m, or leave --into out",
        )
    return folder


def _put(result: "Result", artefact: Path, terminal: Terminal) -> None:
    """Put a result into an artefact, with what the study printed of its method beside it."""
    from upd_harness.reproduce.printed import printed_of
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CONFIG, Config
    from upd_zoo.card.results import add_results
    from upd_zoo.vocabulary import Pretrain

    config = read_record(artefact / CONFIG, Config)
    printed = printed_of(config.method, result.test_set, ccd=config.pretrain is Pretrain.CCD)
    add_results(artefact, [result.model_copy(update={"printed": printed})])
    terminal.say(f"{artefact} and its card hold the result; upd-zoo publish {artefact} --hub HUB takes them to a hub")


def _evaluated(
    origin: ChosenOrigin,
    chosen: "TestSet",
    folders: tuple[Path | None, Path],
    how: tuple[Running, Where, int | None],
    terminal: Terminal,
) -> "Evaluation":
    """Return what a model scores on a test set, from the folder of stores and into that of the output."""
    from upd_harness.evaluation.run import evaluate as run_evaluation
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store

    (data, output), (running, where, shards) = folders, how
    loaded, folder = located(origin, running, terminal)
    store = Store(store_path(data_folder(data), chosen.id, "test", loaded.config.protocol, loaded.config.input.side))
    announce(loaded, terminal)
    told: dict[str, Any] = {"model": as_argument(origin.model), "test_set": chosen.id, "output": output}
    told |= {"batch_size": running.batch_size}
    with (
        when_interrupted(_KEPT),
        terminal.bar("evaluating") as advance,
        _gathering(where, shards, loaded, folder, running) as gathering,
    ):
        named: dict[str, Any] = {"revision": revision_of(origin.name), "gathering": gathering}
        return run_evaluation(loaded, chosen, store, output, **named, arguments=told, on_progress=advance)


def _measure_maps(
    origin: ChosenOrigin | None,
    folders: tuple[Path | None, Path | None],
    score: str,
    output: Path,
    overwrite: bool,
    terminal: Terminal,
) -> None:
    """Measure maps of any origin against their masks, and say what came of it."""
    from upd_harness.evaluation.maps import MapFolders, evaluate_maps
    from upd_harness.evaluation.run import check_room
    from upd_zoo.vocabulary import ScoreRule

    maps, masks = folders
    if origin is not None or maps is None or masks is None:
        raise UsageError("maps are measured against masks, without a model", "--maps DIR --masks DIR, and no -m")
    if score not in {*ScoreRule}:
        raise UsageError(f"no score is called '{score}'", ", ".join(ScoreRule), "leave --score out")
    check_room(output, overwrite=overwrite)
    with when_interrupted(_KEPT), terminal.bar("evaluating") as advance:
        result = evaluate_maps(MapFolders(maps, masks, ScoreRule(score)), output, advance)
    terminal.data(result.model_dump(mode="json", by_alias=True), figures_of(result, result.test_set, terminal.width))


def _test_set_of(model: str, named: str | None) -> "TestSet":
    """Return the test set that is named, or else that of a model's name."""
    from upd_zoo.names import ModelId
    from upd_zoo.vocabulary import get_test_set

    if named is None and is_folder(model):
        raise UsageError(f"the folder {model} names no test set", "--test-set NAME", "add --test-set phantom-t2")
    return get_test_set(named or ModelId.parse(model).target)


def _tell(evaluation: "Evaluation", title: str, terminal: Terminal) -> None:
    """Say what was measured on a test set of this title."""
    from upd_harness.report.html import not_clearly_better, why_undefined

    document = evaluation.result.model_dump(mode="json", by_alias=True)
    for reason in why_undefined(document):
        terminal.say(reason)
    terminal.data(document, as_text(evaluation, title, not_clearly_better(document), terminal.width))


@contextmanager
def _gathering(
    where: Where, shards: int | None, model: "Model", folder: Path, running: Running
) -> "Iterator[Gathering]":
    """Give what scores the images of a test set: here, or in shards where an engine or a number of them is named."""
    from upd_harness.evaluation.contenders import gather
    from upd_harness.evaluation.sharding import Loading, Sharded

    if shards is None and where.is_usual:
        where.check()
        yield partial(gather, batch_size=running.batch_size)
        return
    loading = Loading(folder, model.backend, model.device, where.threads(running.threads), model.precision)
    with where.opened() as engine:
        yield Sharded(loading, engine, shards or where.jobs or 1, running.batch_size)


_KEPT: Final = "nothing was written; an earlier evaluation stands as it was"


def as_text(evaluation: "Evaluation", title: str, poor: Sequence[str], width: int | None) -> str:
    """Return for people what was measured on a test set of this title, and in which figures the model is poor."""
    text = figures_of(evaluation.result, title, width)
    if poor:
        text += "\n\n" + prose(f"Not clearly better than a baseline: {', '.join(poor)}", width)
    return f"{text}\n\n{evaluation.report}"


def figures_of(result: "Result", title: str, width: int | None) -> str:
    """Return the figures of a result on a test set of this title, as a table."""
    metrics = shown([result.metrics])
    rows = [
        (name, *(figure(getattr(found, metric.id)) for metric in metrics))
        for name, found in ({"model": result.metrics} | result.baselines).items()
    ]
    bounds = [result.intervals.get(metric.id) for metric in metrics]
    rows.insert(1, ("95 % interval", *("" if each is None else f"{each[0]:.3f}-{each[1]:.3f}" for each in bounds)))
    head = f"{result.model} on {title}: {result.images} images, {result.anomalous} anomalous"
    head += f"  [{', '.join(result.labels)}]" if result.labels else ""
    return f"{prose(head, width)}\n\n" + table(("", *(metric.title for metric in metrics)), rows, width)
