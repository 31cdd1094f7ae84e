"""What a model sees of an input, and the way back: a volume gives its axial slices, a photograph one image.

Both come through the same gate and the same framing as the training data; maps go back to the file's own grid.
"""

from pathlib import Path
from typing import Any, Protocol

from upd_harness.scoring.inputs import Input
from upd_harness.scoring.photographs import open_photograph
from upd_harness.scoring.volumes import open_volume
from upd_zoo.artefact.records import Config
from upd_zoo.caution import Caution
from upd_zoo.runtime.model import Array


class Case(Protocol):
    """A file as a model sees it, and the way back."""

    @property
    def images(self) -> Array:
        """(N, C, H, W) float32 in [0, 1]."""

    @property
    def positions(self) -> list[int]:
        """Place of each image among `depth`."""

    @property
    def depth(self) -> int:
        """Number of images, the empty ones included."""

    @property
    def cautions(self) -> list[Caution]:
        """What the user should know."""

    @property
    def levels(self) -> int:
        """How many values the file has."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""

    def describe(self) -> dict[str, Any]:
        """Return the geometry of the file, for `results.jsonl`."""

    def restore(self, maps: Array) -> Array:
        """Return the map in the file's own shape, (H, W) or (X, Y, Z), of the maps (N, H, W) of its images."""

    def write(self, folder: Path, source: Input, maps: Array, colours: tuple[float, float]) -> None:
        """Write the map in the file's own space, and what else its kind has, where `source` says.

        Args:
            folder: Of the results.
            source: What was opened.
            maps: (N, H, W).
            colours: Map values at which an overlay begins to colour and is brightest.
        """


def open_case(source: Input, config: Config) -> Case:
    """Read an input as the model takes it.

    Args:
        source: A volume or a photograph.
        config: What the model is.

    Raises:
        InputError: The file cannot be read, or is no image of the model's kind.
    """
    (path,) = source.files
    return open_volume(path, config) if source.is_volume else open_photograph(path, config)
