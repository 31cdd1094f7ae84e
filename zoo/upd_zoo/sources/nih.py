"""NIH ChestX-ray14: frontal chest radiographs of one hospital, with findings mined from their reports.

    Data_Entry_2017.csv, or Data_Entry_2017_v2020.csv
    images/00000001_000.png                                          all archives unpacked into one folder
    images_001/images/00000001_000.png … images_012/images/…         or each into its own

Healthy is `No Finding` and nothing else; any finding is diseased. A hash of the patient's number puts all radiographs
of a patient into train, validation or test: 112 120 radiographs come from 30 805 patients. Train and validation take
the healthy ones of their patients, the test takes all of its own; what is diseased elsewhere is not used. The authors'
own lists of training and test images are not used either. The study does not use this data set, so it has no splits of
its own.

What to know of the data:
    No one looked at the images to label them. A program read the reports, so `No Finding` says that the report names
    none of fourteen findings: other diseases, devices and lines are there, and some labels are wrong.
    View, age and sex differ between healthy and diseased: who is too ill to stand is taken AP, lying. A model that
    tells views apart seems to find disease. The index of the stores holds all three.
    Children are among the patients. Ages above 120 years are slips and count as unknown.
    A few hundred files have four channels, three equal ones and an opaque one, and are read as the grey that they show.

References:
    Wang et al., "ChestX-ray8: Hospital-Scale Chest X-Ray Database and Benchmarks on Weakly-Supervised Classification
    and Localization of Common Thorax Diseases", CVPR 2017.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.sources.radiographs import Radiograph
from upd_zoo.sources.source import FolderSource, Inputs
from upd_zoo.sources.splits import part_of
from upd_zoo.sources.tables import age_of, damaged, read_table, sex_of
from upd_zoo.stores.places import Part, StoreName
from upd_zoo.vocabulary import DOMAINS

SHARES: Final = {Part.TRAIN: 0.60, Part.VALIDATION: 0.15, Part.TEST: 0.25}
"""How the patients are divided."""
SALT: Final = "upd-zoo/nih-cxr"

_DOMAIN: Final = DOMAINS["nih-cxr"]
_TABLES: Final = "Data_Entry_2017*.csv"
_FILES: Final = ("images/*.png", "images_*/images/*.png")
_NAME, _FINDINGS, _PATIENT = "Image Index", "Finding Labels", "Patient ID"
_SEX, _AGE, _VIEW = ("Patient Gender", "Patient Sex"), "Patient Age", "View Position"
_HEALTHY: Final = "No Finding"
_ORIGIN: Final = "get the images and 'Data_Entry_2017_v2020.csv' from nihcc.app.box.com/v/ChestXray-NIHCC"
_EXPECTED: Final = (_TABLES, "images*")


def _find(store: StoreName, root: Path) -> Inputs:
    return {
        image.name: partial(image.read, root, store.side) for image in _radiographs(root) if _belongs(image, store.part)
    }


def _belongs(image: Radiograph, part: Part) -> bool:
    return (image.healthy or part is Part.TEST) and part_of(image.subject, SHARES, SALT) is part


def _radiographs(root: Path) -> Iterator[Radiograph]:
    """Yield what the table lists, in its order; a file that is nowhere is looked for, in vain, in `images`."""
    table = _table(root)
    files = {path.name: path.relative_to(root).as_posix() for pattern in _FILES for path in root.glob(pattern)}
    for row in read_table(table, (_NAME, _FINDINGS, _PATIENT), _ORIGIN):
        name = row[_NAME]
        if not (name and row[_FINDINGS] and row[_PATIENT]):
            accepted = f"a '{_NAME}', '{_FINDINGS}' and '{_PATIENT}' in every row"
            raise damaged(table, f"does not say all of '{name}'", accepted, _ORIGIN)
        yield Radiograph(
            files.get(name, f"images/{name}"),
            row[_PATIENT],
            row[_FINDINGS] == _HEALTHY,
            next((sex_of(row[column]) for column in _SEX if column in row), ""),
            age_of(row.get(_AGE, "")),
            row.get(_VIEW, ""),
        )


def _table(root: Path) -> Path:
    """Return the one table of the release."""
    tables = sorted(root.glob(_TABLES))
    if len(tables) != 1:
        found = " and ".join(f"'{table.name}'" for table in tables)
        raise InputError(InputErrorCode.UNSUPPORTED, f"There are {found}", "one of them", "move the others away")
    return tables[0]


NIH: Final = FolderSource(
    "nih-cxr",
    "ChestX-ray14",
    (_DOMAIN.id,),
    "open data: NIH ChestX-ray14, labels mined from reports",
    origin=_ORIGIN,
    expected=_EXPECTED,
    find=_find,
)
