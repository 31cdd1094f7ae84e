"""A look-alike of BraTS 2020: its folders and names, the misnamed mask of case 355 among them.

python tests/fake/brats.py FOLDER
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from fake.heads import save
from fake.tumours import patient

MISNAMED = 355
TABLES = ("name_mapping.csv", "survival_info.csv")


def write_brats(root: Path, numbers: Iterable[int] = (1, MISNAMED)) -> Path:
    """Write cases by their numbers, and the two tables that the study counted as scans."""
    training = root / "MICCAI_BraTS2020_TrainingData"
    for number in numbers:
        each, name = patient(number), f"BraTS20_Training_{number:03}"
        contrasts = {"t1": each.t1, "t1ce": each.t1, "t2": each.t2, "flair": each.t2}
        for contrast, data in contrasts.items():
            save(training / name / f"{name}_{contrast}.nii", data, each.affine, "LPS")
        mask = "W39_1998.09.19_Segm" if number == MISNAMED else f"{name}_seg"
        save(training / name / f"{mask}.nii", each.labels * 2, each.affine, "LPS")
    for table in TABLES:
        (training / table).write_text("BraTS_2020_subject_ID\n", encoding="utf-8")
    return root


if __name__ == "__main__":
    write_brats(Path(sys.argv[1]))
