"""The command `upd-zoo evaluate`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.engines import Where
from upd_harness.cli.fetching import (
    announce,
    announce_graph,
    as_argument,
    folder_of,
    is_folder,
    is_graph,
    located,
    revision_of,
)
from upd_harness.cli.options import ChosenOrigin, Data, Output, Running, TestedOrigin, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import counted, prose, table
from upd_zoo.artefact.metrics import figure, shown
from upd_zoo.errors import UsageError

if TYPE_CHECKING:  # importing what evaluates takes longer than --help may
    from upd_harness.evaluation.run import Evaluation, Gathering
    from upd_harness.evaluation.sharding import Loads
    from upd_zoo.artefact.records import Result
    from upd_zoo.vocabulary import ScoreRule, TestSet


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What a user brings instead of a model of the zoo.

    Attributes:
        maps: Folder of maps of any origin.
        masks: Folder of their masks.
        score: How a map becomes the score of its image, where nothing else scores it.
        side: Height and width, in pixels, of the images for a graph that takes any.
    """

    maps: Annotated[Path | None, typer.Option("--maps", help="Maps of any origin, instead of a model.")] = None
    masks: Annotated[Path | None, typer.Option("--masks", help="With --maps: their masks, named alike.")] = None
    score: Annotated[
        str | None, typer.Option("--score", help="With --maps, or a graph without a score: maximum or mean of a map.")
    ] = None
    side: Annotated[
        int | None, typer.Option("--side", help="With a graph that takes any size: pixels of the images.")
    ] = None

    @property
    def rule(self) -> "ScoreRule | None":
        """How a map is asked to be scored.

        Raises:
            UsageError: No rule is called so.
        """
        from upd_zoo.vocabulary import ScoreRule

        if self.score is not None and self.score not in {*ScoreRule}:
            raise UsageError(f"no score is called '{self.score}'", ", ".join(ScoreRule), "leave --score out")
        return None if self.score is None else ScoreRule(self.score)


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
    *,
    brought: Brought,
    running: Running,
    where: Where,
    terminal: Terminal,
) -> None:
    """Measure a model, a graph or maps beside trivial baselines."""
    from upd_harness.evaluation.run import room

    origin, rule = tested.chosen, brought.rule
    if brought.maps is not None or brought.masks is not None:
        _refuse("maps", {"--side": brought.side})
        _measure_maps(origin, (brought.maps, brought.masks), rule, output, overwrite, terminal)
        return
    if origin is None:
        raise UsageError("nothing to measure is named", "-m MODEL, or --maps DIR --masks DIR", "add -m MODEL")
    _check_asked(origin, brought, running, into=into)
    chosen, artefact = _test_set_of(origin.name, test_set), _artefact(origin.name) if into else None
    folders, how = (data, output), (running, where, shards)
    with room(output, overwrite=overwrite):
        if is_graph(origin.model):
            evaluation = _graph_evaluated(Path(origin.model), chosen, folders, how, (brought.side, rule), terminal)
        else:
            evaluation = _evaluated(origin, chosen, folders, how, terminal)
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
    """Put a result into an artefact, and onto its card."""
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import MANIFEST, Manifest
    from upd_zoo.card.results import add_results

    signed_by = read_record(artefact / MANIFEST, Manifest).signed_by
    add_results(artefact, [result])
    if signed_by is not None:
        terminal.say(
            f"the signature by the key {signed_by} was one of the artefact without this result, and is gone; "
            f"upd-zoo publish {artefact} --sign KEY --hub HUB signs anew"
        )
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
    from upd_harness.evaluation.sharding import Loading
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store

    (data, output), (running, where, shards) = folders, how
    loaded, folder = located(origin, running, terminal)
    store = Store(store_path(data_folder(data), chosen.id, "test", loaded.config.protocol, loaded.config.input.side))
    announce(loaded, origin.name, terminal)
    loading = Loading(folder, loaded.backend, loaded.device, where.threads(running.threads), loaded.precision)
    told = _asked(as_argument(origin.model), chosen, output, running)
    with (
        when_interrupted(_KEPT),
        terminal.bar("evaluating") as advance,
        _gathering(where, shards, loading, running) as gathering,
    ):
        named: dict[str, Any] = {"revision": revision_of(origin.name), "gathering": gathering}
        return run_evaluation(loaded, chosen, store, output, **named, arguments=told, on_progress=advance)


def _graph_evaluated(
    file: Path,
    chosen: "TestSet",
    folders: tuple[Path | None, Path],
    how: tuple[Running, Where, int | None],
    asked: tuple[int | None, "ScoreRule | None"],
    terminal: Terminal,
) -> "Evaluation":
    """Return what a graph of a file scores on a test set, with images of the side and a score as they are asked for."""
    from upd_harness.evaluation.run import measure
    from upd_harness.evaluation.sharding import GraphLoading
    from upd_harness.evaluation.tested import Tested, side_for
    from upd_zoo.runtime.graph import open_graph
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store
    from upd_zoo.vocabulary import Protocol, get_domain

    (data, output), (running, where, shards), (side, rule) = folders, how, asked
    threads = where.threads(running.threads)
    graph = open_graph(file, running.device, threads)
    store = Store(store_path(data_folder(data), chosen.id, "test", Protocol.SOUND, side_for(graph, side)))
    modality = get_domain(chosen.id).modality
    tested = Tested.by_graph(graph, store.facts, modality, rule)
    announce_graph(tested, graph.device_note, terminal)
    loading = GraphLoading(file.absolute(), graph.device, threads, store.facts, modality, rule)
    with (
        when_interrupted(_KEPT),
        terminal.bar("evaluating") as advance,
        _gathering(where, shards, loading, running) as gathering,
    ):
        told = _asked(file, chosen, output, running) | {"side": side, "score": rule}
        return measure(tested, chosen, store, output, gathering=gathering, arguments=told, on_progress=advance)


