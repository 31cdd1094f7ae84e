"""The program `upd-zoo`: thin calls of the library.

Nothing heavy is imported before a command needs it, so that `--help` and `list` answer at once.
"""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.fetching import announce, as_argument, fetch, is_folder, load, named, revision_of
from upd_harness.cli.options import (
    Backend,
    BatchSize,
    CacheDir,
    Device,
    HubOption,
    Json,
    ModelArgument,
    ModelOption,
    NoProgress,
    Offline,
    Precision,
    Quiet,
    Revision,
    Threads,
    Token,
)
from upd_harness.cli.score import score
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_harness.report.text import legible, table
from upd_zoo.errors import ToleranceError, UsageError
from upd_zoo.vocabulary import Protocol

app = typer.Typer(
    name="upd-zoo",
    help="Models for unsupervised pathology detection: find, pull, score, evaluate. Research only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # halves the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 error, 2 usage, 3 some inputs failed, 4 not found, 5 integrity, 6 offline, "
        "7 optional dependency missing, 8 outside tolerance, 130 interrupted."
    ),
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    # The Hub's library reads its variables when it is imported. It tells of every new try by a warning; what comes of
    # them is told here, in one line.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if version:
        from upd_zoo import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command("list")
@reports_errors
def list_models(
    method: Annotated[str | None, typer.Option(help="Only this method, by its title or its name.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain, or the domain of this test set.")] = None,
    hub: HubOption = None,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """List the models of a hub."""
    from dataclasses import asdict

    from upd_zoo.hub import open_hub

    opened = open_hub(hub, cache_dir, offline, token)
    rows = list(opened.catalogue().filter(method, domain))
    terminal = Terminal(as_json)
    if not rows:
        terminal.say(f"{opened.location} holds {'no such model.' if method or domain else _NO_MODEL}")
    listed = [
        tuple(map(legible, (row.id, row.revision, row.title, row.domain, row.pretrain or "", ", ".join(row.labels))))
        for row in rows
    ]
    header = ("model", "revision", "method", "domain", "pre-training", "labels")
    terminal.data([asdict(row) for row in rows], table(header, listed) if rows else "")


_NO_MODEL = (
    "no model yet. make demo trains, publishes and scores some from scratch; they are listed with --hub out/demo/hub."
)


@app.command()
@reports_errors
def info(
    model: ModelArgument,
    revision: Revision = None,
    hub: HubOption = None,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Show what a model is, how it was made and what healthy images score."""
    from upd_zoo.artefact.calibration import Calibration
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config
    from upd_zoo.runtime.folder import RECORDS

    pulled = fetch(named(model, revision), RECORDS, hub, offline, token, cache_dir, Terminal(as_json))
    config = read_record(pulled.folder / CONFIG, Config)
    calibration = read_record(pulled.folder / CALIBRATION, Calibration)
    manifest = pulled.manifest
    facts = {
        "model": config.id,
        "revision": pulled.revision,
        "labels": ", ".join(config.labels) or "none",
        "method": f"{config.title}, protocol {config.protocol}",
        "domain": config.domain,
        "input": f"{config.input.channels} x {config.input.height} x {config.input.width}, [0, 1], {config.framing}",
        "training": f"{config.training.steps} steps of {config.training.batch_size}, seed {config.training.seed}",
        "trained on": f"{config.training.images} images of {config.training.subjects} subjects",
        "calibrated on": f"{calibration.image_scores.count} images of {calibration.subject_scores.count} subjects",
        "image threshold": f"{calibration.image_threshold:.6g}",
        "subject threshold": f"{calibration.subject_threshold:.6g}",
        "made": f"{manifest.created}, commit {manifest.source_commit or 'unknown'}",
        "files": ", ".join(f"{name} ({_size(record.bytes)})" for name, record in manifest.files.items()),
    }
    records = {"config": config, "calibration": calibration, "manifest": manifest}
    documents = {name: record.model_dump(mode="json", by_alias=True) for name, record in records.items()}
    Terminal(as_json).data(documents, "\n".join(f"{name:18}{value}" for name, value in facts.items()))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


@app.command()
@reports_errors
def pull(
    model: ModelArgument,
    formats: Annotated[str, typer.Option("--format", help="onnx, torchscript, torch or all.")] = "onnx",
    revision: Revision = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again what is already here.")] = False,
    hub: HubOption = None,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Fetch a model, check the SHA-256 of every file, and print the folder it lies in."""
    from upd_zoo.artefact.records import CARD
    from upd_zoo.runtime.folder import FILES, RECORDS

    if formats != "all" and formats not in FILES:
        raise UsageError(f"no format is called '{formats}'", ", ".join((*FILES, "all")))
    names = None if formats == "all" else (*RECORDS, CARD, *FILES[formats])
    terminal = Terminal(as_json, quiet, not no_progress)
    pulled = fetch(named(model, revision), names, hub, offline, token, cache_dir, terminal, force)
    terminal.data({"folder": str(pulled.folder), "revision": pulled.revision}, str(pulled.folder))


@app.command()
@reports_errors
def verify(
    model: ModelArgument,
    revision: Revision = None,
    hub: HubOption = None,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
) -> None:
    """Check every file of a model against its manifest, and each format's recorded parity.

    Of a folder that pull printed, what was asked for is checked.
    """
    from upd_zoo.artefact.folder import expected

    pulled = fetch(named(model, revision), None, hub, offline, token, cache_dir, Terminal(as_json))
    manifest = pulled.manifest
    rows = [
        (row.format, str(row.batch), f"{row.map_difference:.1e}", f"{row.score_difference:.1e}", f"{row.tolerance:.0e}")
        for row in manifest.parity
    ]
    checked = expected(pulled.folder, manifest)
    left_out = [name for name in manifest.files if name not in checked]
    text = f"{len(checked)} files of {manifest.id} have the SHA-256 of their manifest\n"
    text += f"not asked for, and so not here: {', '.join(left_out)}\n" if left_out else ""
    text += "\n" + table(("format", "batch", "map", "score", "tolerance"), rows)
    parity = [row.model_dump() for row in manifest.parity]
    answer = {"files": len(checked), "not_asked_for": left_out, "parity": parity}
    Terminal(as_json).data(answer, text)
    failed = sorted({row.format for row in manifest.parity if not row.passed})
    if failed:
        raise ToleranceError(
            f"{manifest.id} was published with {', '.join(failed)} outside its tolerance",
            "every format within the tolerance of its manifest",
            "upd-zoo pull --force, or tell who published it",
        )


app.command()(score)


@app.command()
@reports_errors
def evaluate(
    model: ModelOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    test_set: Annotated[str | None, typer.Option("--test-set", help="Which; else the one that MODEL names.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    revision: Revision = None,
    hub: HubOption = None,
    device: Device = "auto",
    backend: Backend = "onnx",
    precision: Precision = "float32",
    batch_size: BatchSize = 16,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier evaluation.")] = False,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Measure a model on a prepared test set, beside trivial baselines."""
    from upd_harness.evaluation.run import check_room
    from upd_harness.evaluation.run import evaluate as run_evaluation
    from upd_harness.report.html import not_clearly_better, why_undefined
    from upd_zoo.sources.preparation import data_folder, store_path
    from upd_zoo.stores.store import Store
    from upd_zoo.vocabulary import ModelId, get_test_set

    name = named(model, revision)
    if test_set is None and is_folder(name):
        raise UsageError(f"the folder {name} names no test set", "--test-set NAME", "add --test-set phantom-t2")
    chosen = get_test_set(test_set or ModelId.parse(name).target)
    check_room(output, overwrite=overwrite)
    terminal = Terminal(as_json, quiet, not no_progress)
    loaded = load(name, hub, backend, device, threads, precision, offline, token, cache_dir, terminal)
    store = Store(store_path(data_folder(data), chosen.id, "test", loaded.config.protocol))
    announce(loaded, terminal)
    with (
        when_interrupted("nothing was written; an earlier evaluation stands as it was"),
        terminal.bar("evaluating") as advance,
    ):
        evaluation = run_evaluation(
            loaded,
            chosen,
            store,
            output,
            revision=revision_of(name),
            batch_size=batch_size,
            arguments={"model": as_argument(model), "test_set": chosen.id, "output": output, "batch_size": batch_size},
            on_progress=advance,
        )
    result = evaluation.result
    document = result.model_dump(mode="json", by_alias=True)
    for reason in why_undefined(document):
        terminal.say(reason)
    contenders = {"model": result.metrics} | result.baselines
    rows = [
        (name, *(_figure(value) for value in (found.ap_image, found.auroc, found.ap_pixel, found.dice)))
        for name, found in contenders.items()
    ]
    head = f"{result.model} on {chosen.title}: {result.images} images, {result.anomalous} anomalous"
    head += f"  [{', '.join(result.labels)}]\n\n" if result.labels else "\n\n"
    text = head + table(("", "AP_i", "AUROC", "AP_p", "best Dice"), rows)
    if poor := not_clearly_better(document):
        text += f"\n\nNot clearly better than a baseline: {', '.join(poor)}"
    terminal.data(document, f"{text}\n\n{evaluation.report}")


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


@app.command("reproduce")
@reports_errors
def reproduce_item(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="table-i or fig-1.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write it to as files.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> None:
    """Make a table or figure of the study again, ours beside what it printed."""
    from upd_harness.reproduce import reproduce, write_reproduction
    from upd_zoo.sources.preparation import data_folder

    terminal = Terminal(as_json, quiet, not no_progress)
    with terminal.bar(f"reproducing {item}") as advance:
        result = reproduce(item, data_folder(data), advance)
    paths = write_reproduction(result, output) if output is not None else []
    terminal.data(result.document, "\n".join((result.text, *(["", *map(str, paths)] if paths else []))))


doctor = typer.Typer(rich_markup_mode=None, help="Show what this machine has, or what is wrong with prepared stores.")
app.add_typer(doctor, name="doctor")


@doctor.callback(invoke_without_command=True)
def examine_all(
    context: typer.Context, hub: HubOption = None, cache_dir: CacheDir = None, as_json: Json = False
) -> None:
    """Show what this machine has: versions, devices, hub, cache and data folders."""
    if context.invoked_subcommand is None:
        _examine_machine(hub, cache_dir, as_json)


@reports_errors
def _examine_machine(hub: str | None, cache_dir: Path | None, as_json: bool) -> None:
    from upd_harness.checks.machine import examine

    facts = examine(hub, cache_dir)
    Terminal(as_json).data(facts, "\n".join(f"{name:24}{value}" for name, value in facts.items()))


@doctor.command("data")
@reports_errors
def examine_data(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as idrid; its test sets are looked at too.")],
    data: Annotated[Path | None, typer.Option("--data", help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    protocol: Annotated[Protocol, typer.Option("--protocol", help="study or sound.")] = Protocol.SOUND,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> int:
    """Look for shared subjects, repeated, empty, bright or turned images and confounded tests; exit code 8 if any."""
    from upd_harness.checks.stores import as_document, as_text, check, stores_to_check
    from upd_zoo.sources.preparation import data_folder
    from upd_zoo.vocabulary import get_domain

    terminal = Terminal(as_json, quiet, not no_progress)
    stores = stores_to_check(data_folder(data), get_domain(domain), protocol)
    with terminal.bar("checking") as advance:
        findings = check(stores, advance)
    terminal.data(as_document(stores, findings), as_text(stores, findings))
    return ToleranceError.exit_code if findings else 0


def main() -> None:
    """Run the program."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what no encoding has
    app()
