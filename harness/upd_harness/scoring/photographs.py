"""A photograph in, its map and overlay out: what a model sees of one flat image, and what of it is kept meanwhile.

The decoded photograph is let go as soon as the model's square is cut from it. What stays is a preview for the overlay,
so that a folder of large photographs takes little memory. The map has the photograph's own size all the same; pixels
that the model never looked at are NaN in it, for no number would be true of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from upd_harness.report.overlay import overlay
from upd_harness.scoring.inputs import Input
from upd_zoo.artefact.appearance import levels_of
from upd_zoo.artefact.records import Config
from upd_zoo.caution import Caution, CautionCode
from upd_zoo.files import replacing
from upd_zoo.images.framing import caution_of_coarseness, frame, unframe, window
from upd_zoo.images.gate import read_photograph
from upd_zoo.images.photograph import Photograph, thinned
from upd_zoo.images.taken import channels_taken, check_size
from upd_zoo.runtime.model import Array
from upd_zoo.vocabulary import Framing, Side

_TISSUE: Final = 0.1
"""Of the brightest values: about 20 of 255 in IDRiD, whose healthy photographs have corners of 9 at most."""
_BRIGHTEST: Final = 0.999
_MOST_LOST: Final = 0.12
"""The centre crop takes 9 to 11.5 % of the tissue from each of the 134 healthy photographs of IDRiD, and a model of
them was trained on what is left. Two of all its 467 photographs, both diseased, lose more than this."""
_PREVIEW_SIDE: Final = 1536
"""An overlay with so many pixels along its longer side has twelve for each of a model's 128."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotographCase:
    """A photograph as a model sees it.

    Attributes:
        images: (1, C, H, W) float32 in [0, 1].
        preview: (C, h, w) uint8, the photograph itself, reduced where it is large.
        height: Rows of the photograph.
        width: Columns of the photograph.
        framing: How it became a square.
        cautions: What the user should know.
        levels: How many values or colours it has.
    """

    images: Array
    preview: npt.NDArray[np.uint8]
    height: int
    width: int
    framing: Framing
    cautions: list[Caution]
    levels: int

    @property
    def positions(self) -> list[int]:
        """A photograph is one image, at position 0."""
        return [0]

    @property
    def depth(self) -> int:
        """A photograph is one image."""
        return 1

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""
        return self.images.nbytes + self.preview.nbytes

    def describe(self) -> dict[str, Any]:
        """Return the size of the photograph, for `results.jsonl`."""
        return {"shape": [self.height, self.width], "channels": len(self.preview)}

    def restore(self, maps: Array) -> Array:
        """Return the map at the photograph's own size, (H, W), of its map (1, H, W); NaN where nothing was seen."""
        return unframe(maps[0], self.framing, self.height, self.width)

    def write(self, folder: Path, source: Input, maps: Array, colours: tuple[float, float]) -> None:
        """Write the map as float32 TIFF, and an overlay."""
        with replacing(folder / source.outputs["map"]) as temporary:
            # Level 1 takes half the time of level 6, and the file is as large: 42 MB for twelve million pixels.
            tifffile.imwrite(
                temporary, self.restore(maps), compression="zlib", compressionargs={"level": 1}, metadata=None
            )
        with replacing(folder / source.outputs["overlay"]) as temporary:
            seen = unframe(maps[0], self.framing, *self.preview.shape[1:])
            overlay(self.preview, seen, *colours).save(temporary, compress_level=1)


def open_photograph(path: Path, config: Config) -> PhotographCase:
    """Read a photograph as the model takes it.

    Raises:
        InputError: The file cannot be read, is too small, or is in colour where the model takes grey, or the reverse.
    """
    return photograph_case(read_photograph(path), path.name, config)


def photograph_case(photograph: Photograph, name: str, config: Config) -> PhotographCase:
    """Return a photograph that was read as the model takes it.

    Args:
        photograph: What was read.
        name: How errors call it.
        config: What the model is.

    Raises:
        InputError: It is too small, or is in colour where the model takes grey, or the reverse.
    """
    stored, framing, side = photograph.stored, config.framing, config.input.side
    check_size(stored, side, name)
    taken, cautions = channels_taken(stored, config.input.channels, name)
    if framing is Framing.SQUARE_SLICES:
        cautions.append(_TAKEN_FOR_A_SLICE)
    cautions = [*photograph.cautions, *cautions, *_cropped(stored, framing), *_coarse(stored, framing, side)]
    parts = [_reduced(photograph.channel(number), framing, side) for number in range(taken)]
    images, preview = (np.stack(each) for each in zip(*parts, strict=True))
    _, height, width = stored.shape
    return PhotographCase(images[None], preview, height, width, framing, cautions, levels_of(*stored))


_TAKEN_FOR_A_SLICE: Final = Caution(
    CautionCode.NO_GEOMETRY,
    "a picture without geometry, taken for one axial slice: skull stripped, anterior at the top",
)


def _cropped(stored: npt.NDArray[Any], framing: Framing) -> list[Caution]:
    """Return the caution for an image much of whose tissue lies outside what the model looks at.

    Tissue is what is not as dark as the border around a fundus.
    """
    brightest = thinned(stored.transpose(1, 2, 0)).max(axis=2).astype(np.float32)
    tissue = brightest > _TISSUE * np.quantile(brightest, _BRIGHTEST)
    part = window(framing, *tissue.shape)
    seen = tissue[max(part.top, 0) : part.top + part.height, max(part.left, 0) : part.left + part.width]
    lost = 1 - seen.sum() / max(tissue.sum(), 1)
    if lost <= _MOST_LOST:
        return []
    message = (
        f"The model looks at the central square, and {100 * lost:.0f} % of the tissue lies outside it: striped in the "
        "overlay, NaN in the map. Score those parts as images of their own, or add black borders that make the image "
        "a square."
    )
    return [Caution(CautionCode.CROPPED, message)]


def _coarse(stored: npt.NDArray[Any], framing: Framing, side: Side) -> list[Caution]:
    _, height, width = stored.shape
    return caution_of_coarseness(window(framing, height, width), side)


def _reduced(channel: Array, framing: Framing, side: Side) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return one channel as the model's square, and as the preview, whose pixels are averages."""
    factor = -(-max(channel.shape) // _PREVIEW_SIDE)
    preview = np.asarray(Image.fromarray(channel).reduce(factor)) if factor > 1 else channel
    return frame(channel[None], framing, side)[0], np.rint(255 * preview).astype(np.uint8)
