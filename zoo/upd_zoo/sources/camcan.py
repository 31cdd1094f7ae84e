"""CamCAN: healthy adults of all ages from one scanner, T1 and T2, whole heads, in BIDS.

    sub-CC110033/anat/sub-CC110033_T1w.nii.gz, …_T2w.nii.gz      at any depth below the folder
    participants.tsv                                             participant_id, age, gender_text; may be missing

Everyone is healthy. A hash of the subject puts all scans of a person into train (95 %) or validation (5 %). The study
cuts its list of slices at 95 %, within a subject, in whatever order the file system had them; its own stores here cut
the list of subjects, in the order of names. The brain is looked for on T1, and a T2 scan without it is left out.

References:
    Taylor et al., "The Cambridge Centre for Ageing and Neuroscience (Cam-CAN) data repository", NeuroImage 144, 2017.
    cards/study.md, sections 5.1 and 5.4.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.splits import cut, part_of
from upd_zoo.sources.tables import age_of, sex_of
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.vocabulary import Protocol

SHARES: Final = {Part.TRAIN: 0.95, Part.VALIDATION: 0.05}
"""How the subjects are divided."""
SALT: Final = "upd-zoo/camcan"

_CONTRASTS: Final = {"camcan-t1": "T1w", "camcan-t2": "T2w"}
_TABLE: Final = "**/participants.tsv"
_ID, _AGE, _SEX = "participant_id", "age", "gender_text"
_ORIGIN: Final = "apply at camcan-archive.mrc-cbu.cam.ac.uk and get the anatomical scans"
_EXPECTED: Final = ("**/sub-*_T1w.nii.gz",)


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    guides, images = _files(root, "T1w"), _files(root, _CONTRASTS[store.target])
    people = _people(root)
    found = [subject for subject in images if subject in guides]
    chosen = _of_the_study(found, store.part) if store.protocol is Protocol.STUDY else _of_the_sound(found, store.part)
    return {images[subject]: _scan(subject, images[subject], guides[subject], people) for subject in chosen}


def _of_the_study(subjects: list[str], part: Part) -> list[str]:
    first, last = cut(subjects, 95)
    return list(first if part is Part.TRAIN else last)


def _of_the_sound(subjects: list[str], part: Part) -> list[str]:
    return [subject for subject in subjects if part_of(subject, SHARES, SALT) is part]


def _scan(subject: str, image: str, guide: str, people: Mapping[str, Mapping[str, str]]) -> Scan:
    person = people.get(subject.removeprefix("sub-"), people.get(subject, {}))
    sex, age = sex_of(person.get(_SEX, "").title()), age_of(person.get(_AGE, "").partition(".")[0])
    return Scan(subject, image, "" if guide == image else guide, sex=sex, age=age)


def _files(root: Path, contrast: str) -> dict[str, str]:
    """Return the scan of every subject in one contrast, ordered by name."""
    paths = sorted(root.glob(f"**/sub-*_{contrast}.nii.gz"), key=lambda path: path.name)
    return {path.name.partition("_")[0]: path.relative_to(root).as_posix() for path in paths}


def _people(root: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the table of persons, where there is one."""
    tables = sorted(root.glob(_TABLE))
    if not tables:
        return {}
    with tables[0].open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        return {row[_ID]: row for row in csv.DictReader(stream, delimiter="\t") if row.get(_ID)}


CAMCAN: Final = BrainSource(
    "camcan", "CamCAN", tuple(_CONTRASTS), "CamCAN", origin=_ORIGIN, expected=_EXPECTED, scans=_scans
)