def _measure_maps(
    origin: ChosenOrigin | None,
    folders: tuple[Path | None, Path | None],
    rule: "ScoreRule | None",
    output: Path,
    overwrite: bool,
    terminal: Terminal,
) -> None:
    """Measure maps of any origin against their masks, and say what came of it."""
    from upd_harness.evaluation.map_files import MapFolders
    from upd_harness.evaluation.maps import evaluate_maps
    from upd_harness.evaluation.run import room

    maps, masks = folders
    if origin is not None or maps is None or masks is None:
        raise UsageError("maps are measured against masks, without a model", "--maps DIR --masks DIR, and no -m")
    with room(output, overwrite=overwrite), when_interrupted(_KEPT), terminal.bar("evaluating") as advance:
        result = evaluate_maps(MapFolders(maps, masks, rule), output, advance)
    terminal.data(result.model_dump(mode="json", by_alias=True), figures_of(result, result.test_set, terminal.width))


def _check_asked(origin: ChosenOrigin, brought: Brought, running: Running, *, into: bool) -> None:
    """Refuse what says nothing of a graph, or nothing of a model."""
    if is_graph(origin.model):
        said = (origin.revision is not None, running.backend != "onnx", running.precision != "float32", into)
        foreign = ("--revision", "--backend", "--precision", "--into")
        _refuse("a graph of a file", dict(zip(foreign, said, strict=True)))
    else:
        _refuse("a model, which has its own", {"--side": brought.side, "--score": brought.score})


def _refuse(whom: str, options: Mapping[str, object]) -> None:
    """Refuse options that say nothing where this is measured."""
    for option, value in options.items():
        if value:
            raise UsageError(
                f"{option} says nothing of {whom}", "what upd-zoo evaluate -h says of it", f"leave {option} out"
            )


def _asked(model: str | Path, chosen: "TestSet", output: Path, running: Running) -> dict[str, Any]:
    """Return what was asked for, as the record of a run keeps it."""
    return {"model": model, "test_set": chosen.id, "output": output, "batch_size": running.batch_size}


def _test_set_of(model: str, named: str | None) -> "TestSet":
    """Return the test set that is named, or else that of a model's name."""
    from upd_zoo.names import ModelId
    from upd_zoo.vocabulary import get_test_set

    if named is None and (is_folder(model) or is_graph(model)):
        what = "file" if is_graph(model) else "folder"
        raise UsageError(f"the {what} {model} names no test set", "--test-set NAME", "add --test-set phantom-t2")
    return get_test_set(named or ModelId.parse(model).target)


def _tell(evaluation: "Evaluation", title: str, terminal: Terminal) -> None:
    """Say what was measured on a test set of this title."""
    from upd_harness.report.html import not_clearly_better, why_undefined

    document = evaluation.result.model_dump(mode="json", by_alias=True)
    for reason in why_undefined(document):
        terminal.say(reason)
    terminal.data(document, as_text(evaluation, title, not_clearly_better(document), terminal.width))


@contextmanager
def _gathering(where: Where, shards: int | None, loading: "Loads", running: Running) -> "Iterator[Gathering]":
    """Give what scores the images of a test set: here, or in shards where an engine or a number of them is named."""
    from upd_harness.evaluation.contenders import gather
    from upd_harness.evaluation.sharding import Sharded

    if shards is None and where.is_usual:
        where.check()
        yield partial(gather, batch_size=running.batch_size)
        return
    with where.opened() as engine:
        yield Sharded(loading, engine, shards or where.jobs or 1, running.batch_size)


_KEPT: Final = "nothing was written; an earlier evaluation stands as it was"
_MANY: Final = 10
"""Subjects; of fewer, their number stands beside an interval that is drawn over them."""


def as_text(evaluation: "Evaluation", title: str, poor: Sequence[str], width: int | None) -> str:
    """Return for people what was measured on a test set of this title, and in which figures the model is poor."""
    text = figures_of(evaluation.result, title, width)
    for name, reason in evaluation.result.left_out.items():
        text += "\n\n" + prose(f"The baseline '{name}' is left out: {reason}", width)
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
    whose = "95 % interval" if result.subjects >= _MANY else f"95 %, {counted(result.subjects, 'subject')}"
    rows.insert(1, (whose, *("" if each is None else f"{each[0]:.3f}-{each[1]:.3f}" for each in bounds)))
    head = f"{result.model} on {title}: {result.images} images, {result.anomalous} anomalous"
    head += f"  [{', '.join(result.labels)}]" if result.labels else ""
    return f"{prose(head, width)}\n\n" + table(("", *(metric.title for metric in metrics)), rows, width)
