"""A look-alike of CamCAN: BIDS as its archive unpacks, with heads around the MNI152 brain.

python tests/fake/camcan.py FOLDER
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from fake.heads import Head, head, save

SUBJECTS = ("sub-CC110033", "sub-CC110037")
_FOLDER = "cc700/mri/pipeline/release004/BIDS_20190411/anat"


def write_camcan(root: Path, heads: Mapping[str, Head] | None = None) -> Path:
    """Write T1 and T2 scans of some subjects, and the table of persons with a row for the first."""
    chosen = {name: head(seed) for seed, name in enumerate(SUBJECTS)} if heads is None else heads
    for name, each in chosen.items():
        for contrast, data in {"T1w": each.data, "T2w": (1000 - each.data) * (each.data > 30)}.items():
            save(root / _FOLDER / name / "anat" / f"{name}_{contrast}.nii.gz", data, each.affine, "RAS")
    rows = ["participant_id\tage\thand\tgender_code\tgender_text", "CC110033\t24.5\t98\t1\tMALE"]
    (root / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


if __name__ == "__main__":
    write_camcan(Path(sys.argv[1]))
