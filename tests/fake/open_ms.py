"""A look-alike of Open MS: its folders and names, with lesions in the MNI152 brain.

python tests/fake/open_ms.py FOLDER
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fake.heads import head, save

PATIENTS = ("patient07", "patient19")


def write_open_ms(root: Path, patients: Sequence[str] = PATIENTS) -> Path:
    """Write patients without skull, with one lesion each."""
    for seed, name in enumerate(patients):
        each = head(seed)
        lesion = np.zeros(each.brain.shape, np.float32)
        middle = [int(place) for place in np.argwhere(each.brain).mean(axis=0)]
        lesion[middle[0] + 6 : middle[0] + 12, middle[1] : middle[1] + 6, middle[2] + 6 : middle[2] + 10] = 1
        lesion *= each.brain
        bright = np.where(lesion > 0, 1200, each.data) * each.brain
        for file, data in (("T1", each.data * each.brain), ("T2", bright), ("lesions", lesion)):
            save(root / name / f"{file}.nii.gz", data, each.affine, "LAS")
    return root


if __name__ == "__main__":
    write_open_ms(Path(sys.argv[1]))
