"""One picture, stored in every way that keeps its values, has one score, and one map that lies over it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fake.containers import exif, interlaced_png, pillow, png, png_chunk, tiff
from fake.inputs import map_of, rows_of
from upd_harness.scoring.folder import score_folder
from upd_harness.scoring.settings import Settings
from upd_zoo.runtime.model import Model

Pixels = npt.NDArray[np.uint8]
Scored = dict[str, tuple[float, npt.NDArray[Any]]]
HEIGHT, WIDTH = 150, 190


def picture(channels: int) -> Pixels:
    """Return (H, W) or (H, W, channels): smooth patches of few values within a black border."""
    coarse = np.random.default_rng(3).integers(60, 256, (6, 7, channels), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse.squeeze()).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) // 6 * 6
    smooth[:9], smooth[:, -14:] = 0, 0
    smooth[60:70, 40:52] = 255
    return np.asarray(smooth, np.uint8)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return the rows and columns that a camera stores which notes this orientation."""
    method = {3: 2, 6: 1, 8: 3}[orientation]
    return np.ascontiguousarray(np.rot90(pixels, method))


def wide(pixels: Pixels) -> npt.NDArray[np.uint16]:
    return pixels.astype(np.uint16) * 257


def opaque(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.dstack((pixels, np.full((HEIGHT, WIDTH), np.iinfo(pixels.dtype).max, pixels.dtype)))


def jpeg_turned(pixels: Pixels) -> bytes:
    """Return a JPEG that is stored on its side."""
    return pillow(turned(pixels, 6), "JPEG", exif=exif(6), quality=95)


def upright(jpeg: bytes) -> Pixels:
    """Return the pixels of a turned JPEG, upright, as another decoder reads them."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return np.ascontiguousarray(np.rot90(np.asarray(image), -1))


def png_turned(pixels: Pixels, orientation: int) -> bytes:
    chunk = png_chunk(b"eXIf", exif(orientation).tobytes()[6:])
    return png(turned(pixels, orientation), 0 if pixels.ndim == 2 else 2, 8, chunk)


def palette(pixels: Pixels) -> bytes:
    """Return a PNG of a palette of the colours that the picture has."""
    colours, indices = np.unique(pixels.reshape(HEIGHT * WIDTH, -1), axis=0, return_inverse=True)
    entries = np.repeat(colours, 3 // colours.shape[1], axis=1)
    assert len(colours) <= 256
    chunk = png_chunk(b"PLTE", entries.tobytes())
    return png(indices.reshape(HEIGHT, WIDTH), 3, 8, chunk)


COLOUR_WAYS: dict[str, Callable[[Pixels], bytes]] = {
    "plain.png": pillow,
    "interlaced.png": interlaced_png,
    "opaque.png": lambda p: pillow(opaque(p)),
    "text.png": lambda p: png(p, 2 if p.ndim == 3 else 0, 8, png_chunk(b"tEXt", b"Comment\0none")),
    "sixteen.png": lambda p: png(wide(p), 2 if p.ndim == 3 else 0),
    "sixteen-opaque.png": lambda p: png(opaque(wide(p)), 6 if p.ndim == 3 else 4),
    "significant.png": lambda p: png(wide(p), 2 if p.ndim == 3 else 0, 16, png_chunk(b"sBIT", b"\x10" * p[0, 0].size)),
    "behind.png": lambda p: pillow(p) + b"a preview",
    "on-its-side.png": lambda p: png_turned(p, 6),
    "upside-down.png": lambda p: png_turned(p, 3),
    "stored.tif": lambda p: pillow(p, "TIFF"),
    "big-endian.tif": lambda p: tiff(p, byteorder=">", photometric="rgb" if p.ndim == 3 else "minisblack"),
    "sixteen.tif": lambda p: tiff(wide(p), byteorder=">", photometric="rgb" if p.ndim == 3 else "minisblack"),
    "deflated.tif": lambda p: tiff(p, compression="zlib", rowsperstrip=7, photometric=None),
    "tiled.tif": lambda p: tiff(p, compression="zlib", tile=(32, 48), photometric="rgb" if p.ndim == 3 else None),
    "lzw.tif": lambda p: pillow(p, "TIFF", compression="tiff_lzw"),
    "packbits.tif": lambda p: pillow(p, "TIFF", compression="packbits"),
    "floats.tif": lambda p: tiff((p / 255).astype(np.float32), photometric="rgb" if p.ndim == 3 else "minisblack"),
    "on-its-side.tif": lambda p: pillow(turned(p, 8), "TIFF", tiffinfo={274: 8}),
}
GREY_WAYS = COLOUR_WAYS | {
    "in-colour.png": lambda p: pillow(np.dstack([p] * 3)),
    "palette.png": palette,
    "dark-on-light.tif": lambda p: tiff(255 - p, photometric="miniswhite"),
    "planes.tif": lambda p: tiff(np.stack([p] * 3), photometric="rgb", planarconfig="separate"),
}


def scored(model: Model, folder: Path, files: dict[str, bytes]) -> Scored:
    """Write files, score them, and return score and map of each."""
    (folder / "in").mkdir()
    for name, content in files.items():
        (folder / "in" / name).write_bytes(content)
    score_folder(model, folder / "in", folder / "out", Settings(batch_size=7))
    rows = rows_of(folder / "out")
    assert [row["error"] for row in rows] == [None] * len(files)
    return {row["input"]: (row["score"], map_of(folder / "out", row)) for row in rows}


def assert_alike(found: Scored, reference: str, tolerance: float) -> None:
    score, anomaly_map = found[reference]
    assert anomaly_map.shape == (HEIGHT, WIDTH)
    assert np.ptp(anomaly_map[np.isfinite(anomaly_map)]) > 20 * tolerance
    for name, (other, other_map) in found.items():
        assert other == pytest.approx(score, abs=tolerance), name
        np.testing.assert_allclose(other_map, anomaly_map, atol=tolerance, rtol=0, err_msg=name)


def test_a_grey_picture_has_one_score_however_it_is_stored(tmp_path: Path, model: Model) -> None:
    files = {name: store(picture(1)) for name, store in GREY_WAYS.items()}
    assert_alike(scored(model, tmp_path, files), "plain.png", 1e-5)


def test_a_colour_picture_has_one_score_however_it_is_stored(tmp_path: Path, colour_model: Model) -> None:
    files = {name: store(picture(3)) for name, store in COLOUR_WAYS.items()}
    assert_alike(scored(colour_model, tmp_path, files), "plain.png", 1e-5)


def test_a_palette_has_the_score_of_its_colours(tmp_path: Path, colour_model: Model) -> None:
    few = picture(3) // 64 * 64
    files = {"palette.png": palette(few), "plain.png": pillow(few)}
    assert_alike(scored(colour_model, tmp_path, files), "plain.png", 1e-5)


def test_a_jpeg_on_its_side_has_the_score_of_its_pixels(tmp_path: Path, colour_model: Model) -> None:
    content = jpeg_turned(picture(3))
    files = {"turned.jpg": content, "upright.png": pillow(upright(content))}
    assert_alike(scored(colour_model, tmp_path, files), "upright.png", 1e-5)


def test_a_picture_of_8_16_and_of_12_declared_bits_has_one_score(tmp_path: Path, model: Model) -> None:
    pixels = picture(1)
    twelve = np.rint(pixels / 255 * 4095).astype(np.uint16)
    files = {
        "eight.png": pillow(pixels),
        "sixteen.png": png(wide(pixels), 0),
        "twelve.png": png(twelve, 0, 16, png_chunk(b"sBIT", b"\x0c")),
        "twelve.tif": tiff(twelve, extratags=[(281, "H", 1, 4095, True)]),
    }
    assert_alike(scored(model, tmp_path, files), "eight.png", 1e-3)


def test_a_picture_of_12_bits_that_nobody_declares_is_warned_of(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "twelve.png").write_bytes(png(picture(1).astype(np.uint16) * 16, 0))
    score_folder(model, tmp_path / "in", tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert "bits" in {warning["code"] for warning in row["warnings"]}
