"""What else lies in folders of images: forty files that cannot be scored, each with the reason that it is given."""

import gzip
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from fake.inputs import head, write_picture, write_volume


def write_odd(folder: Path) -> dict[str, str]:
    """Write files that a model of grey brain slices cannot score; return the expected error code by name."""
    folder.mkdir(parents=True, exist_ok=True)
    return _damaged_volumes(folder) | _strange_volumes(folder) | _damaged_pictures(folder) | _strange_pictures(folder)


def write_doubtful(folder: Path) -> dict[str, str]:
    """Write files that the same model scores although they are doubtful; return the expected warning by name."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = head(3)
    hot = volume.copy()
    hot[12, 14, 6] = 9 * hot.max()
    write_volume(folder / "hot.nii.gz", hot)
    write_volume(folder / "tilted.nii.gz", volume, _turned(20))
    write_picture(folder / "slice.png", 4, colour=False)
    grey = np.asarray(Image.open(folder / "slice.png"), np.uint16)
    Image.fromarray(grey * 16).save(folder / "twelve-bits.png")
    (folder / "followed.png").write_bytes((folder / "slice.png").read_bytes() + b"something else")
    return {
        "hot.nii.gz": "outlier",
        "tilted.nii.gz": "tilted",
        "slice.png": "no-geometry",
        "twelve-bits.png": "bits",
        "followed.png": "trailing",
    }


def _turned(degrees: float) -> npt.NDArray[np.float64]:
    """Return an affine turned about the first axis."""
    affine, angle = np.eye(4), np.radians(degrees)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


def _z_scored(volume: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    tissue = volume[volume > 0]
    return np.where(volume > 0, (volume - tissue.mean()) / tissue.std(), 0).astype(np.float32)


def _nifti(data: npt.NDArray[Any], **fields: Any) -> bytes:
    """Return a NIfTI-1 file whose header says something else in some fields."""
    content = bytes(nib.Nifti1Image(data, np.eye(4), dtype=data.dtype).to_bytes())
    header = nib.Nifti1Header(content[:348], "<", check=False)
    for field, value in fields.items():
        header[field] = value
    return bytes(header.binaryblock) + content[348:]


def _damaged_volumes(folder: Path) -> dict[str, str]:
    good = gzip.compress(_nifti(head(1)), mtime=0)
    middle = len(good) // 2
    contents = {
        "truncated.nii.gz": (good[:middle], "truncated"),
        "flipped.nii.gz": (good[:middle] + bytes([good[middle] ^ 16]) + good[middle + 1 :], "corrupt"),
        "trailer.nii.gz": (good[:-8] + bytes(8), "corrupt"),
        "followed.nii.gz": (good + b"something else", "corrupt"),
        "nothing.nii": (b"", "truncated"),
        "header-only.nii": (_nifti(head(1))[:348], "truncated"),
        "half.nii": (_nifti(head(1))[:9000], "truncated"),
        "letters.nii": (b"these are letters" * 40, "corrupt"),
        "page.nii.gz": (b"<!DOCTYPE html><html></html>" * 40, "corrupt"),
    }
    return _written(folder, contents)


def _strange_volumes(folder: Path) -> dict[str, str]:
    volume = head(2)
    hole, infinite, span = volume.copy(), volume.copy(), volume.copy()
    hole[12, 14, 6], infinite[12, 14, 6] = np.nan, np.inf
    span[0, 0, 0], span[-1, -1, -1] = 3e38, -3e38
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    contents = {
        "nan.nii": (_nifti(hole), "not-finite"),
        "infinite.nii": (_nifti(infinite), "not-finite"),
        "constant.nii": (_nifti(np.ones((9, 9, 9), np.float32)), "empty"),
        "complex.nii": (_nifti(volume.astype(np.complex64)), "unsupported"),
        "pair.nii": (_nifti(volume, magic=b"ni1"), "unsupported"),
        "placeless.nii": (_nifti(volume, sform_code=0, qform_code=0), "geometry"),
        "flat.nii": (_nifti(volume, srow_z=(0, 0, 0, 0)), "geometry"),
        "datatype.nii": (_nifti(volume, datatype=77), "corrupt"),
        "inside-out.nii": (_nifti(volume, vox_offset=12), "corrupt"),
        "negative.nii": (_nifti(volume, dim=(3, -24, 28, 12, 1, 1, 1, 1)), "corrupt"),
        "series.nii": (_nifti(np.ones((4, 4, 4, 3), np.float32)), "unsupported"),
        "slice.nii": (_nifti(volume, dim=(2, 24, 28, 1, 1, 1, 1, 1)), "unsupported"),
        "promising.nii": (_nifti(volume, dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)), "too-large"),
        "span.nii": (_nifti(span), "not-finite"),
        "z-scored.nii": (_nifti(_z_scored(volume)), "implausible"),
    }
    write_volume(folder / "turned.nii.gz", volume, _turned(46))
    write_volume(folder / "sheared.nii.gz", volume, sheared)
    write_volume(folder / "needles.nii.gz", volume, np.diag([1e-3, 100, 1, 1]))
    write_volume(folder / "bomb.nii.gz", np.arange(40_000, dtype=np.uint16).reshape(1, 1, -1))
    written = {"sheared.nii.gz": "geometry", "needles.nii.gz": "geometry", "turned.nii.gz": "implausible"}
    return _written(folder, contents) | written | {"bomb.nii.gz": "too-large"}


def _damaged_pictures(folder: Path) -> dict[str, str]:
    png = write_picture(folder / "colour.png", 3).read_bytes()
    grey = write_picture(folder / "cut.jpg", 3, colour=False).read_bytes()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "itself.png").symlink_to(folder / "itself.png")
    os.mkfifo(folder / "pipe.png")
    contents = {
        "half.png": (png[: len(png) // 2], "truncated"),
        "flipped.png": (png[:60] + bytes([png[60] ^ 16]) + png[61:], "corrupt"),
        "letters.png": (b"these are letters" * 40, "corrupt"),
        "nothing.jpg": (b"", "truncated"),
        "cut.jpg": (grey[: len(grey) * 3 // 4], "truncated"),
    }
    links = {"gone.png": "missing", "itself.png": "unreadable", "pipe.png": "unreadable"}
    return _written(folder, contents) | links | {"colour.png": "channels"}


def _strange_pictures(folder: Path) -> dict[str, str]:
    grey = np.tile(np.arange(40, 200, 2, dtype=np.uint8), (80, 1))
    clear = Image.fromarray(np.dstack([grey, np.where(grey > 90, 255, 0).astype(np.uint8)]))
    pictures = {
        "black.png": (Image.fromarray(np.zeros((80, 80), np.uint8)), "empty"),
        "small.png": (Image.fromarray(grey[:6, :8]), "implausible"),
        "dot.png": (Image.fromarray(grey[:1, :1]), "empty"),
        "clear.png": (clear, "unsupported"),
        "cmyk.jpg": (Image.fromarray(grey).convert("CMYK"), "unsupported"),
    }
    for name, (picture, _) in pictures.items():
        picture.save(folder / name)
    Image.fromarray(grey).save(folder / "moving.png", save_all=True, append_images=[Image.fromarray(grey[::-1].copy())])
    tifffile.imwrite(folder / "pages.tif", np.stack([grey, grey]), photometric="minisblack")
    tifffile.imwrite(folder / "big.tif", grey, bigtiff=True)
    tifffile.imwrite(folder / "beyond.tif", grey.astype(np.float32))
    tifffile.imwrite(folder / "nan.tif", np.where(grey > 90, np.nan, 0.5).astype(np.float32))
    contents = {"promising.png": (_promising_png(), "too-large")}
    others = {"moving.png": "unsupported", "pages.tif": "unsupported", "big.tif": "unsupported"}
    others |= {"beyond.tif": "unsupported", "nan.tif": "not-finite"}
    return _written(folder, contents) | {name: code for name, (_, code) in pictures.items()} | others


def _promising_png() -> bytes:
    """Return a small PNG that says that it has 60000 x 60000 pixels in colour."""
    stream = BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def _written(folder: Path, contents: dict[str, tuple[bytes, str]]) -> dict[str, str]:
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return {name: code for name, (_, code) in contents.items()}
