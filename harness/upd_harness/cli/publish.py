"""The command `upd-zoo publish`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upd_harness.cli.making import ARTEFACT
from upd_harness.cli.options import HubOption, Token, command
from upd_harness.cli.signing import signing_by
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import table
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.files import megabytes
from upd_zoo.names import ModelId
from upd_zoo.stores.domains import UNNAMED, know_own

if TYPE_CHECKING:
    from upd_zoo.hub.hub import Hub, Published
    from upd_zoo.progress import Progress

Forced = Annotated[
    bool, typer.Option("--force", help="In spite of what it lacks, and over one made later, signed, or changed there.")
]
Key = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Sign every file by this private key, a PEM file.")
]
Preview = Annotated[
    Path | None, typer.Option("--dry-run", metavar="DIR", help="Write what would go up to a folder; no hub is asked.")
]
Collected = Annotated[
    str | None, typer.Option("--collection", help="Title of a collection on the Hugging Face Hub to put it into.")
]


@command
def publish(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="Folder that train or export made.")],
    hub: HubOption = None,
    revision: Annotated[str, typer.Option("--revision", help="Revision to publish under.")] = "main",
    public: Annotated[bool, typer.Option("--public", help="Make it public on the Hugging Face Hub.")] = False,
    force: Forced = False,
    key: Key = None,
    dry_run: Preview = None,
    collection: Collected = None,
    token: Token = None,
    *,
    terminal: Terminal,
) -> None:
    """Publish an artefact to a hub.

    One that was not measured, or lacks its licences, is refused. On the Hugging Face Hub it is private at first, and
    every revision but main is a tag.

    With --sign, the artefact in its folder is signed first; UPD_ZOO_PASSPHRASE opens a key that is encrypted.
    """
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import MANIFEST, Manifest
    from upd_zoo.hub import open_hub

    if hub is None and dry_run is None:
        raise UsageError("no hub is named", "hf://ORG or a folder", "add --hub out/hub")
    _check(artefact)
    name = _name_of(artefact, revision)
    manifest = read_record(artefact / MANIFEST, Manifest) if key is None else signing_by(key)(artefact)
    if dry_run is not None:
        _preview(artefact, name, dry_run, force, terminal)
        return
    opened = open_hub(hub, token=token)
    if collection is not None and not opened.has_collections:
        opened.collect(name, collection)  # says why it cannot
    whose = f"; signed by the key {manifest.signed_by}" if manifest.signed_by else ""
    terminal.say(f"publishing {name} to {opened.location}, visible to {opened.audience(public)}{whose}")
    published = _sent(opened, artefact, name, public, force, terminal)
    if collection is not None:
        terminal.say(f"it is in the collection {opened.collect(name, collection, public=public)}")
    document: dict[str, Any] = {"model": str(name), "hub": opened.location, "unchanged": published.unchanged}
    terminal.data(
        document | {"replaced": published.replaced, "signed_by": manifest.signed_by},
        f"{name} is on {opened.location}{_what_stood(published)}",
    )


def _name_of(artefact: Path, revision: str) -> ModelId:
    """Return under which name an artefact is published.

    Raises:
        UsageError: It is a model of images that have no name.
    """
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import CONFIG, Config

    config = read_record(artefact / CONFIG, Config)
    if config.own is not None:
        know_own(config.images)
    name = ModelId.parse(str(replace(ModelId.parse(config.id), revision=revision)))
    if name.target == UNNAMED:
        raise UsageError(
            f"{name.name} is what every model of unnamed images is called",
            "a model of images that have a name",
            "upd-zoo prepare NAME --healthy FOLDER, then upd-zoo train METHOD-NAME",
        )
    return name


def _sent(opened: "Hub", artefact: Path, name: ModelId, public: bool, force: bool, terminal: Terminal) -> "Published":
    """Publish, and say where it stands, also while the hub is silent; the default hub is listed in the package."""
    from upd_zoo.hub.catalogue import PACKAGED, Catalogue
    from upd_zoo.hub.hub import DEFAULT_HUB

    at = ["what stands there"]
    truth = f"upd-zoo list --hub {opened.location} tells whether {name} is there; if it is, it is whole"
    silent = f"nothing has come from {opened.location} for"
    with (
        when_interrupted(truth),
        terminal.waiting(lambda seconds: f"{silent} {seconds:.0f} s, asked about: {at[0]}") as heard,
        terminal.bar(f"publishing {name}") as advance,
    ):

        def report(progress: "Progress") -> None:
            at[0] = progress.what
            heard()
            advance(progress)

        published = opened.publish(artefact, name, public=public, force=force, on_progress=report)
    if opened.location == DEFAULT_HUB:
        Catalogue.read().add(published.row).write(PACKAGED)
    return published


def _preview(artefact: Path, name: ModelId, target: Path, force: bool, terminal: Terminal) -> None:
    """Write what would go up to a folder."""
    from upd_zoo.hub.preview import write_preview

    files = write_preview(artefact, name, target, force=force)
    terminal.say(f"nothing was published; what would be on a hub as {name} lies in {target}")
    terminal.data(
        {"model": str(name), "folder": str(target), "files": {each: record.bytes for each, record in files.items()}},
        table(("file", "size"), [(each, megabytes(record.bytes)) for each, record in files.items()]),
    )


def _check(folder: Path) -> None:
    """Refuse a folder that holds no artefact, and name the one that a run holds.

    Raises:
        NotFoundError: It holds none.
    """
    from upd_zoo.artefact.records import CONFIG, MANIFEST

    if (folder / MANIFEST).is_file():
        return
    inside = folder / ARTEFACT
    if (inside / MANIFEST).is_file():
        next_step = f"upd-zoo publish {inside}"
    elif (folder / CONFIG).is_file():
        next_step = f"upd-zoo export {folder}"
    else:
        next_step = "upd-zoo train MODEL"
    raise NotFoundError(f"there is no artefact in {folder}", "a folder that train or export made", next_step)


def _what_stood(published: "Published") -> str:
    if published.unchanged:
        return ", as it was before"
    return "" if published.replaced is None else f", in place of the one made at {published.replaced}"
