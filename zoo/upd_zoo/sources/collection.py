"""A collection of one's own: folders that become a domain, its test set, and their stores."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upd_zoo.errors import UsageError, closest
from upd_zoo.images.kinds import modality_of
from upd_zoo.progress import Report, silent
from upd_zoo.sources.folders import FEW, FEWEST, FOLDS, Folders, OwnFile, Plan, plan
from upd_zoo.sources.grouping import By
from upd_zoo.sources.own import OwnSource
from upd_zoo.sources.preparation import Preparation, fill
from upd_zoo.sources.source import Request
from upd_zoo.stores.domains import UNNAMED, add_own, check_own_name
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import FACTS
from upd_zoo.vocabulary import MODALITIES, STUDY_SIDE, Access, Domain, Framing, Modality, Protocol, Side, TestSet

LICENCE: Final = "known to their owner"
_CONTRAST: Final = re.compile(r"(?<![a-z0-9])t([12])w?(?![a-z0-9])", re.IGNORECASE)
_SHOWN: Final = 3
_DEFAULT: Final = Request()


@dataclass(frozen=True, slots=True)
class Collection:
    """Images of one's own under a name.

    Attributes:
        domain: What they are.
        test_set: What models are tested with; None where no image is diseased.
        plan: What each image is for.
        guessed: Whether the kind of the images was told from themselves.
    """

    domain: Domain
    test_set: TestSet | None
    plan: Plan
    guessed: bool

    @classmethod
    def of(cls, name: str, folders: Folders, modality: str | None = None) -> "Collection":
        """Look through folders.

        Args:
            name: What the images are called from now on.
            folders: Where they lie.
            modality: Of which kind they are; None to tell from the images.

        Raises:
            UsageError: The name could be taken for another's, the kind has no name or is not plain, the scans are of
                several contrasts, the same file is healthy and diseased, or there are too few.
            NotFoundError: A folder is not there, or holds no image.
        """
        check_own_name(name)
        if modality is not None and modality not in MODALITIES:
            raise UsageError(f"no kind of images is called '{modality}'", closest(modality, MODALITIES))
        planned = plan(folders)
        files = [file for part in planned.parts.values() for file in part]
        kind = MODALITIES[modality] if modality else modality_of([file.path for file in files])
        title = "own images" if name == UNNAMED else f"own images, {name}"
        domain = Domain(name, title, kind, Access.OWN, LICENCE, _contrast_of(files, kind))
        masks = folders.masks is not None
        test_set = None if folders.diseased is None else TestSet(name, f"{title}, with diseased ones", name, masks)
        return cls(domain, test_set, planned, modality is None)

    def told(self) -> Iterator[str]:
        """Yield what the owner must be told of how the images are understood, a line each."""
        if self.guessed:
            yield f"kind of images: {self.domain.modality.id}, as they look; --modality says otherwise"
        count = sum(map(len, self.plan.parts.values()))
        persons = len({file.subject for part in self.plan.parts.values() for file in part})
        each = "each stands for a person" if self.plan.by is By.FILE else f"of {persons} persons, by {self.plan.by}"
        yield f"{count} images, {each}; a person is in one part only"
        if self.plan.copies:
            shown = ", ".join(f"{copy} = {kept}" for copy, kept in self.plan.copies[:_SHOWN])
            more = len(self.plan.copies) - _SHOWN
            yield f"left out as copies: {shown}" + (f" and {more} more" if more > 0 else "")
        if self.plan.both:
            yield f"{self.plan.both} persons have healthy and diseased images: they are in the test, and nowhere else"
        if self.plan.folds:
            learning = self.plan.subjects(Part.TRAIN)
            yield f"{learning} persons are fewer than {FEW}: all train, and {FOLDS} more trainings calibrate"
        else:
            parts = {Part.TRAIN: "train", Part.VALIDATION: "calibrate", Part.TEST: "are in the test"}
            told = (f"{self.plan.subjects(part)} {what}" for part, what in parts.items() if part in self.plan.parts)
            yield f"of these persons, {', '.join(told)}"

    def prepare(
        self,
        data: Path,
        request: Request = _DEFAULT,
        *,
        protocol: Protocol = Protocol.SOUND,
        side: Side = STUDY_SIDE,
        jobs: int = 1,
        force: bool = False,
        on_progress: Report = silent,
    ) -> Preparation:
        """Fill the stores, and write down beside them what their names mean.

        Stores that a former collection of this name left, and this one has not, are removed.

        Args:
            data: Folder of the prepared stores.
            request: How heads are prepared.
            protocol: `study` for the study's scale of brain scans.
            side: Height and width of the images in pixels.
            jobs: Inputs read at the same time, in processes of their own.
            force: Whether to make again what stands.
            on_progress: Told of every input.

        Raises:
            UsageError: The files cannot be used so (see `OwnSource.of`), or too few of them can.
            InputError: None of a part can be used.
            MissingExtraError: Brains are to be found, and what finds them is not installed.
        """
        source = OwnSource.of(self.domain, self.plan)
        add_own(data, self.domain, [] if self.test_set is None else [self.test_set])
        for part in {*Part} - {*self.plan.parts}:
            _remove(store_path(data, self.domain.id, part, protocol, side))
        names = source.stores(protocol, side)
        done = fill(source, names, data, request, jobs=jobs, force=force, on_progress=on_progress)
        left = sum(facts.subjects for facts in done.stores if not facts.name.partition("/")[2].startswith(Part.TEST))
        if left < FEWEST:
            raise UsageError(
                f"the images of {left} healthy persons can be used, too few to learn from", f"at least {FEWEST}"
            )
        return done


def _contrast_of(files: list[OwnFile], modality: Modality) -> str:
    """Return `T1` or `T2` where the names of brain scans say so; empty where they do not.

    Raises:
        UsageError: They say both.
    """
    if modality.framing is not Framing.SQUARE_SLICES:
        return ""
    found = {f"T{number}" for file in files for number in _CONTRAST.findall(file.name)}
    if len(found) > 1:
        raise UsageError("by their names, some scans are in T1 and some in T2", "one contrast", "put one elsewhere")
    return "".join(found)


def _remove(store: Path) -> None:
    if (store / FACTS).is_file():
        shutil.rmtree(store)
