"""The commands `upd-zoo cache ls` and `upd-zoo cache rm`."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upd_harness.cli.options import CacheDir, command
from upd_harness.cli.terminal import Terminal
from upd_harness.cli.usage import Program
from upd_harness.report.text import table
from upd_zoo.errors import UsageError
from upd_zoo.files import megabytes

if TYPE_CHECKING:  # importing what reads a cache takes longer than --help may
    from pathlib import Path

    from upd_zoo.hub.cached import Cached

cache = typer.Typer(
    cls=Program, rich_markup_mode=None, help="Show what was pulled and lies on this machine, or remove it."
)


@cache.callback(invoke_without_command=True)
@command
def look(context: typer.Context, cache_dir: CacheDir = None, *, terminal: Terminal) -> None:
    """Show what was pulled and lies on this machine, or remove it."""
    if context.invoked_subcommand is None:
        _list(cache_dir, terminal)


@cache.command("ls")
@command
def list_cached(cache_dir: CacheDir = None, *, terminal: Terminal) -> None:
    """List the models that were pulled, with their sizes."""
    _list(cache_dir, terminal)


def _list(cache_dir: "Path | None", terminal: Terminal) -> None:
    versions = _cached(cache_dir)
    if not versions:
        terminal.say("no model is in the cache")
    terminal.data([_document(each) for each in versions], _text(versions, terminal.width))


@cache.command("rm")
@command
def remove_cached(
    model: Annotated[str | None, typer.Argument(metavar="MODEL[@REV]", help="Which; with --all leave it out.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every model.")] = False,
    days: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", help="Only what was pulled longer ago.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    cache_dir: CacheDir = None,
    *,
    terminal: Terminal,
) -> None:
    """Remove pulled models; what no pull wrote stays."""
    from upd_zoo.hub.cached import chosen, older_than, remove

    if every == (model is not None):
        raise UsageError("it is not said which models are to go", "MODEL, MODEL@REV, or --all", "upd-zoo cache ls")
    versions = _cached(cache_dir)
    if model is not None:
        versions = chosen(versions, model)
    if days is not None:
        versions = older_than(versions, days)
    terminal.say(_text(versions, terminal.width) if versions else "nothing is to go")
    if versions and not dry_run:
        if not yes:
            _ask(len(versions), terminal)
        for each in versions:
            remove(each)
    size = sum(each.bytes for each in versions)
    done = {"removed": not dry_run, "bytes": size, "models": [_document(each) for each in versions]}
    terminal.data(done, f"{megabytes(size)} {'would be' if dry_run else 'are'} free")


def _ask(count: int, terminal: Terminal) -> None:
    """Let the user say whether so many versions are to go.

    Raises:
        UsageError: They said no, or nobody can be asked.
    """
    if terminal.as_json or terminal.quiet or not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked whether they are to go", "-y, to ask nothing", "add -y, or --dry-run to see"
        )
    if not typer.confirm(f"Remove {count} of them?", err=True):
        raise UsageError("nothing was removed")


def _cached(cache_dir: "Path | None") -> "list[Cached]":
    """Return what lies in the caches of both kinds of hubs, or in the one that is named."""
    from upd_zoo.hub import open_hub
    from upd_zoo.hub.cached import cached
    from upd_zoo.hub.hub import DEFAULT_HUB

    roots = {open_hub(place, cache_dir).cache_folder: None for place in (DEFAULT_HUB, ".")}
    return [each for root in roots for each in cached(root)]


def _text(versions: "list[Cached]", width: int | None) -> str:
    rows = [
        (each.model, ", ".join(each.revisions), megabytes(each.bytes), _day(each), str(each.folder))
        for each in versions
    ]
    return table(("model", "revisions", "size", "pulled", "folder"), rows, width) if rows else ""


def _document(version: "Cached") -> dict[str, Any]:
    return asdict(version) | {"folder": str(version.folder), "fetched": _day(version)}


def _day(version: "Cached") -> str:
    return datetime.fromtimestamp(version.fetched, UTC).strftime("%Y-%m-%d")
