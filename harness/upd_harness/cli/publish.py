"""The command `upd-zoo publish`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upd_harness.cli.making import ARTEFACT
from upd_harness.cli.options import HubOption, Token, command
from upd_harness.cli.signing import sign
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.names import ModelId
from upd_zoo.stores.domains import UNNAMED, know_own

if TYPE_CHECKING:
    from upd_zoo.hub.hub import Published


@command
def publish(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="Folder that train or export made.")],
    hub: HubOption = None,
    revision: Annotated[str, typer.Option("--revision", help="Revision to publish under.")] = "main",
    public: Annotated[bool, typer.Option("--public", help="Make it public on the Hugging Face Hub.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace even one that was made later, or that is signed.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign every file by this private key, a PEM file.")
    ] = None,
    token: Token = None,
    *,
    terminal: Terminal,
) -> None:
    """Publish an artefact to a hub.

    With --sign, the artefact in its folder is signed first; UPD_ZOO_PASSPHRASE opens a key that is encrypted.
    """
    from upd_zoo.artefact.record import read_record
    from upd_zoo.artefact.records import MANIFEST, Manifest
    from upd_zoo.hub import open_hub
    from upd_zoo.hub.catalogue import PACKAGED, Catalogue
    from upd_zoo.hub.hub import DEFAULT_HUB

    if hub is None:
        raise UsageError("no hub is named", "hf://ORG or a folder", "add --hub out/hub")
    _check(artefact)
    name = _name_of(artefact, revision)
    opened = open_hub(hub, token=token)
    signed_by = read_record(artefact / MANIFEST, Manifest).signed_by if key is None else sign(artefact, key).signed_by
    whose = f"; signed by the key {signed_by}" if signed_by else ""
    terminal.say(f"publishing {name} to {opened.location}, visible to {opened.audience(public)}{whose}")
    with when_interrupted(f"upd-zoo list --hub {opened.location} tells whether {name} is there; if it is, it is whole"):
        published = opened.publish(artefact, name, public=public, force=force)
    if opened.location == DEFAULT_HUB:
        Catalogue.read().add(published.row).write(PACKAGED)
    document: dict[str, Any] = {"model": str(name), "hub": opened.location, "unchanged": published.unchanged}
    terminal.data(
        document | {"replaced": published.replaced, "signed_by": signed_by},
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
