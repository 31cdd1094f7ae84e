"""The command `upd-zoo prepare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upd_harness.cli.making import ProtocolOption, next_command, options
from upd_harness.cli.options import Data, Healthy, ModalityOption, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.report.text import counted
from upd_zoo.errors import InputError, UsageError
from upd_zoo.vocabulary import (
    DOMAINS,
    STUDY_SIDE,
    TEST_SETS,
    Domain,
    Protocol,
    TestSet,
    get_domain,
    get_test_set,
    side_of,
)

if TYPE_CHECKING:
    from upd_zoo.sources.collection import Collection
    from upd_zoo.sources.preparation import Preparation
    from upd_zoo.sources.source import Request


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


@dataclass(frozen=True, kw_only=True)
class Own:
    """Folders of one's own.

    Attributes:
        healthy: Images to learn from; None for a listed data set.
        diseased: Images to test with.
        masks: Where they show disease.
        modality: Of which kind all are; None to tell from the images.
    """

    healthy: Healthy = None
    diseased: Annotated[
        Path | None, typer.Option("--diseased", help="With --healthy: folder of diseased images to test with.")
    ] = None
    masks: Annotated[
        Path | None, typer.Option("--masks", help="With --diseased: folder of their masks, named alike.")
    ] = None
    modality: ModalityOption = None

    def collection(self, name: str, asked: Asked) -> "Collection | None":
        """Return the images of one's own under a name; None where a listed data set is meant.

        Raises:
            UsageError: Options are given that exclude each other, or do nothing alone.
        """
        from upd_zoo.sources.collection import Collection
        from upd_zoo.sources.folders import Folders

        if self.healthy is None:
            if self.diseased or self.masks or self.modality:
                raise UsageError("images of one's own begin with the healthy ones", "", "add --healthy FOLDER")
            return None
        if asked.root or asked.seed or asked.subjects:
            raise UsageError("--healthy names the folder", "", "leave out --root, --seed and --subjects")
        if self.masks and not self.diseased:
            raise UsageError("--masks are of diseased images", "", "add --diseased FOLDER")
        return Collection.of(name, Folders(self.healthy, self.diseased, self.masks), self.modality)


@command
def prepare(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A domain, such as phantom-t2, a test set, or your own name.")
    ],
    asked: Asked,
    own: Own,
    protocol: ProtocolOption = Protocol.SOUND,
    side: Annotated[
        int, typer.Option("--side", help="Height and width of images: 128, 192 or 256 pixels.")
    ] = STUDY_SIDE,
    data: Data = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Inputs read at the same time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Make existing stores again.")] = False,
    *,
    terminal: Terminal,
) -> int:
    """Fill the stores that training and evaluation read.

    They are filled from a listed data set, or with --healthy from folders of your own.

    Exit code 3: some inputs could not be used, the rest is written. A run that is repeated makes only what is missing
    or was made differently; with brains, one that was stopped repeats no scan that was finished. contact-sheet.png
    shows what was found in each.
    """
    from upd_zoo.sources.preparation import prepare as fill
    from upd_zoo.sources.source import Request
    from upd_zoo.stores.places import data_folder

    folder, request = data_folder(data), Request(**vars(asked))
    collection = own.collection(target, asked)
    how: dict[str, Any] = {"protocol": protocol, "side": side_of(side), "jobs": jobs, "force": force}
    if collection is not None:
        done, sheet = prepare_own(collection, folder, request, how, terminal), None
    else:
        chosen = _listed(target)
        with when_interrupted(_KEPT), terminal.bar("preparing") as advance:
            done = fill(chosen, folder, request, on_progress=advance, **how)
        sheet = _draw(chosen.id, folder, done, asked.template)
    say_failures(done, terminal)
    if target in DOMAINS:
        unusual = None if protocol is Protocol.SOUND else protocol
        told = options(data=data, protocol=unusual, side=None if side == STUDY_SIDE else side)
        terminal.say(next_command("upd-zoo", "train", f"METHOD-{target}", *told))
    terminal.data(_as_document(folder, done, sheet), _as_text(folder, done, sheet))
    return InputError.exit_code if done.failures else 0


_KEPT: Final = "stores that are whole are kept; the same command makes the others"


def _listed(target: str) -> Domain | TestSet:
    """Return the domain or test set that is meant.

    Raises:
        UsageError: None is called so, or it is somebody's own, of which the folder is needed.
    """
    chosen = get_test_set(target) if target in {*TEST_SETS} - {*DOMAINS} else get_domain(target)
    if get_domain(target).own:
        raise UsageError(f"{target} are images of your own", "the folder that they lie in", "add --healthy FOLDER")
    return chosen


def prepare_own(
    collection: "Collection", folder: Path, request: "Request", how: dict[str, Any], terminal: Terminal
) -> "Preparation":
    """Fill the stores of images of one's own, and say how they were understood and what seems wrong with them."""
    from upd_harness.checks.stores import check
    from upd_zoo.stores.store import Store

    for line in collection.told():
        terminal.say(line)
    with when_interrupted(_KEPT), terminal.bar("preparing") as advance:
        done = collection.prepare(folder, request, on_progress=advance, **how)
    for finding in check([Store(folder / facts.name) for facts in done.stores]):
        terminal.say(
            f"look at this: {finding.check} ({', '.join(finding.stores)}): {finding.problem}; {finding.advice}"
        )
    return done


def say_failures(done: "Preparation", terminal: Terminal) -> None:
    """Say which inputs were left out, and why."""
    for failure in done.failures:
        terminal.say(f"left out of {failure.store}: {failure.input}: {failure.error}")


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
        f"{data / facts.name}: {counted(facts.images, 'image')} of {counted(facts.subjects, 'subject')}, "
        f"{facts.anomalous} anomalous"
        for facts in done.stores
    ]
    return "\n".join((*lines, *([] if sheet is None else [str(sheet)])))
