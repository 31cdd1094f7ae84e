"""A look-alike of DDR: its folders, its names and their quirks, with coloured discs for eyes.

python tests/fake/ddr.py FOLDER
"""

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

SPLITS = ("train", "valid", "test")
MASKS = {"train": "label", "valid": "segmentation label", "test": "label"}
KINDS = ("EX", "HE", "MA", "SE")
HEIGHT, WIDTH = 120, 160
_PLACES = {"EX": (30, 60), "HE": (60, 60), "MA": (30, 90), "SE": (60, 90)}

Bits = npt.NDArray[np.bool_]
Grades = Mapping[str, Sequence[int]]


def graded_name(number: int) -> str:
    """Return the name of a graded photograph; names count on over the three splits."""
    return f"007-{number:04}-000"


def outlined_name(number: int) -> str:
    """Return the name of a photograph with masks."""
    return f"20170323{number:09}"


def write_ddr(root: Path, grades: Grades, outlined: Mapping[str, Sequence[Sequence[str]]]) -> Path:
    """Write a look-alike and return its folder.

    Args:
        root: Where it will be.
        grades: Grade of each graded photograph, by split.
        outlined: Kinds of lesion of each photograph with masks, by split; it has a mask of every kind, if an empty one.
    """
    write_tables(root, grades)
    photos = [_photo(seed) for seed in range(8)]
    number = 0
    for split in SPLITS:
        for grade in grades.get(split, ()):
            path = root / "DR_grading" / split / f"{graded_name(number)}.jpg"
            path.write_bytes(photos[(number + grade) % len(photos)])
            number += 1
    number = 0
    for split in SPLITS:
        for kinds in outlined.get(split, ()):
            folder, name = root / "lesion_segmentation" / split, outlined_name(number)
            (folder / "image" / f"{name}.jpg").write_bytes(photos[number % len(photos)])
            for kind in KINDS:
                write_mask(folder / MASKS[split] / kind / f"{name}.tif", lesion(kind) & (kind in kinds))
            number += 1
    return root


def write_tables(root: Path, grades: Grades) -> None:
    """Write the lists of grades, and the folders without photographs."""
    number = 0
    for split in SPLITS:
        (root / "DR_grading" / split).mkdir(parents=True, exist_ok=True)
        (root / "lesion_segmentation" / split / "image").mkdir(parents=True, exist_ok=True)
        names = [graded_name(number + place) for place in range(len(grades.get(split, ())))]
        lines = (f"{name}.jpg {grade}\n" for name, grade in zip(names, grades.get(split, ()), strict=True))
        (root / "DR_grading" / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
        number += len(names)


def lesion(kind: str) -> Bits:
    """Return (HEIGHT, WIDTH) bool, the square in which lesions of a kind are put."""
    row, column = _PLACES[kind]
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[row : row + 12, column : column + 12] = True
    return mask


def write_mask(path: Path, mask: Bits) -> None:
    """Write a mask of 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(path, compression="tiff_deflate")


def _photo(seed: int) -> bytes:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    eye = (rows - HEIGHT / 2) ** 2 + (columns - WIDTH / 2) ** 2 < (0.48 * WIDTH) ** 2
    colour = np.random.default_rng(seed).integers(60, 220, 3)
    stream = io.BytesIO()
    Image.fromarray((eye[..., None] * colour).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


if __name__ == "__main__":
    some = dict.fromkeys(SPLITS, (("EX", "HE"), ("MA",), ("SE", "MA")))
    write_ddr(Path(sys.argv[1]), dict.fromkeys(SPLITS, (0, 0, 0, 2, 0, 0, 5, 1) * 4), some)
