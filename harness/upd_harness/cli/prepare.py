"""The command `upd-zoo prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upd_harness.cli.making import ProtocolOption, next_command, options
from upd_harness.cli.options import Data, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.errors import InputError
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Protocol, get_domain, get_test_set

if TYPE_CHECKING:
    from upd_zoo.sources.preparation import Preparation


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What stores are made of.

    Attributes:
        root: Folder of the data set; None for phantoms.
        seed: Which population of phantoms.
        subjects: Phantoms to train on; None for the default.
        template: Brain that brain scans are aligned with; None for MNI152.
        extractor: The program that finds brains; empty for what is built in.
    """

    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the data set in its original layout; none for phantoms.")
    ] = None
    seed: Annotated[int, typer.Option("--seed", help="Seed of the phantoms.")] = 0
    subjects: Annotated[
        int | None, typer.Option("--subjects", min=1, help="Phantoms to train on; the other parts scale with it.")
    ] = None
    template: Annotated[
        Path | None, typer.Option("--template", help="T1 brain to align brains with; default: MNI152.")
    ] = None
    extractor: Annotated[
        str, typer.Option("--extractor", help="Find brains with hd-bet, or a command with {head} and {brain}.")
    ] = ""


@command
def prepare(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A domain, such as phantom-t2 or idrid, or one test set.")
    ],
    asked: Asked,
    protocol: ProtocolOption = Protocol.SOUND,
    data: Data = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Inputs read at the same time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Make existing stores again.")] = False,
    *,
    terminal: Terminal,
) -> int:
    """Fill the stores that training and evaluation read.

    Exit code 3: some inputs could not be used, the rest is written. A run that is repeated makes only what is missing
    or was made differently; with brains, one that was stopped repeats no scan that was finished. contact-sheet.png
    shows what was found in each.
    """
    from upd_zoo.sources.preparation import prepare as fill
    from upd_zoo.sources.source import Request
    from upd_zoo.stores.places import data_folder

    chosen = get_test_set(target) if target in {*TEST_SETS} - {*DOMAINS} else get_domain(target)
    folder = data_folder(data)
    kept = "stores that are whole are kept; the same command makes the others"
    with when_interrupted(kept), terminal.bar("preparing") as advance:
        request = Request(**vars(asked))
        done = fill(chosen, folder, request, protocol=protocol, jobs=jobs, force=force, on_progress=advance)
    sheet = _draw(chosen.id, folder, done, asked.template)
    for failure in done.failures:
        terminal.say(f"left out of {failure.store}: {failure.input}: {failure.error}")
    if target in DOMAINS:
        unusual = None if protocol is Protocol.SOUND else protocol
        terminal.say(next_command("upd-zoo", "train", f"METHOD-{target}", *options(data=data, protocol=unusual)))
    terminal.data(_as_document(folder, done, sheet), _as_text(folder, done, sheet))
    return InputError.exit_code if done.failures else 0


def _draw(target: str, data: Path, done: "Preparation", template: Path | None) -> Path | None:
    """Draw the contact sheet of what was prepared of brains."""
    from upd_zoo.files import replacing
    from upd_zoo.sources.listed import source_of
    from upd_zoo.sources.of_brains import BrainSource
    from upd_zoo.sources.preparation import SHELF
    from upd_zoo.stores.store import Store

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


def _as_document(data: Path, done: "Preparation", sheet: Path | None) -> dict[str, Any]:
    """Return what was prepared, for programs."""
    stores = [
        {
            "store": facts.name,
            "folder": str(data / facts.name),
            "images": facts.images,
            "subjects": facts.subjects,
            "anomalous": facts.anomalous,
        }
        for facts in done.stores
    ]
    failures = [
        {"store": str(each.store), "input": each.input, "code": each.error.code.value, "message": str(each.error)}
        for each in done.failures
    ]
    return {"stores": stores, "failures": failures, "contact_sheet": None if sheet is None else str(sheet)}


def _as_text(data: Path, done: "Preparation", sheet: Path | None) -> str:
    """Return what was prepared, for people."""
    lines = [
        f"{data / facts.name}: {facts.images} images of {facts.subjects} subjects, {facts.anomalous} anomalous"
        for facts in done.stores
    ]
    return "\n".join((*lines, *([] if sheet is None else [str(sheet)])))
