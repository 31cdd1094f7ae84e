"""Look-alikes of ATLAS R2.0 and 1.2: their folders and names, with strokes in heads around the MNI152 brain.

python tests/fake/atlas.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from fake.heads import head, save


def write_atlas(root: Path, subjects: int = 2, release: str = "R2.0") -> Path:
    """Write subjects of a release; in 1.2 the first has two masks."""
    for number in range(1, subjects + 1):
        each = head(number)
        places = np.argwhere(each.brain).mean(axis=0).astype(int)
        strokes = [np.zeros(each.brain.shape, np.float32) for _ in range(2)]
        for stroke, aside in zip(strokes, (8, -12), strict=True):
            stroke[places[0] + aside : places[0] + aside + 4, places[1] : places[1] + 4, places[2] : places[2] + 4] = 1
        data = np.where(strokes[0] + strokes[1] > 0, 0.4 * each.data, each.data)
        if release == "R2.0":
            name = f"sub-r001s{number:03}_ses-1_space-MNI152NLin2009aSym"
            folder = root / "ATLAS_2" / "Training" / "R001" / f"sub-r001s{number:03}" / "ses-1" / "anat"
            save(folder / f"{name}_T1w.nii.gz", data, each.affine, "RAS")
            save(folder / f"{name}_label-L_desc-T1lesion_mask.nii.gz", strokes[0], each.affine, "RAS")
        else:
            name, folder = f"{31767 + number:06}", root / "Site1" / f"{31767 + number:06}" / "t01"
            save(folder / f"{name}_t1w_deface_stx.nii.gz", data, each.affine, "RAS")
            for stroke, suffix in zip(strokes, ("", "_1") if number == 1 else ("",), strict=False):
                save(folder / f"{name}_LesionSmooth{suffix}_stx.nii.gz", 255 * stroke, each.affine, "RAS")
    return root


if __name__ == "__main__":
    write_atlas(Path(sys.argv[1]))
