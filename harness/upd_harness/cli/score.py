"""The command `upd-zoo score`."""

import functools
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.fetching import announce, as_argument, load, named, revision_of
from upd_harness.cli.options import (
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
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_harness.report.text import legible
from upd_zoo.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:  # importing what scores takes longer than --help may
    from upd_harness.scoring.folder import Summary
    from upd_harness.scoring.parts import Shard


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
    part_id: Annotated[
        str, typer.Option("--part-id", help="Which of them this is, from 0; all puts them together.")
    ] = "0",
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Only inputs that match; may be given again.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="No inputs that match; may be given again.")
    ] = None,
    keep_paths: Annotated[bool, typer.Option("--keep-paths", help="Write whole paths into the results.")] = False,
    offline: Offline = False,
    token: Token = None,
    cache_dir: CacheDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
    no_progress: NoProgress = False,
) -> int:
    """Score a folder of images: maps in each image's own space, a table and a report."""
    from dataclasses import asdict

    from upd_harness.scoring.folder import Settings, merge_parts, score_folder
    from upd_harness.scoring.heads import Heads
    from upd_harness.scoring.parts import Shard

    if resume and overwrite:
        raise UsageError("--continue and --overwrite exclude each other", "one of the two")
    if not prepare and (template or extractor):
        raise UsageError("nothing is prepared with --template or --extractor alone", "both with --prepare")
    shard = _shard(part_id, num_parts, again=resume or overwrite)
    mode: Final = "continue" if resume else "overwrite" if overwrite else "new"
    terminal = Terminal(as_json, quiet, not no_progress)
    name = named(model, revision)
    if not inputs.exists():
        raise NotFoundError(f"the input {inputs} does not exist", "a folder of images, or one image")
    loaded = load(name, hub, backend, device, threads, precision, offline, token, cache_dir, terminal)
    announce(loaded, terminal)
    heads = Heads.known_to(loaded.config, template, extractor) if prepare else None
    settings = Settings(batch_size, workers, mode, shard or Shard(), heads, tuple(include or ()), tuple(exclude or ()))
    arguments: dict[str, Any] = {
        "inputs": inputs,
        "model": as_argument(model),
        "output": output,
        "batch_size": batch_size,
    }
    arguments |= {"workers": workers, "threads": threads, "continue": resume, "overwrite": overwrite}
    arguments |= {"prepare": prepare, "template": template, "include": include, "exclude": exclude}
    told: dict[str, Any] = {"revision": revision_of(name), "arguments": _whole(arguments) if keep_paths else arguments}
    if shard is None:
        summary = merge_parts(loaded, inputs, output, num_parts, settings, **told)
    else:
        kept = "what is finished is kept; --continue goes on with it"
        with when_interrupted(kept), terminal.bar("scoring") as advance:
            summary = score_folder(loaded, inputs, output, settings, on_progress=advance, **told)
    terminal.data(asdict(summary) | {"report": str(summary.report)}, as_text(summary))
    return InputError.exit_code if summary.failed else 0


def _shard(part: str, parts: int, *, again: bool) -> "Shard | None":
    """Return which part of a run is meant; None where all are to be put together."""
    from upd_harness.scoring.parts import Shard

    if part == _ALL and again:
        raise UsageError("--part-id all scores nothing", "neither --continue nor --overwrite with it")
    if part != _ALL and not (part.isascii() and part.isdigit()):
        raise UsageError(f"no part is called '{part}'", f"a number from 0, or {_ALL}")
    return None if part == _ALL else Shard(int(part), parts)


_ALL: Final = "all"


def _whole(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with their paths as text, whole."""
    return {
        name: legible(str(value.absolute())) if isinstance(value, Path) else value for name, value in arguments.items()
    }


def as_text(summary: "Summary") -> str:
    """Return what a run did for people: counts, the first failures with their reasons, and what was not scored."""
    lines = [f"{summary.ok} scored ({summary.anomalous} above the threshold), {summary.failed} failed"]
    for failure in summary.first_failures:
        named = (f"{failure.input}: ", f"{PurePosixPath(failure.input).name}: ")
        reason = functools.reduce(str.removeprefix, named, failure.message)
        lines.append(f"  {failure.input} ({failure.code}): {reason}")
    if summary.failed > len(summary.first_failures):
        lines.append(f"  and {summary.failed - len(summary.first_failures)} more: {_counted(summary.failures)} in all")
    if summary.warnings:
        lines.append(f"warnings: {_counted(summary.warnings)}")
    if summary.left_out:
        lines.append(f"not taken for inputs: {_counted(summary.left_out)}")
    if summary.earlier_results:
        lines.append(f"results of an earlier run, left out: {', '.join(summary.earlier_results)}")
    return "\n".join((*lines, str(summary.report)))


def _counted(counts: dict[str, int]) -> str:
    """Return counts by kind as a phrase, the largest first."""
    largest_first = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{number} {kind}" for kind, number in largest_first)
