"""Fill the prepared stores of a domain, or of one test set, that training and evaluation read.

    python scripts/prepare.py phantom-t2
    python scripts/prepare.py idrid --root path/to/IDRiD
    python scripts/prepare.py ddr --root path/to/DDR-dataset --protocol study
    python scripts/prepare.py ixi-t1 --root path/to/IXI --jobs 2
    python scripts/prepare.py camcan-t1 --root path/to/cc700 --template T1_brain.nii --extractor hd-bet

Standard output names the stores; progress and failures go to standard error. Exit code 3: some inputs could not be
used, the rest is written. A run that is repeated makes again only what is missing or was made otherwise; of brains, one
that was stopped makes again no scan that was done. What was found in them is in `contact-sheet.png`, to look at.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_zoo.errors import InputError
from upd_zoo.files import replacing
from upd_zoo.sources.listed import source_of
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.preparation import SHELF, Preparation, prepare
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import data_folder
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Protocol, get_domain, get_test_set

_TALK = Console(stderr=True, highlight=False, soft_wrap=True)


@reports_errors
def main(
    domain: Annotated[str, typer.Argument(help="A domain, such as phantom-t2 or idrid, or one test set.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the data set in its original layout.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the prepared stores; or set UPD_ZOO_DATA.")] = None,
    seed: Annotated[int, typer.Option(help="Which population of phantoms.")] = 0,
    subjects: Annotated[int | None, typer.Option(help="Phantoms to train on; the other parts scale with it.")] = None,
    protocol: Annotated[
        Protocol, typer.Option(help="study: its splits and its scale, where they differ.")
    ] = Protocol.SOUND,
    template: Annotated[Path | None, typer.Option(help="T1 brain to align brains with; else MNI152.")] = None,
    extractor: Annotated[str, typer.Option(help="hd-bet, or a command with {head} and {brain}.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Inputs read at the same time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Make again what stands.")] = False,
) -> int:
    """Fill the train and validation stores of a domain and the stores of its test sets."""
    target = get_domain(domain) if domain in DOMAINS else get_test_set(domain)
    folder = data_folder(data)
    kept = "stores that are whole are kept; the same command makes the others"
    with when_interrupted(kept), Terminal().bar("preparing") as advance:
        done = prepare(
            target,
            folder,
            Request(root, seed=seed, subjects=subjects, template=template, extractor=extractor),
            protocol=protocol,
            jobs=jobs,
            force=force,
            on_progress=advance,
        )
    sheet = _draw(target.id, folder, done, template)
    for facts in done.stores:
        typer.echo(
            f"{folder / facts.name}: {facts.images} images of {facts.subjects} subjects, {facts.anomalous} anomalous"
        )
    if sheet is not None:
        typer.echo(sheet)
    for failure in done.failures:
        _TALK.print(f"left out of {failure.store}: {failure.input}: {failure.error}", markup=False)
    return InputError.exit_code if done.failures else 0


def _draw(target: str, data: Path, done: Preparation, template: Path | None) -> Path | None:
    """Draw the contact sheet of what was prepared of brains."""
    source = source_of(target)
    if not isinstance(source, BrainSource):
        return None
    from upd_zoo.brains.pictures import contact_sheet
    from upd_zoo.brains.template import load_template

    path = data / target / "contact-sheet.png"
    with replacing(path) as temporary:
        pictures = sorted((data / SHELF / source.id).glob("*.png")) if done.failures else []
        stores = [Store(data / facts.name) for facts in done.stores]
        contact_sheet(stores, load_template(template), pictures).save(temporary, "PNG")
    return path


if __name__ == "__main__":
    typer.run(main)
