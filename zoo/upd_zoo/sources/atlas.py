"""ATLAS: strokes from many hospitals, T1, whole heads, lesions outlined by hand; releases R2.0 and 1.2.

    R2.0   Training/R001/sub-r001s001/ses-1/anat/…_T1w.nii.gz and …_desc-T1lesion_mask.nii.gz    at any depth
    1.2    Site1/031768/t01/031768_t1w_deface_stx.nii.gz and 031768_LesionSmooth_stx.nii.gz      at any depth

In release 1.2 a person may have several masks (`…_LesionSmooth_1_stx.nii.gz`); a voxel is pathological in any of them.
Every patient is ill, and every slice without a lesion counts as healthy.

The study takes the first nine tenths of the scans in the order of names and keeps the rest for choosing thresholds; the
sound store takes all.

What to know of the data:
    The study counts 220 scans, as release 1.2 has; its numbers of slices fit the 655 of R2.0.
    Values below 0.1 are fuzz that resampling left.

References:
    Liew et al., "A large, curated, open-source stroke neuroimaging dataset", Scientific Data 9, 2022. cards/study.md,
    section 5.1. The layout of 1.2 comes from documents and was never seen by this reader.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from upd_zoo.brains.scans import Scan
from upd_zoo.sources.of_brains import BrainSource
from upd_zoo.sources.splits import cut
from upd_zoo.stores.places import StoreName
from upd_zoo.vocabulary import Protocol

STUDY_PERCENT: Final = 90
"""Share of the scans that the study tests on."""

_SCANS: Final = {"**/anat/sub-*T1w.nii.gz": "*lesion_mask.nii.gz", "**/*_t1w*_stx.nii.gz": "*_LesionSmooth*_stx.nii.gz"}
"""What scans of each release are called, and the masks beside them."""
_SITE: Final = re.compile(r"R\d+|Site\d+")
"""Folder of a hospital, in each release."""
_ORIGIN: Final = "apply at fcon_1000.projects.nitrc.org/indi/retro/atlas.html and decrypt the archive"
_EXPECTED: Final = ("**/*[tT]1w*.nii.gz",)


def _scans(store: StoreName, root: Path) -> Mapping[str, Scan]:
    found = [_scan(path, masks, root) for pattern, masks in _SCANS.items() for path in sorted(root.glob(pattern))]
    chosen = cut(found, STUDY_PERCENT)[0] if store.protocol is Protocol.STUDY else found
    return {scan.image: scan for scan in chosen}


def _scan(path: Path, masks: str, root: Path) -> Scan:
    """Return a scan; a mask that is not there is looked for, in vain, under the name that all masks have."""
    beside = [mask.relative_to(root).as_posix() for mask in sorted(path.parent.glob(masks))]
    missing = path.with_name(masks.replace("*", "")).relative_to(root).as_posix()
    subject = path.name.removesuffix(".nii.gz").partition("_")[0]
    site = next((part for part in path.relative_to(root).parts[:-1] if _SITE.fullmatch(part)), "")
    return Scan(subject, path.relative_to(root).as_posix(), masks=tuple(beside or [missing]), site=site)


ATLAS: Final = BrainSource("atlas", "ATLAS", ("atlas",), "ATLAS", origin=_ORIGIN, expected=_EXPECTED, scans=_scans)
