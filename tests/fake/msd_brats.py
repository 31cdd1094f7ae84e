"""A look-alike of the Medical Segmentation Decathlon's Task01: its folders and names, four contrasts in one file.

python tests/fake/msd_brats.py FOLDER
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from fake.tumours import patient

CASES = ("BRATS_001", "BRATS_002")


def write_msd_brats(root: Path, cases: Sequence[str] = CASES) -> Path:
    """Write patients, an image without labels, what a Mac leaves in archives, and the description."""
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(cases):
        each = patient(seed)
        contrasts = np.stack((each.t2, each.t1, each.t1, each.t2), axis=-1)
        nibabel.save(nibabel.Nifti1Image(contrasts, each.affine), root / "imagesTr" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(each.labels, each.affine), root / "labelsTr" / f"{name}.nii.gz")
        (root / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"\0\5\x16\7")
    (root / "imagesTs" / "BRATS_485.nii.gz").write_bytes(b"")
    modality = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    (root / "dataset.json").write_text(json.dumps({"name": "BRATS", "modality": modality}), encoding="utf-8")
    return root


if __name__ == "__main__":
    write_msd_brats(Path(sys.argv[1]))
