"""A look-alike of CheXpert: its folders, its names, its table, with grey noise for chests.

python tests/fake/chexpert.py FOLDER
"""

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SMALL, FULL = "CheXpert-v1.0-small", "CheXpert-v1.0"
OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
HEADER = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS))
HEALTHY = {"No Finding": 1}
TESTS = {
    "chexpert-effusion": {"Pleural Effusion": 1},
    "chexpert-opacity": {"Lung Opacity": 1},
    "chexpert-enlarged": {"Enlarged Cardiomediastinum": 1},
}
HEIGHT, WIDTH = 16, 20


@dataclass(frozen=True)
class Film:
    """A row of the table: by default a healthy woman, AP."""

    patient: int
    observations: Mapping[str, int] = field(default_factory=lambda: HEALTHY)
    sex: str = "Female"
    age: str = "60"
    plane: str = "Frontal"
    view: str = "AP"
    study: int = 1

    @property
    def name(self) -> str:
        """Its file, relative to the release's folder."""
        return f"train/patient{self.patient:05}/study{self.study}/view1_{self.plane.lower()}.jpg"

    def line(self, release: str) -> str:
        """Return its row."""
        values = (f"{self.observations[name]:.1f}" if name in self.observations else "" for name in OBSERVATIONS)
        return ",".join((f"{release}/{self.name}", self.sex, self.age, self.plane, self.view, *values))


def people(counts: Mapping[str, int], observations: Mapping[str, int] = HEALTHY, first: int = 1) -> Iterator[Film]:
    """Yield films of so many people of each sex, women and men in turns as long as there are both."""
    left, patient = dict(counts), first
    while any(left.values()):
        for sex in left:
            if left[sex]:
                yield Film(patient, observations, sex)
                left[sex], patient = left[sex] - 1, patient + 1


def release_of(normals: Mapping[str, int], anomalies: Mapping[str, int]) -> list[Film]:
    """Return films of so many healthy people of each sex, and so many with each of the three observations."""
    films = list(people(normals))
    for observations in TESTS.values():
        films += people(anomalies, observations, first=1 + len(films))
    return films


def write_table(root: Path, films: Iterable[Film]) -> Path:
    """Write the table, and the folder without its images, and return the release's folder, named like the release."""
    (root / "train").mkdir(parents=True, exist_ok=True)
    lines = [HEADER, *(film.line(root.name) for film in films)]
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_chexpert(root: Path, films: Iterable[Film]) -> Path:
    """Write a look-alike and return its folder, which is called as the release: `SMALL` or `FULL`."""
    rows = list(films)
    pictures = [_picture(seed) for seed in range(8)]
    for film in rows:
        path = root / film.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[film.patient % len(pictures)])
    return write_table(root, rows)


def _picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


if __name__ == "__main__":
    write_chexpert(Path(sys.argv[1]) / SMALL, release_of({"Female": 300, "Male": 300}, {"Female": 100, "Male": 100}))
