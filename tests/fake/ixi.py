"""A look-alike of IXI: its folders and names, its directions, with heads around the MNI152 brain.

python tests/fake/ixi.py FOLDER
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fake.heads import Head, head, save

SUBJECTS = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")
HEADER = "IXI_ID,AGE,SEX"


def write_ixi(
    root: Path,
    heads: Mapping[str, Head] | None = None,
    contrasts: Sequence[str] = ("T1",),
    table: Sequence[str] = (HEADER, "IXI002-Guys-0828,35.80,F", "IXI012-HH-1211,38.78,M"),
) -> Path:
    """Write scans of some subjects, and the table of persons, without a row for the last one."""
    chosen = {name: head(seed) for seed, name in enumerate(SUBJECTS)} if heads is None else heads
    for name, each in chosen.items():
        for contrast in contrasts:
            values = each.data if contrast == "T1" else (1000 - each.data) * (each.data > 30)
            save(root / f"IXI-{contrast}" / f"{name}-{contrast}.nii.gz", values, each.affine)
    (root / "IXI.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    return root


if __name__ == "__main__":
    write_ixi(Path(sys.argv[1]))
