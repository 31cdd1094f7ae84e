"""Medical Segmentation Decathlon, Task01: gliomas of BraTS 2016 and 2017, four contrasts in one file, skull-stripped.

    imagesTr/BRATS_001.nii.gz    (240, 240, 155, 4): FLAIR, T1, T1 with contrast agent, T2
    labelsTr/BRATS_001.nii.gz    0 healthy, 1 oedema, 2 and 3 tumour

Every patient is ill, and every slice without a label counts as healthy. Both test sets are for models that learn from
IXI. `imagesTs` has no labels and is not used; `._BRATS_001.nii.gz` and the like, which the archive holds, show nothing.

What to know of the data:
    The archive is the open stand-in for BraTS 2020, with which it shares patients: never use one to tune for the other.

References:
    Antonelli et al., "The Medical Segmentation Decathlon", Nature Communications 13, 2022.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.stores.places import StoreName

_T1: Final = 1
_CONTRASTS: Final = {"msd-brats-t1": _T1, "msd-brats-t2": 3}
"""Place of each contrast in a file."""
_IMAGES: Final = "imagesTr/BRATS_*.nii.gz"
_ORIGIN: Final = "get Task01_BrainTumour.tar from medicaldecathlon.com"
_EXPECTED: Final = (_IMAGES, "labelsTr/BRATS_*.nii.gz")


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    part = _CONTRASTS[store.target]
    return {f"imagesTr/{path.name}": _scan(path.name, part) for path in sorted(root.glob(_IMAGES))}


def _scan(name: str, part: int) -> Scan:
    image, guide = f"imagesTr/{name}", "" if part == _T1 else f"imagesTr/{name}"
    subject, labels = name.removesuffix(".nii.gz"), (f"labelsTr/{name}",)
    return Scan(subject, image, guide, labels, part=part, guide_part=_T1 if guide else None, stripped=True)


MSD_BRATS: Final = BrainSource(
    "msd-brats",
    "MSD-Task01",
    tuple(_CONTRASTS),
    "open data: Medical Segmentation Decathlon, Task01",
    origin=_ORIGIN,
    expected=_EXPECTED,
    scans=_scans,
)
