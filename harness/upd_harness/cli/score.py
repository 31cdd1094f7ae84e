"""The command `upd-zoo score`."""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from upd_harness.cli.fetching import announce, announce_panel, as_argument, load, load_packaged, revision_of
from upd_harness.cli.options import MaybeOrigin, Running, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import legible
from upd_zoo.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:  # importing what scores takes longer than --help may
    from upd_harness.scoring.folder import Summary
    from upd_harness.scoring.heads import Heads
    from upd_harness.scoring.panel import Panel
    from upd_harness.scoring.parts import Shard
    from upd_zoo.artefact.records import Config


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which inputs of a folder a run takes.

    Attributes:
        include: Patterns of which one must match; none for all.
        exclude: Patterns of which none may.
        num_parts: Over how many runs the inputs are split.
        part_id: Which of them this is, from 0; or what puts all together.
    """

    include: Annotated[
        list[str] | None, typer.Option("--include", help="Score only inputs that match; repeatable.")
    ] = None
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Leave out inputs that match; repeatable.")] = (
        None
    )
    num_parts: Annotated[int, typer.Option("--num-parts", min=1, help="Number of parts of the run.")] = 1
    part_id: Annotated[
        str, typer.Option("--part-id", help="Index of this part, from 0; all puts the parts together.")
    ] = "0"


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """How brains are found in whole heads.

    Attributes:
        prepare: Whether they are.
        template: In whose space the model works, if not MNI152's.
        extractor: The program that finds them; empty for what is built in.
    """

    prepare: Annotated[bool, typer.Option("--prepare", help="Find the brain in whole heads first.")] = False
    template: Annotated[
        Path | None, typer.Option("--template", help="T1 brain of the model's space; default: MNI152.")
    ] = None
    extractor: Annotated[str, typer.Option("--extractor", help="Find brains with hd-bet, or a command.")] = ""

    def heads(self, config: "Config") -> "Heads | None":
        """Return what prepares heads for a model, if that was asked for; None for nothing."""
        return self.all_heads(config) if self.prepare else None

    def all_heads(self, config: "Config") -> "Heads":
        """Return what prepares heads for a model."""
        from upd_harness.scoring.heads import Heads

        return Heads.known_to(config, self.template, self.extractor)


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What is written, and what becomes of what is there.

    Attributes:
        output: Folder of the results; None for one beside the inputs.
        resume: Whether the run that is there goes on.
        overwrite: Whether it makes room for another.
        keep_paths: Whether the results tell whole paths.
    """

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the results; default: FOLDER-upd-zoo, beside FOLDER."),
    ] = None
    resume: Annotated[bool, typer.Option("--continue", help="Finish the run in the output folder.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the output folder.")] = False
    keep_paths: Annotated[bool, typer.Option("--keep-paths", help="Write full paths into the results.")] = False

    @property
    def mode(self) -> Literal["new", "continue", "overwrite"]:
        """What becomes of what is there."""
        return "continue" if self.resume else "overwrite" if self.overwrite else "new"

    def folder(self, inputs: Path) -> Path:
        """Return where the results go: never into the inputs, which a later run would find them among.

        Raises:
            UsageError: There is no place beside the inputs.
        """
        if self.output is not None:
            return self.output
        named = inputs if inputs.name not in ("", "..") else inputs.resolve()
        if not named.name:
            raise UsageError(f"nothing lies beside {inputs}", "a folder for the results", "name one with -o")
        return named.with_name(f"{named.name}-upd-zoo")


@command
def score(
    inputs: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of images, searched recursively; or one image.")
    ],
    origin: MaybeOrigin,
    writing: Writing,
    running: Running,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads that read and write files.")] = 2,
    *,
    wanted: Wanted,
    preparing: Preparing,
    terminal: Terminal,
) -> int:
    """Score a folder of images: maps, a table and a report.

    Every image is scored by the packaged model that knows its kind, unless a model is named. Maps lie in the space of
    their image. What cannot be scored is named, with its reason, and stops nothing else.
    """
    from upd_harness.scoring.folder import merge_parts, score_folder
    from upd_harness.scoring.parts import Shard
    from upd_harness.scoring.settings import Settings

    _check(writing, preparing)
    shard = _shard(wanted.part_id, wanted.num_parts, again=writing.mode != "new")
    if not inputs.exists():
        raise NotFoundError(f"the input {inputs} does not exist", "a folder of images, or one image")
    output = writing.folder(inputs)
    panel = _panel(origin, running, preparing, terminal)
    patterns = (tuple(wanted.include or ()), tuple(wanted.exclude or ()))
    settings = Settings(running.batch_size, workers, writing.mode, shard or Shard(), None, *patterns)
    arguments: dict[str, Any] = {"inputs": inputs, "model": origin.model and as_argument(origin.model)}
    arguments |= {"output": output, "batch_size": running.batch_size, "workers": workers, "threads": running.threads}
    arguments |= {"continue": writing.resume, "overwrite": writing.overwrite, "prepare": preparing.prepare}
    arguments |= {"template": preparing.template, "include": wanted.include, "exclude": wanted.exclude}
    arguments = _whole(arguments) if writing.keep_paths else arguments
    if shard is None:
        summary = merge_parts(panel, inputs, output, wanted.num_parts, settings, arguments=arguments)
    else:
        with when_interrupted(_KEPT), terminal.bar("scoring") as advance:
            summary = score_folder(panel, inputs, output, settings, arguments=arguments, on_progress=advance)
    terminal.data(asdict(summary) | {"report": str(summary.report)}, as_text(summary))
    return InputError.exit_code if summary.failed else 0


def _panel(origin: MaybeOrigin, running: Running, preparing: Preparing, terminal: Terminal) -> "Panel":
    """Return the model that was named, or those of the package, and say which."""
    from upd_harness.scoring.panel import Panel, Scorer, packaged_panel
    from upd_zoo.brains.grid import sitk

    chosen = origin.chosen
    if chosen is not None:
        loaded = load(chosen, running, terminal)
        announce(loaded, chosen.name, terminal)
        return Panel((Scorer(loaded, revision_of(chosen.name), preparing.heads(loaded.config)),))
    if preparing.prepare:
        sitk()
    panel = packaged_panel(lambda name: load_packaged(name, running), preparing.all_heads)
    announce_panel(panel, terminal)
    return panel


_KEPT: Final = "what is finished is kept; --continue goes on with it"


def _check(writing: Writing, preparing: Preparing) -> None:
    """Refuse options that exclude each other, and those that do nothing alone."""
    if writing.resume and writing.overwrite:
        raise UsageError("--continue and --overwrite exclude each other", "one of the two")
    if not preparing.prepare and (preparing.template or preparing.extractor):
        raise UsageError("nothing is prepared with --template or --extractor alone", "both with --prepare")


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
    lines += [f"  {number} by {model}" for model, number in summary.scored_by.items()]
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
