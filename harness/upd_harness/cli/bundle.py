"""The command `upd-zoo bundle`."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upd_harness.cli.fetching import fetch, formats_of
from upd_harness.cli.options import Format, Origin, Place, command
from upd_harness.cli.terminal import Terminal
from upd_zoo.errors import UsageError
from upd_zoo.files import megabytes

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Manifest


@command
def bundle(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Names, with @REVISION where not main.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file, such as models.tar.")],
    formats: Format = "onnx",
    *,
    place: Place,
    terminal: Terminal,
) -> None:
    """Put models into one file, for a machine without a network.

    There, upd-zoo pull takes them out of it.
    """
    from upd_zoo.hub.bundle import SUFFIX, write_bundle
    from upd_zoo.names import ModelId

    chosen = formats_of(formats)
    if output.suffix != SUFFIX:
        raise UsageError(f"'{output}' is not the name of a bundle", f"a file that ends in {SUFFIX}")
    pulled = []
    for name in models:
        model, origin = ModelId.parse(name), Origin(model=name, **vars(place))
        manifest = fetch(origin, (), terminal).manifest
        pulled.append((model, fetch(origin, _names(manifest, chosen), terminal)))
    output.parent.mkdir(parents=True, exist_ok=True)
    with terminal.bar(f"writing {output.name}") as report:
        write_bundle(output, pulled, report)
    size = megabytes(output.stat().st_size)
    terminal.say(f"on the other machine: upd-zoo pull {output.name}")
    terminal.data({"bundle": str(output), "models": [str(model) for model, _ in pulled]}, f"{output} ({size})")


def _names(manifest: "Manifest", formats: "Collection[str]") -> list[str]:
    """Return the files of a model without those of formats that were not asked for."""
    from upd_zoo.runtime.folder import FILES

    others = {name for format_, names in FILES.items() if format_ not in formats for name in names}
    return [name for name in manifest.files if name not in others]
