"""A folder of phantom files, as a hospital might send it: healthy, diseased, and one that a copy cut short."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image
from threadpoolctl import threadpool_limits

from upd_zoo.errors import UsageError, closest
from upd_zoo.files import replacing
from upd_zoo.phantoms.brain import Lesion, Weighting, brain_phantom
from upd_zoo.phantoms.chest import Finding, chest_phantom
from upd_zoo.phantoms.fundus import fundus_phantom

_FIRST_SUBJECT: Final = 3_000_000
"""Beyond the subjects of every prepared store."""
_SIDE: Final = 256
"""Height and width of the photographs, in pixels."""

Writer = Callable[[int, bool, Path], Path]
"""Writes one subject, diseased or not, to a path without suffix; returns the file."""


def write_phantom_files(domain: str, folder: Path, count: int) -> Iterator[Path]:
    """Write files of so many subjects, every second one diseased, then one file cut short; yield each.

    Brains become NIfTI volumes, the others PNG. No subject is in a prepared store.

    Args:
        domain: A synthetic domain.
        folder: Where the files go; names end in `-healthy`, `-diseased` or `-broken`.
        count: Number of whole files.

    Raises:
        UsageError: The domain is not synthetic.
    """
    if domain not in _WRITERS:
        raise UsageError(f"there are no phantoms for '{domain}'", closest(domain, _WRITERS))
    write = _WRITERS[domain]
    with threadpool_limits(1, "blas"):
        for number in range(count):
            kind = "diseased" if number % 2 else "healthy"
            yield write(_FIRST_SUBJECT + number, bool(number % 2), folder / f"subject-{number:02d}-{kind}")
        yield _cut_short(write(_FIRST_SUBJECT + count, False, folder / f"subject-{count:02d}-broken"))


def _cut_short(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _brain(weighting: Weighting, subject: int, diseased: bool, stem: Path) -> Path:
    phantom = brain_phantom(weighting, 0, subject, Lesion.TUMOUR if diseased else None)
    path = stem.with_name(f"{stem.name}.nii.gz")
    with replacing(path) as temporary:
        nib.save(nib.Nifti1Image(np.round(phantom.image * 1000).astype(np.int16), phantom.affine), temporary)
    return path


def _chest(subject: int, diseased: bool, stem: Path) -> Path:
    findings = list(Finding)
    finding = findings[subject // 2 % len(findings)] if diseased else None
    return _png(chest_phantom(0, subject, finding, _SIDE).image, stem)


def _fundus(subject: int, diseased: bool, stem: Path) -> Path:
    return _png(fundus_phantom(0, subject, diseased, _SIDE).image.transpose(1, 2, 0), stem)


def _png(image: npt.NDArray[np.float32], stem: Path) -> Path:
    path = stem.with_name(f"{stem.name}.png")
    with replacing(path) as temporary:
        Image.fromarray(np.round(image * 255).astype(np.uint8)).save(temporary)
    return path


_WRITERS: Final[dict[str, Writer]] = {
    "phantom-t1": partial(_brain, Weighting.T1),
    "phantom-t2": partial(_brain, Weighting.T2),
    "phantom-cxr": _chest,
    "phantom-fundus": _fundus,
}
