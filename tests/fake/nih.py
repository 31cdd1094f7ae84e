"""A look-alike of NIH ChestX-ray14: its folders, its names, its table, with grey noise for chests.

python tests/fake/nih.py FOLDER
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
TABLE, OLD_TABLE = "Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"
HEIGHT, WIDTH = 20, 16


class Entry(NamedTuple):
    """A row of the table."""

    patient: int
    number: int
    findings: str = "No Finding"
    age: str = "58"
    sex: str = "M"
    view: str = "PA"

    @property
    def name(self) -> str:
        """Its file."""
        return f"{self.patient:08}_{self.number:03}.png"

    @property
    def line(self) -> str:
        """Its row."""
        facts = (self.name, self.findings, self.number, self.patient, self.age, self.sex, self.view)
        return ",".join(map(str, (*facts, 2682, 2749, 0.143, 0.143)))


def population(patients: int = 40) -> list[Entry]:
    """Return three radiographs of each patient; of every second one, that in the middle has findings."""
    findings = ("No Finding", "Effusion|Infiltration", "No Finding")
    return [
        Entry(
            patient,
            number,
            findings[number] if patient % 2 else "No Finding",
            str(20 + patient),
            "FM"[patient // 2 % 2],
            ("PA", "AP")[number % 2],
        )
        for patient in range(1, patients + 1)
        for number in range(3)
    ]


def write_nih(root: Path, entries: Iterable[Entry], folders: int = 0, table: str = TABLE) -> Path:
    """Write a look-alike and return its folder.

    Args:
        root: Where it will be.
        entries: Rows of the table, each with its image.
        folders: Into how many folders `images_001/images`, … the archives were unpacked; 0 for one, `images`.
        table: Name of the table.
    """
    rows = list(entries)
    for number, entry in enumerate(rows):
        place = f"images_{1 + number * folders // len(rows):03}/images" if folders else "images"
        write_image(root / place / entry.name, entry)
    (root / table).write_text("\n".join([HEADER, *(entry.line for entry in rows)]) + "\n", encoding="utf-8")
    return root


def write_image(path: Path, seed: Iterable[object], mode: str = "L") -> None:
    """Write an image whose pixels the numbers of `seed` decide; `RGBA` as a few of the release are stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([number for number in seed if isinstance(number, int)])
    Image.fromarray(generator.integers(0, 256, (HEIGHT, WIDTH), np.uint8)).convert(mode).save(path)


if __name__ == "__main__":
    write_nih(Path(sys.argv[1]), population(), folders=12)
