"""Open MS: patients with multiple sclerosis, three contrasts, lesions outlined by three experts in consensus.

    patient07/T1.nii.gz, T2.nii.gz, lesions.nii.gz                         brought into MNI space, skull taken off
    patient07/patient07_T1W.nii.gz, …_T2W.nii.gz, …_consensus_gt.nii.gz    as the authors give them out, co-registered

Every patient is ill, and every slice without a lesion counts as healthy. There is nothing to train on: both test sets
are for models that learn from IXI.

What to know of the data:
    Lesions are small: of one patient of ours, all together have 1.3 ml.
    Other scanners, other preparation than IXI: only what is compared within a scan means something.

References:
    Lesjak et al., "A Novel Public MR Image Dataset of Multiple Sclerosis Patients With Lesion Segmentations Based on
    Multi-rater Consensus", Neuroinformatics 16, 2018.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.stores.places import StoreName

_CONTRASTS: Final = {"open-ms-t1": "t1", "open-ms-t2": "t2"}
_ORIGIN: Final = "get it from lit.fe.uni-lj.si/tools (3D MR image database of multiple sclerosis patients)"
_EXPECTED: Final = ("patient*",)


class _Layout(NamedTuple):
    """Names of a patient's files; `{}` stands for the name of the folder."""

    t1: str
    t2: str
    lesions: str
    stripped: bool

    def scan(self, folder: Path, root: Path, contrast: str) -> Scan:
        """Return the scan of a patient in one contrast."""
        where = folder.relative_to(root).as_posix()
        names = {key: f"{where}/{getattr(self, key).format(folder.name)}" for key in ("t1", "t2", "lesions")}
        guide = "" if contrast == "t1" else names["t1"]
        return Scan(folder.name, names[contrast], guide, (names["lesions"],), stripped=self.stripped)


_LAYOUTS: Final = (
    _Layout("T1.nii.gz", "T2.nii.gz", "lesions.nii.gz", True),
    _Layout("{}_T1W.nii.gz", "{}_T2W.nii.gz", "{}_consensus_gt.nii.gz", False),
)


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    folders = [path for path in sorted(root.glob("patient*")) if path.is_dir()]
    scans = [_scan(folder, root, _CONTRASTS[store.target]) for folder in folders]
    return {scan.image: scan for scan in scans}


def _scan(folder: Path, root: Path, contrast: str) -> Scan:
    """Return the scan of a patient; files of the first layout are looked for, in vain, where there are none."""
    fitting = [layout for layout in _LAYOUTS if (folder / layout.t1.format(folder.name)).is_file()]
    return (fitting or list(_LAYOUTS))[0].scan(folder, root, contrast)


OPEN_MS: Final = BrainSource(
    "open-ms", "Open-MS", tuple(_CONTRASTS), "open data: Open MS", origin=_ORIGIN, expected=_EXPECTED, scans=_scans
)
