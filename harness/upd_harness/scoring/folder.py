"""A folder in, results out: maps, scores and a report; one bad file never stops the rest.

    identity.json   what the run is, written where it begins; whoever goes on with it must be the same
    results.jsonl   one line per input, appended as it is finished; what a later run goes on from
    results.csv     the same for spreadsheets
    run.json        arguments, versions, device, counts, SHA-256 of results.jsonl
    report.html     for people
    maps/ overlays/ thumbnails/

Which files share a batch depends on the list of inputs, the batch size and the number of parts alone: a run that was
killed and continued gives the same numbers as one that was not. Parts make other batches than one run does, and a
network rounds differently in batches of another size: their scores agree to float32 rounding, which a test holds to
1e-6 of the map's range.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from upd_harness.report.html import write_score_report
from upd_harness.report.overlay import colour_range
from upd_harness.report.ranking import Unscored, survey
from upd_harness.report.run_record import describe_model, describe_run, how_it_ran, utc_now
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import (
    Row,
    in_order,
    is_of,
    open_journal,
    read_rows,
    write_csv,
    write_row,
    write_rows,
)
from upd_harness.scoring.output import RESULTS, RUN, held_whole, opened, writing_to
from upd_harness.scoring.panel import Panel, Scorer
from upd_harness.scoring.parts import Shard, batches
from upd_harness.scoring.pipeline import Pipeline
from upd_harness.scoring.reading import Reader
from upd_harness.scoring.search import Listing
from upd_harness.scoring.settings import Settings
from upd_harness.scoring.writing import Writer
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.files import sha256_of, write_json
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.model import Model

FIRST: Final = 5
"""Failures that a summary names."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Attributes:
        inputs: Inputs in all.
        ok: How many were scored.
        failed: How many could not be.
        reused: How many were taken from an earlier run.
        anomalous: How many are above the threshold.
        report: The report.
        first_failures: The first that failed, and why.
        failures: How many failed, by code.
        warnings: How many inputs have a warning, by code.
        left_out: How many files and folders were no inputs, by kind.
        earlier_results: Folders among the inputs that hold results of another run, and were left out.
        scored_by: How many were scored by each model, where each input found its own.
    """

    inputs: int
    ok: int
    failed: int
    reused: int
    anomalous: int
    report: Path
    first_failures: tuple[Unscored, ...] = ()
    failures: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    earlier_results: tuple[str, ...] = ()
    scored_by: dict[str, int] = field(default_factory=dict)


def score_folder(
    model: Model | Panel,
    inputs: Path,
    output: Path,
    settings: Settings | None = None,
    *,
    revision: str = "main",
    arguments: dict[str, Any] | None = None,
    on_progress: Report = silent,
) -> Summary:
    """Score every image below a folder.

    Args:
        model: What scores; a panel of models, of which each input finds its own, brings its own preparation.
        inputs: A folder, searched recursively, or one file.
        output: Where results go.
        settings: How.
        revision: Which revision of the model, as the user named it.
        arguments: What the user asked for, kept in `run.json`.
        on_progress: Told after every input.

    Raises:
        NotFoundError: There is no image.
        UsageError: `output` is not empty and the mode is `new`, belongs to another run, is being written, or holds the
            inputs.
        UpdZooError: The results cannot be written, or the model does not run; what was written stays valid.
    """
    settings = settings or Settings()
    began, started = time.monotonic(), utc_now()
    _check_outside(inputs, output)
    panel = _panel(model, revision, settings)
    listing, identity = settings.listing(inputs, output, panel), settings.identity(panel)
    mine = settings.shard.share(listing.inputs)
    by_name = {each.name: each for each in listing.inputs}
    with opened(output, by_name, identity, settings.mode, settings.shard) as good:
        finished = {each.name for each in mine if each.name in good}
        pipeline = Pipeline(
            Reader(panel), Writer(panel, output), batch_size=settings.batch_size, workers=settings.workers
        )
        journal = output / settings.shard.named(RESULTS)
        _score(pipeline, journal, batches(mine, settings.batch_size), finished, on_progress)
        run = _described(panel, arguments, started, time.monotonic() - began) | _left_out(listing)
        return _conclude(output, settings.shard, run, mine, len(finished))


def merge_parts(
    model: Model | Panel,
    inputs: Path,
    output: Path,
    parts: int,
    settings: Settings | None = None,
    *,
    revision: str = "main",
    arguments: dict[str, Any] | None = None,
) -> Summary:
    """Put the results of all parts of a run together, as if one process had made them; nothing is scored.

    Args:
        model: What scored.
        inputs: What was scored.
        output: Where the parts' results are.
        parts: How many there are.
        settings: How they were scored.
        revision: Which revision of the model, as the user named it.
        arguments: What the user asked for, kept in `run.json`.

    Raises:
        UsageError: A part has not ended or is of another run, or an input is in none of them.
        UpdZooError: The results cannot be written.
    """
    settings = settings or Settings()
    began, started = time.monotonic(), utc_now()
    shards = [Shard(part, parts) for part in range(parts)]
    open_parts = [str(shard.part) for shard in shards if not (output / shard.named(RUN)).is_file()]
    if open_parts:
        raise UsageError(
            f"of the {parts} parts of the run in {output}, {', '.join(open_parts)} have not ended",
            "parts that have all ended",
            f"run --part-id {open_parts[0]}, with --continue where it has begun",
        )
    panel = _panel(model, revision, settings)
    listing, identity = settings.listing(inputs, output, panel), settings.identity(panel)
    with writing_to(output), held_whole(output, identity):
        rows = [output / shard.named(RESULTS) for shard in shards]
        write_rows(output / RESULTS, (row for path in rows for row in read_rows(path) if is_of(row, identity)))
        run = _described(panel, arguments, started, time.monotonic() - began) | _left_out(listing)
        run["parts"] = [_part(json.loads((output / shard.named(RUN)).read_bytes())) for shard in shards]
        return _conclude(output, Shard(), run, listing.inputs, len(listing.inputs))


def _check_outside(inputs: Path, output: Path) -> None:
    if inputs.resolve().is_relative_to(output.resolve()):
        raise UsageError(f"the inputs lie in the output folder {output}", "an output folder of its own")


def _panel(model: Model | Panel, revision: str, settings: Settings) -> Panel:
    return model if isinstance(model, Panel) else Panel((Scorer(model, revision, settings.heads),))


def _described(panel: Panel, arguments: dict[str, Any] | None, started: str, seconds: float) -> dict[str, Any]:
    """Return what `run.json` says of how a run was made: of its model, or of each that it could choose."""
    first = panel.scorers[0]
    run = describe_run(
        "score", describe_model(first.model, first.revision), how_it_ran(first.model), arguments or {}, started, seconds
    )
    if panel.named:
        return run | {"colours": _colours(first.model)}
    del run["model"]
    models = [
        {**describe_model(each.model, each.revision), "colours": _colours(each.model), "modality": each.modality.title}
        for each in panel.scorers
    ]
    return run | {"models": models}


def _colours(model: Model) -> dict[str, float]:
    low, high = colour_range(model.calibration)
    return {"low": low, "high": high}


def _left_out(listing: Listing) -> dict[str, Any]:
    """Return what `run.json` says of what was not scored."""
    return {"left_out": listing.left_out, "earlier_results": [*listing.results]}


def _part(run: dict[str, Any]) -> dict[str, Any]:
    """Return what a run says of one of the parts that it was made of."""
    return {name: run[name] for name in ("shard", "device", "started", "seconds", "counts")}


def _score(
    pipeline: Pipeline, journal: Path, groups: list[list[Input]], finished: set[str], on_progress: Report
) -> None:
    """Score what is not finished, appending each row to the journal as it is done."""
    waiting = [group for group in groups if not finished.issuperset(each.name for each in group)]
    total = sum(map(len, groups))
    done = total - sum(map(len, waiting))
    with writing_to(journal.parent):
        stream = open_journal(journal, "a")
    with stream:
        for row in pipeline.rows(waiting):
            if row["input"] not in finished:
                with writing_to(journal.parent):
                    write_row(stream, row)
            done += 1
            on_progress(Progress("", done, total, row["input"]))


def _conclude(output: Path, shard: Shard, run: dict[str, Any], inputs: Iterable[Input], reused: int) -> Summary:
    """Put the journal in order and write the table, the run and the report.

    Raises:
        UpdZooError: An input has no row, or the place takes no more files.
    """
    journal, names = output / shard.named(RESULTS), [each.name for each in inputs]
    with writing_to(output):
        write_rows(journal, in_order(journal, names))
        found = survey(read_rows(journal))
        by_model = {each["id"]: survey(_rows_of(each["id"], journal)) for each in run.get("models", ())}
        scored_by = {name: each.counts["ok"] for name, each in by_model.items() if each.counts["ok"]}
        if found.inputs != len(names):
            raise UpdZooError(
                f"{len(names) - found.inputs} of {len(names)} inputs have no result in {journal.name}",
                "one for every input",
                f"run the same command with --continue{' and without parts' * ('parts' in run)}",
            )
        write_csv(output / shard.named("results.csv"), read_rows(journal))
        run |= {"counts": found.counted, "failures": dict(found.failures), "warnings": dict(found.warnings)}
        run |= {"results_sha256": sha256_of(journal), "shard": asdict(shard)}
        write_json(output / shard.named(RUN), run)
        report = write_score_report(output, run, found, by_model, name=shard.named("report.html"))
    return Summary(
        len(names),
        found.counts["ok"],
        found.counts["failed"],
        reused,
        found.counts["anomalous"],
        report,
        tuple(found.failed[:FIRST]),
        run["failures"],
        run["warnings"],
        run["left_out"],
        tuple(run["earlier_results"]),
        scored_by,
    )


def _rows_of(model: str, journal: Path) -> Iterator[Row]:
    return (row for row in read_rows(journal) if row["model"] and row["model"]["id"] == model)
