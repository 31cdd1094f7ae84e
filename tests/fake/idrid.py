"""A look-alike of IDRiD: its folders, its names and their quirks, with coloured discs for eyes.

python tests/fake/idrid.py FOLDER
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGES_A = "A. Segmentation/1. Original Images"
MASKS_A = "A. Segmentation/2. All Segmentation Groundtruths"
IMAGES_B = "B. Disease Grading/1. Original Images"
GRADES_B = "B. Disease Grading/2. Groundtruths"
TRAINING, TESTING = "a. Training Set", "b. Testing Set"
GRADE_FILES = {
    TRAINING: "a. IDRiD_Disease Grading_Training Labels.csv",
    TESTING: "b. IDRiD_Disease Grading_Testing Labels.csv",
}
MASK_KINDS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}
HEIGHT, WIDTH = 100, 150
_LESION_PLACES = {"MA": (30, 60), "HE": (60, 60), "EX": (30, 90), "SE": (60, 90), "OD": (45, 30)}

Bits = npt.NDArray[np.bool_]


def write_idrid(
    root: Path,
    grades: Sequence[int] = (0, 0, 2, 0, 0, 0, 4, 0, 0, 1) * 2,
    lesions: Sequence[Sequence[str]] = (("MA", "HE", "EX", "OD"), ("MA", "SE"), ("EX", "OD")),
    testing_grades: Sequence[int] = (),
    testing_lesions: Sequence[Sequence[str]] = (),
) -> Path:
    """Write a look-alike and return its folder.

    Args:
        root: Where it will be.
        grades: Grade of each photograph of Part B, training set; by default there are healthy ones for every part.
        lesions: Kinds of mask of each photograph of Part A, training set.
        testing_grades: Of the testing set, which only the full release has.
        testing_lesions: Likewise.
    """
    _write_graded(root, TRAINING, grades)
    _write_outlined(root, TRAINING, lesions, first=1, palette=False)
    if testing_grades:
        _write_graded(root, TESTING, testing_grades)
    if testing_lesions:
        _write_outlined(root, TESTING, testing_lesions, first=1 + len(lesions), palette=True)
    return root


def lesion(kind: str) -> Bits:
    """Return (HEIGHT, WIDTH) bool, the square in which lesions of a kind are put."""
    row, column = _LESION_PLACES[kind]
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[row : row + 12, column : column + 12] = True
    return mask


def write_mask(path: Path, mask: Bits, *, palette: bool = False) -> None:
    """Write a mask: single bits as in the reduced set, or the palette entries 0 and 76 of the full release."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not palette:
        Image.fromarray(mask).save(path, compression="tiff_deflate")
        return
    picture = Image.fromarray((mask * 76).astype(np.uint8)).convert("P")
    picture.putpalette([channel for entry in range(256) for channel in (255 if entry == 76 else 0, 0, 0)])
    picture.save(path)


def _write_graded(root: Path, folder: str, grades: Sequence[int]) -> None:
    lines = ["Image name,Retinopathy grade,Risk of macular edema ,,,,,,,,,"]
    for number, grade in enumerate(grades, start=1):  # both sets count from 1
        _write_photo(root / IMAGES_B / folder / f"IDRiD_{number:03}.jpg", (len(folder), number))
        lines.append(f"IDRiD_{number:03},{grade},0,,,,,,,,,")
    lines.append(",,,,,,,,,,,")
    (root / GRADES_B).mkdir(parents=True, exist_ok=True)
    (root / GRADES_B / GRADE_FILES[folder]).write_text("\r\n".join(lines), encoding="utf-8", newline="")


def _write_outlined(root: Path, folder: str, lesions: Sequence[Sequence[str]], first: int, *, palette: bool) -> None:
    for number, kinds in enumerate(lesions, start=first):
        name = f"IDRiD_{number:02}"
        _write_photo(root / IMAGES_A / folder / f"{name}.jpg", (1, number))
        for kind in kinds:
            path = root / MASKS_A / folder / MASK_KINDS[kind] / f"{name}_{kind}.tif"
            write_mask(path, lesion(kind), palette=palette)


def _write_photo(path: Path, seed: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    eye = (rows - HEIGHT / 2) ** 2 + (columns - WIDTH / 2) ** 2 < (0.48 * WIDTH) ** 2
    colour = np.random.default_rng(seed).integers(60, 220, 3)
    Image.fromarray((eye[..., None] * colour).astype(np.uint8)).save(path, quality=95)


if __name__ == "__main__":
    write_idrid(Path(sys.argv[1]))
