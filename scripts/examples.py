"""Choose and reduce the example images of `cards/examples` from folders of open data.

The images are of parts that no model learns from, and were chosen by what is seen on them, before any model had scored
them. Photographs and radiographs are copied byte for byte. Brains are freed of their skulls by `upd_zoo.brains`, seen
on a grid of 3 mm in the space of MNI152, and kept in 32 grey levels.
"""

import gzip
import shutil
from pathlib import Path
from typing import Annotated, Final

import nibabel as nib
import numpy as np
import typer

from upd_harness.cli.app import run_alone
from upd_zoo.brains.grid import resample
from upd_zoo.brains.scans import Scan, prepare_scan
from upd_zoo.brains.template import load_template
from upd_zoo.sources import idrid, ixi, nih
from upd_zoo.sources.splits import part_of
from upd_zoo.stores.places import Part

EXAMPLES: Final = Path(__file__).parents[1] / "cards" / "examples"
_FUNDUS_A: Final = "idrid/A. Segmentation/1. Original Images/a. Training Set"
_FUNDUS_B: Final = "idrid/B. Disease Grading/1. Original Images/a. Training Set"
_COPIED: Final = {
    "fundus/healthy-1.jpg": f"{_FUNDUS_B}/IDRiD_140.jpg",
    "fundus/healthy-2.jpg": f"{_FUNDUS_B}/IDRiD_170.jpg",
    "fundus/diseased-1.jpg": f"{_FUNDUS_A}/IDRiD_03.jpg",
    "fundus/diseased-2.jpg": f"{_FUNDUS_A}/IDRiD_25.jpg",
    "chest/healthy-1.png": "nih_cxr/images/00001280_004.png",
    "chest/healthy-2.png": "nih_cxr/images/00002371_010.png",
    "chest/diseased-1.png": "nih_cxr/images/00002275_018.png",
    "chest/diseased-2.png": "nih_cxr/images/00008154_000.png",
}
_BRAINS: Final = {
    "brain/healthy-1.nii.gz": ("ixi/IXI-T1/{}-T1.nii.gz", "IXI052-HH-1343"),
    "brain/healthy-2.nii.gz": ("ixi/IXI-T1/{}-T1.nii.gz", "IXI275-HH-1803"),
    "brain/diseased-1.nii.gz": ("ms/{}/T1.nii.gz", "patient07"),
    "brain/diseased-2.nii.gz": ("ms/{}/T1.nii.gz", "patient19"),
}
_SPACING: Final = 3.0
"""Millimetres; at 2.5 mm and with 32 grey levels a brain takes 74 kB, and four may take 200."""
_LEVELS: Final = 31


def check_parts() -> None:
    """Refuse an image of a part that models learn from.

    Raises:
        SystemExit: There is one.
    """
    healthy = {name: Path(source).stem for name, source in _COPIED.items() if "healthy" in name}
    parts = {
        "fundus": lambda stem: part_of(f"B/a/{stem}", idrid.SHARES, idrid.SALT),
        "chest": lambda stem: part_of(str(int(stem.partition("_")[0])), nih.SHARES, nih.SALT),
    }
    learnt = [name for name, stem in healthy.items() if parts[name.partition("/")[0]](stem) is not Part.TEST]
    scans = {name: subject for name, (source, subject) in _BRAINS.items() if source.startswith("ixi")}
    learnt += [name for name, subject in scans.items() if part_of(subject, ixi.SHARES, ixi.SALT) is Part.TRAIN]
    if learnt:
        raise SystemExit(f"error: Models learn from {', '.join(learnt)}.")


def write_brain(scan: str, root: Path, target: Path) -> None:
    """Write the brain of a T1 scan: (X, Y, Z) uint8, 0 around it, in the template's space."""
    template = load_template(None)
    found = prepare_scan(Scan(scan, scan, stripped=None), root, template)
    grid = template.grid.coarse(_SPACING)
    seen = resample(found.image, template.grid.affine, grid)
    brightest = float(np.quantile(seen[seen > 0], 0.999))
    levels = np.rint(np.clip(seen / brightest, 0, 1) * _LEVELS).astype(np.uint8)
    content = nib.Nifti1Image(levels, grid.affine).to_bytes()
    target.write_bytes(gzip.compress(content, 9, mtime=0))


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the open data: idrid, nih_cxr, ixi and ms.")],
    out: Annotated[Path, typer.Argument(help="Where the images go.")] = EXAMPLES,
) -> None:
    """Write the example images."""
    check_parts()
    for name, source in _COPIED.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / source, out / name)
    for name, (source, subject) in _BRAINS.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_brain(source.format(subject), data, out / name)
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        print(f"{folder.name}: {sum(path.stat().st_size for path in folder.iterdir())} bytes")


if __name__ == "__main__":
    run_alone(main)
