"""Publish an artefact to a hub.

python scripts/publish.py out/artefacts/vae-phantom-t2 --hub out/hub --revision seed-0
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.terminal import Terminal, reports_errors
from upd_zoo.artefact import CONFIG, Config, read_record
from upd_zoo.catalogue import PACKAGED, Catalogue
from upd_zoo.hub import DEFAULT_HUB, open_hub
from upd_zoo.vocabulary import ModelId


@reports_errors
def main(
    artefact: Annotated[Path, typer.Argument(help="Folder that scripts/export.py made.")],
    hub: Annotated[str, typer.Option(help="hf://ORG or a folder.", envvar="UPD_ZOO_HUB")],
    revision: Annotated[str, typer.Option(help="Under which revision.")] = "main",
    token: Annotated[str | None, typer.Option(help="Access token of the Hugging Face Hub.")] = None,
) -> None:
    """Publish an artefact, and list it in the package's catalogue where the hub is the default one."""
    name = replace(ModelId.parse(read_record(artefact / CONFIG, Config).id), revision=revision)
    opened = open_hub(hub, token=token)
    row = opened.publish(artefact, name)
    if opened.location == DEFAULT_HUB:
        Catalogue.read().add(row).write(PACKAGED)
    Terminal().data(str(name), f"{name} is on {opened.location}")


if __name__ == "__main__":
    typer.run(main)
