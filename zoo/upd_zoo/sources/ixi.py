"""IXI: scans of healthy adults from three hospitals in London, whole heads.

    IXI-T1/IXI012-HH-1211-T1.nii.gz       also flat, without the folder
    IXI-T2/IXI012-HH-1211-T2.nii.gz
    IXI.csv                               IXI_ID, SEX or SEX_ID (1=m, 2=f), AGE; may be missing

Everyone is healthy. A hash of the subject puts all scans of a person into train or validation; the tests of models that
learn from IXI are other data sets. The brain is looked for on T1; a T2 scan without the T1 of the same person is left
out.

What to know of the data:
    Three scanners, of 1.5 T (Guys, IOP) and 3 T (HH, Hammersmith): the hospital is in the file's name, and is the site.
    The authors' table is a spreadsheet; save it as IXI.csv for sex and age. Some persons have two rows, some no age.

References:
    brain-development.org, "IXI dataset".
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.splits import part_of
from upd_zoo.sources.tables import read_table
from upd_zoo.stores.places import Part, StoreName

SHARES: Final = {Part.TRAIN: 0.85, Part.VALIDATION: 0.15}
"""How the subjects are divided."""
SALT: Final = "upd-zoo/ixi"

_CONTRASTS: Final = {"ixi-t1": "T1", "ixi-t2": "T2"}
_TABLE: Final = "IXI.csv"
_ID, _AGE, _SEXES = "IXI_ID", "AGE", ("SEX", "SEX_ID (1=m, 2=f)")
_SEX_OF: Final = {"1": "M", "2": "F", "M": "M", "F": "F"}
_ORIGIN: Final = (
    "get IXI-T1.tar and IXI-T2.tar from brain-development.org/ixi-dataset, and unpack each into its own folder"
)
_EXPECTED: Final = ("**/IXI*-T1.nii.gz",)


class _Person(NamedTuple):
    """What the table says of a person."""

    sex: str = ""
    age: int | None = None


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    people = dict(_people(root))
    guides = _files(root, "T1")
    wanted = _files(root, _CONTRASTS[store.target])
    return {
        file: Scan(
            subject,
            file,
            guide="" if file == guides[subject] else guides[subject],
            site=_hospital(subject),
            **people.get(_number(subject), _Person())._asdict(),
        )
        for subject, file in wanted.items()
        if subject in guides and part_of(subject, SHARES, SALT) is store.part
    }


def _files(root: Path, contrast: str) -> dict[str, str]:
    """Return the scan of every subject in one contrast, ordered by name."""
    suffix = f"-{contrast}.nii.gz"
    paths = sorted([*root.glob(f"IXI-{contrast}/IXI*{suffix}"), *root.glob(f"IXI*{suffix}")])
    return {path.name.removesuffix(suffix): path.relative_to(root).as_posix() for path in paths}


def _hospital(name: str) -> str:
    """Return the hospital in a subject's name, `HH` of `IXI012-HH-1211`; nothing where it has another form."""
    parts = name.split("-")
    return parts[1] if len(parts) == 3 else ""


def _number(name: str) -> str:
    """Return the digits by which table and files know a person, `012` of `IXI012-HH-1211` or of `12`."""
    return name.removeprefix("IXI").partition("-")[0].zfill(3)


def _people(root: Path) -> Iterator[tuple[str, _Person]]:
    if not (root / _TABLE).is_file():
        return
    for row in read_table(root / _TABLE, (_ID,), _ORIGIN):
        sex = next((row[column] for column in _SEXES if column in row), "")
        yield _number(row[_ID]), _Person(_SEX_OF.get(sex, ""), _years(row.get(_AGE, "")))


def _years(text: str) -> int | None:
    whole = text.partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and 0 < int(whole) < 120 else None


IXI: Final = BrainSource(
    "ixi", "IXI", tuple(_CONTRASTS), "open data: IXI", origin=_ORIGIN, expected=_EXPECTED, scans=_scans
)
