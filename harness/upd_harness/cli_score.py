"""The command `upd-zoo score`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.models import announce, load, named, revision_of
from upd_harness.options import (
    Backend,
    BatchSize,
    CacheDir,
    Device,
    HubOption,
    Json,
    ModelOption,
    NoProgress,
    Offline,
    Precision,
    Quiet,
    Revision,
    Threads,
    Token,
)
from upd_harness.terminal import Terminal, reports_errors, when_interrupted
from upd_zoo.errors import InputError, NotFoundError, UsageError


@reports_errors
def score(
    inputs: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images, searched recursively; or one image.")],
    model: ModelOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    revision: Revision = None,
    hub: HubOption = None,
    device: Device = "auto",
    backend: Backend = "onnx",
    precision: Precision = "float32",
    batch_size: BatchSize = 16,
    threads: Threads = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads that read and write files.")] = 2,
    prepare: Annotated[bool, typer.Option("--prepare", help="Find the brain in whole heads first.")] = False,
    template: Annotated[Path | None, typer.Option("--template", help="Its space, if not MNI152.")] = None,
    extractor: Annotated[str, typer.Option("--extractor", help="hd-bet, or a command, to find brains.")] = "",
    resume: Annotated[bool, typer.Option("--continue", help="Finish the run in the output folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again in the output folder.")] = False,
    num_parts: Annotated[int, typer.Option("--num-parts", min=1, help="Split the inputs over so many runs.")] = 1,
    part_id: Annotated[int, typer.Option("--part-id", min=0, help="Which of them this is, from 0.")] = 0,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> int:
    """Score a folder of images: maps in each image's own space, a table and a report."""
    arguments = {"inputs": inputs, "model": model, "output": output, "batch_size": batch_size, "workers": workers}
    arguments |= {"threads": threads, "continue": resume, "overwrite": overwrite, "prepare": prepare}
    arguments |= {"template": template, "extractor": extractor}
    from dataclasses import asdict

    from upd_harness.heads import Heads
    from upd_harness.scoring import Settings, Shard, score_folder

    if resume and overwrite:
        raise UsageError("--continue and --overwrite exclude each other", "one of the two")
    if not prepare and (template or extractor):
        raise UsageError("nothing is prepared with --template or --extractor alone", "both with --prepare")
    mode: Final = "continue" if resume else "overwrite" if overwrite else "new"
    terminal = Terminal(as_json, quiet, not no_progress)
    name = named(model, revision)
    if not inputs.exists():
        raise NotFoundError(f"the input {inputs} does not exist", "a folder of images, or one image")
    loaded = load(name, hub, backend, device, threads, precision, offline, token, cache_dir, terminal)
    announce(loaded, terminal)
    heads = Heads.known_to(loaded.config, template, extractor) if prepare else None
    settings = Settings(batch_size, workers, mode, Shard(part_id, num_parts), heads)
    with when_interrupted("what is finished is kept; --continue goes on with it"), terminal.bar("scoring") as advance:
        summary = score_folder(
            loaded,
            inputs,
            output,
            settings,
            revision=revision_of(name),
            arguments=arguments,
            on_progress=lambda done, total, _name: advance(done, total),
        )
    text = f"{summary.ok} scored ({summary.anomalous} above the threshold), {summary.failed} failed\n{summary.report}"
    terminal.data(asdict(summary) | {"report": str(summary.report)}, text)
    return InputError.exit_code if summary.failed else 0
