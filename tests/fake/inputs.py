"""Files that a user may hand in, whole and broken, and what a run makes of them."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

Volume = npt.NDArray[np.float32]


def head(seed: int, shape: tuple[int, int, int] = (24, 28, 12)) -> Volume:
    """Return (X, Y, Z) float32: an ellipsoid of smooth tissue of random brightness in a black background."""
    generator = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < generator.uniform(0.5, 0.8)
    tissue = 100 + 30 * np.cos(sum(rate * axis for rate, axis in zip(generator.uniform(-4, 4, 3), grid, strict=True)))
    return np.where(inside, tissue, 0).astype(np.float32)


def write_volume(path: Path, volume: npt.NDArray[Any], affine: npt.NDArray[np.float64] | None = None) -> Path:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.Nifti1Image if max(volume.shape) < 1 << 15 else nib.Nifti2Image
    nib.save(kind(volume, np.eye(4) if affine is None else affine), path)
    return path


def write_picture(path: Path, seed: int, *, colour: bool = True, size: tuple[int, int] = (40, 60)) -> Path:
    """Write a photograph of smooth random patches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(40, 220, (4, 4, 3) if colour else (4, 4), np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return path


def rows_of(output: Path, name: str = "results.jsonl") -> list[dict[str, Any]]:
    """Return the rows of a run, having refused NaN and infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = (output / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def map_of(output: Path, row: dict[str, Any]) -> npt.NDArray[Any]:
    """Return the map that a row names, as stored."""
    path = output / row["outputs"]["map"]
    return np.asarray(tifffile.imread(path) if path.suffix == ".tif" else nib.load(path).dataobj)


def write_broken(folder: Path) -> dict[str, str]:
    """Write one file of every kind that cannot be scored; return the expected error code by name."""
    good = write_volume(folder / "bit-flipped.nii.gz", head(1)).read_bytes()
    (folder / "truncated.nii.gz").write_bytes(good[: len(good) // 2])
    middle = len(good) // 2
    (folder / "bit-flipped.nii.gz").write_bytes(good[:middle] + bytes([good[middle] ^ 16]) + good[middle + 1 :])
    spoilt = head(2)
    spoilt[12, 14, 6] = np.nan
    write_volume(folder / "nan.nii.gz", spoilt)
    (folder / "unreadable.nii").write_bytes(b"these are letters" * 40)
    (folder / "missing.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    write_volume(folder / "bomb.nii.gz", np.arange(40_000, dtype=np.uint16).reshape(1, 1, -1))
    write_volume(folder / "four-d.nii.gz", np.zeros((4, 4, 4, 3), np.float32))
    write_picture(folder / "colour.png", 3)
    return {
        "bit-flipped.nii.gz": "corrupt",
        "bomb.nii.gz": "too-large",
        "colour.png": "channels",
        "four-d.nii.gz": "unsupported",
        "missing.nii.gz": "missing",
        "nan.nii.gz": "not-finite",
        "truncated.nii.gz": "truncated",
        "unreadable.nii": "corrupt",
    }
