"""Publish an artefact to a hub.

python scripts/publish.py out/artefacts/vae-phantom-t2 --hub out/hub --revision seed-0
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.errors import UsageError
from upd_zoo.hub import open_hub
from upd_zoo.hub.catalogue import PACKAGED, Catalogue
from upd_zoo.hub.hub import DEFAULT_HUB, Published
from upd_zoo.names import ModelId


@reports_errors
def main(
    artefact: Annotated[Path, typer.Argument(help="Folder that scripts/export.py made.")],
    hub: Annotated[str | None, typer.Option(help="hf://ORG or a folder.", envvar="UPD_ZOO_HUB")] = None,
    revision: Annotated[str, typer.Option(help="Under which revision.")] = "main",
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it, on the Hugging Face Hub.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also in place of one that was made later.")] = False,
    token: Annotated[str | None, typer.Option(help="Access token of the Hugging Face Hub.")] = None,
) -> None:
    """Publish an artefact, and list it in the package's catalogue where the hub is the default one."""
    if hub is None:
        raise UsageError(
            "no hub is named", "hf://ORG or a folder", "add --hub out/hub, or HUB=out/hub after make publish"
        )
    name = ModelId.parse(str(replace(ModelId.parse(read_record(artefact / CONFIG, Config).id), revision=revision)))
    opened, terminal = open_hub(hub, token=token), Terminal()
    terminal.say(f"publishing {name} to {opened.location}, to be seen by {opened.audience(public)}")
    with when_interrupted(f"upd-zoo list --hub {opened.location} tells whether {name} is there; if it is, it is whole"):
        published = opened.publish(artefact, name, public=public, force=force)
    if opened.location == DEFAULT_HUB:
        Catalogue.read().add(published.row).write(PACKAGED)
    terminal.data(str(name), f"{name} is on {opened.location}{_what_stood(published)}")


def _what_stood(published: Published) -> str:
    if published.unchanged:
        return ", as it was before"
    return "" if published.replaced is None else f", in place of the one made at {published.replaced}"


if __name__ == "__main__":
    typer.run(main)
