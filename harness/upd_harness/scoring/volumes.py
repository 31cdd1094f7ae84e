"""A volume in, its map out: the axial slices that a model sees, cut as those of the training data.

The map goes back to the file's own grid: NIfTI with its shape, affine and orientation.
"""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.affines import voxel_sizes

from upd_harness.scoring.doubts import doubts_of
from upd_harness.scoring.inputs import Input
from upd_zoo.artefact.appearance import levels_of
from upd_zoo.artefact.records import Config
from upd_zoo.caution import Caution
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.files import replacing
from upd_zoo.images.axial import SliceGeometry, axial_geometry, from_axial_slices
from upd_zoo.images.framing import Window, caution_of_coarseness, unframe, window
from upd_zoo.images.gate import read_volume
from upd_zoo.images.intensity import Intensities
from upd_zoo.images.nifti import Volume
from upd_zoo.images.placement import Placement
from upd_zoo.runtime.model import Array
from upd_zoo.stores.slices import cut
from upd_zoo.vocabulary import Framing, Scale, Side


@dataclass(frozen=True, slots=True)
class VolumeCase:
    """A volume as a model sees it.

    Attributes:
        images: (N, 1, H, W) float32 in [0, 1]: the slices that are not empty.
        positions: Number of each of them, counted from the feet.
        depth: Number of slices, the empty ones included.
        geometry: How the slices lie in the volume.
        affine: (4, 4) voxel to RAS+ millimetres.
        placement: How the file says where its voxels lie.
        cautions: What the user should know.
        levels: How many values it has.
    """

    images: Array
    positions: list[int]
    depth: int
    geometry: SliceGeometry
    affine: Any
    placement: Placement
    cautions: list[Caution]
    levels: int

    @property
    def nbytes(self) -> int:
        """Memory that it holds until its map is written."""
        return self.images.nbytes

    def describe(self) -> dict[str, Any]:
        """Return shape, spacing and orientation of the file, for `results.jsonl`."""
        return describe_grid(self.geometry.shape, self.affine)

    def restore(self, maps: Array) -> Array:
        """Return the map in the volume's own grid, (X, Y, Z), of the maps (N, H, W) of its slices."""
        geometry = self.geometry
        slices = np.zeros((self.depth, geometry.rows, geometry.columns), np.float32)
        for position, anomaly_map in zip(self.positions, maps, strict=True):
            slices[position] = unframe(
                anomaly_map, Framing.SQUARE_SLICES, geometry.rows, geometry.columns, geometry.spacing
            )
        return from_axial_slices(slices, geometry)

    def write(self, folder: Path, source: Input, maps: Array, colours: tuple[float, float]) -> None:  # noqa: ARG002 - a volume's map has no colours
        """Write the map as NIfTI under the file's own name."""
        write_map(folder, source, self.restore(maps), self.placement)


def describe_grid(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return shape, spacing and orientation of a volume, for `results.jsonl`."""
    return {
        "shape": list(shape),
        "spacing_mm": [round(float(size), 6) for size in voxel_sizes(affine)],
        "orientation": "".join(nib.orientations.aff2axcodes(affine)),
    }


def write_map(folder: Path, source: Input, anomaly_map: Array, placement: Placement) -> None:
    """Write a map (X, Y, Z) as NIfTI under its scan's own name."""
    image = nib.Nifti1Image(anomaly_map, None)  # with an affine, nibabel would put it for both forms
    placement.put(image.header)
    content = image.to_bytes()
    with replacing(folder / source.outputs["map"]) as temporary:
        # nibabel's own saving takes the name for a hint: it writes a file elsewhere for `.Nii`.
        temporary.write_bytes(gzip.compress(content, 1, mtime=0) if source.is_packed else content)


def open_volume(path: Path, config: Config) -> VolumeCase:
    """Read a volume as the model takes it.

    Raises:
        InputError: The file cannot be read, the model takes photographs, or it can be no brain that the model knows.
    """
    if config.scale is None:
        raise InputError(
            InputErrorCode.UNSUPPORTED,
            f"{path.name}: it is a volume, and {config.id} takes photographs",
            "PNG, JPEG or TIFF",
            "look for a model for brain MRI with upd-zoo list",
        )
    volume = read_volume(path)
    intensities = Intensities(volume.data)
    case = case_of(volume, intensities, config.scale, config.input.side, path.name)
    return replace(case, cautions=[*case.cautions, *doubts_of(volume, intensities, path.name)])


def case_of(volume: Volume, intensities: Intensities, scale: Scale, side: Side, name: str = "") -> VolumeCase:
    """Return a volume of a skull-stripped brain as a model takes it.

    Args:
        volume: The brain; its background constant and lowest.
        intensities: Its values.
        scale: Which of its values the model knows as 1.
        side: Of the model's image in pixels.
        name: How errors call it.

    Raises:
        InputError: Its slices would be too many or too large, or its values span too much.
    """
    depth, rows, columns = volume.data.shape
    geometry = axial_geometry((depth, rows, columns), volume.affine)
    square = _check_volume(volume, geometry, side, name)
    slices = cut(intensities, geometry, scale, side)
    cautions = [*volume.cautions, *intensities.cautions(scale), *caution_of_coarseness(square, side)]
    levels = levels_of(volume.data)
    seen = slices.images, slices.positions, slices.depth
    return VolumeCase(*seen, geometry, volume.affine, volume.placement, cautions, levels)


def _check_volume(volume: Volume, geometry: SliceGeometry, side: Side, name: str) -> Window:
    """Return the square of a volume's slices; refuse what takes memory out of proportion, or cannot be scaled."""
    if float(volume.data.max()) - float(volume.data.min()) > float(np.finfo(np.float32).max):
        raise InputError(InputErrorCode.NOT_FINITE, f"{name}: its values span more than float32 holds")
    slices = volume.data.size // (geometry.rows * geometry.columns)
    most = _MOST_PIXELS // side**2
    if slices > most:
        problem = f"{name}: it has {slices} axial slices"
        raise InputError(InputErrorCode.TOO_LARGE, problem, f"at most {most}", "cut the volume into parts")
    try:
        square = window(Framing.SQUARE_SLICES, geometry.rows, geometry.columns, geometry.spacing)
    except InputError as error:
        raise InputError(error.code, f"{name}: {error.problem}", error.accepted, error.next_step) from error
    if max(square.height, square.width) > _LONGEST_SIDE:
        problem = f"{name}: made square, its slices have {square.height} x {square.width} pixels"
        accepted = f"at most {_LONGEST_SIDE} along a side"
        raise InputError(InputErrorCode.GEOMETRY, problem, accepted, "resample the volume to a regular grid")
    return square


_MOST_PIXELS: Final = 8192 * 128**2
"""Of all slices at the model's size: 512 MiB; a file of a hundred bytes can promise as many slices of one voxel."""
_LONGEST_SIDE: Final = 8192
"""A slice of so many pixels squared takes 256 MiB; one of 2 x 32767 pixels would become sixteen times as large."""
