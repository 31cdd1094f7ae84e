"""Pictures of prepared brains: three cuts of each, and what was found in scans without a plausible brain."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from upd_zoo.brains.grid import Bools, Floats, resample
from upd_zoo.brains.scans import Brain, Scan, guide_of
from upd_zoo.brains.shapes import erosion
from upd_zoo.brains.template import Template
from upd_zoo.stores.store import Store

_SIDE: Final = 84
_LABEL: Final = 12
_ACROSS: Final = 6
_OUTLINE: Final = (255, 60, 60)

Pixels = npt.NDArray[np.uint8]
Voxel = TypeVar("Voxel", np.uint8, np.bool_)


def picture_of(scan: Scan, root: Path, brain: Brain) -> Image.Image:
    """Return three cuts through a scan, with the outline of what was taken for its brain."""
    guide = guide_of(scan, root)
    head = resample(guide.data, guide.affine, brain.grid)
    mask = brain.found.mask
    border = mask & ~erosion(mask, 1)
    grey = _bytes(head, float(np.percentile(head, 99.5)))
    return _tile(scan.subject, [_outlined(cut, edge) for cut, edge in zip(_cuts(grey), _cuts(border), strict=True)], 3)


def contact_sheet(stores: Sequence[Store], template: Template, failed: Iterable[Path] = ()) -> Image.Image:
    """Return a sheet with three cuts of every subject of some stores, and with pictures of what failed after them.

    Brightness is that of each brain, up to what one voxel in a hundred exceeds.
    """
    tiles = [_tile(name, list(_cuts(_lit(brain, template))), 1) for store in stores for name, brain in _subjects(store)]
    tiles += [_fitting(Image.open(path).convert("RGB"), tiles[0].size) for path in failed]
    width, height = tiles[0].size
    lines = -(-len(tiles) // _ACROSS)
    sheet = Image.new("RGB", (width * min(len(tiles), _ACROSS), height * lines))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (width * (number % _ACROSS), height * (number // _ACROSS)))
    return sheet


def _subjects(store: Store) -> Iterator[tuple[str, Floats]]:
    """Yield every subject's brain (X, Y, Z) as its slices show it, axes to right, anterior and superior."""
    names = np.array(store.subjects)
    for name in dict.fromkeys(store.subjects):
        slices = np.array(store.images[np.flatnonzero(names == name)])[:, 0]
        yield name, slices.transpose(2, 1, 0)[::-1, ::-1]


def _lit(brain: Floats, template: Template) -> Pixels:
    """Return a brain as bytes, its slices thinned until they lie as far apart as their pixels."""
    sizes = np.linalg.norm(template.grid.affine[:3, :3], axis=0)
    pixel = max(template.grid.shape[axis] * sizes[axis] for axis in (0, 1)) / brain.shape[0]
    every = np.arange(0, brain.shape[2], pixel / sizes[2]).astype(int)
    return _bytes(brain[:, :, every], float(np.percentile(brain[brain > 0], 99)))


def _cuts(brain: npt.NDArray[Voxel]) -> Iterator[npt.NDArray[Voxel]]:
    """Yield an axial, a coronal and a sagittal cut through the middle of (X, Y, Z), superior or anterior up."""
    x, y, z = (length // 2 for length in brain.shape)
    for cut in (brain[:, :, z + brain.shape[2] // 10], brain[:, y], brain[x]):
        yield np.ascontiguousarray(cut.T[::-1])


def _bytes(brain: Floats, highest: float) -> Pixels:
    return np.asarray(np.clip(brain / max(highest, 1e-6), 0, 1) * 255, np.uint8)


def _outlined(cut: Pixels, edge: Bools) -> Pixels:
    coloured = np.stack([cut] * 3, axis=-1)
    coloured[edge] = _OUTLINE
    return coloured


def _tile(label: str, cuts: Sequence[Pixels], enlarged: int) -> Image.Image:
    side = _SIDE * enlarged
    tile = Image.new("RGB", (side * len(cuts), side + _LABEL))
    ImageDraw.Draw(tile).text((2, 0), label, fill="white")
    for number, cut in enumerate(cuts):
        tile.paste(_fitting(Image.fromarray(cut), (side, side)), (side * number, _LABEL))
    return tile


def _fitting(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture as large as fits into a size, in its middle."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    small = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    room = Image.new("RGB", size)
    room.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return room
