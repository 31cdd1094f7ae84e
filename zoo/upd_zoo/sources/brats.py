"""BraTS 2020: gliomas from many hospitals, four contrasts, skull-stripped, in the space of SRI24.

    BraTS20_Training_001/BraTS20_Training_001_{t1,t1ce,t2,flair,seg}.nii      also .nii.gz, at any depth

Labels 1, 2 and 4 are all pathological. The mask of case 355 is called `W39_1998.09.19_Segm.nii` in the release, and is
read under either name. Every patient is ill, and every slice without a label counts as healthy.

The study keeps the last tenth of the cases for choosing thresholds, in whatever order the file system had them; its own
store here takes the first nine tenths in the order of names. The sound store takes all.

What to know of the data:
    The study counts 371 scans: the folder has 369 cases and two tables.

References:
    Menze et al., "The Multimodal Brain Tumor Image Segmentation Benchmark", IEEE Transactions on Medical Imaging 34,
    2015; Bakas et al., Scientific Data 4, 2017. cards/study.md, section 5.1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.splits import cut
from upd_zoo.stores.places import StoreName
from upd_zoo.vocabulary import Protocol

STUDY_PERCENT: Final = 90
"""Share of the cases that the study tests on."""

_CONTRASTS: Final = {"brats-t1": "t1", "brats-t2": "t2"}
_CASES: Final = "**/BraTS20_Training_*"
_MISNAMED: Final = "*_Segm"
_ORIGIN: Final = "register at med.upenn.edu/cbica/brats2020 and get the training data"
_EXPECTED: Final = ("**/BraTS20_Training_*/*_t1.nii*", "**/BraTS20_Training_*/*_t2.nii*")


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    cases = sorted((path for path in root.glob(_CASES) if path.is_dir()), key=lambda path: path.name)
    if store.protocol is Protocol.STUDY:
        cases = list(cut(cases, STUDY_PERCENT)[0])
    scans = [_scan(case, root, _CONTRASTS[store.target]) for case in cases]
    return {scan.image: scan for scan in scans}


def _scan(case: Path, root: Path, contrast: str) -> Scan:
    image, guide = _file(case, root, contrast), "" if contrast == "t1" else _file(case, root, "t1")
    return Scan(case.name, image, guide, (_file(case, root, "seg"),), stripped=True)


def _file(case: Path, root: Path, kind: str) -> str:
    """Return the file of a kind; one that is there under none of its names is looked for, in vain, under the first."""
    name = f"{case.name}_{kind}"
    misnamed = sorted(case.glob(f"{_MISNAMED}.nii*")) if kind == "seg" else []
    found = [path for path in (case / f"{name}.nii", case / f"{name}.nii.gz", *misnamed) if path.is_file()]
    return (found or [case / f"{name}.nii"])[0].relative_to(root).as_posix()


BRATS: Final = BrainSource(
    "brats", "BraTS-2020", tuple(_CONTRASTS), "BraTS 2020", origin=_ORIGIN, expected=_EXPECTED, scans=_scans
)
