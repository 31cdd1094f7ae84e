"""Anybody's anomaly maps and their masks, as files: which belong together, what they hold, and what they may not.

A map and its mask have one name, below two folders: NIfTI (the slices of the last axis are images, the volume is the
subject), PNG or TIFF (an image, a subject of its own), or NumPy's .npy of (H, W) or (N, H, W), likewise. Maps that
`upd-zoo score` wrote keep the suffix of their image before their own; masks need not have it. Of two NIfTI files the
affines agree too: voxels are compared by their place in the files, which is that in the head only then.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt

from upd_harness.scoring.journal import read_rows
from upd_harness.scoring.output import RESULTS as JOURNAL
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.images.gate import read_photograph, read_volume, suffix_of
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import ScoreRule

_VOLUMES: Final = (".nii", ".nii.gz")
_FLAT: Final = (".png", ".tif", ".tiff")
_ARRAYS: Final = (".npy",)
_KINDS: Final = (*_VOLUMES, *_FLAT, *_ARRAYS)
_SCORED: Final = (*_VOLUMES, *_FLAT, ".jpg", ".jpeg")
"""What the name of a map that upd-zoo score wrote ends in before its own suffix: the image's."""
_SAME_PLACE: Final = 0.01
"""Millimetres that rounding in a header may make between two grids."""
_STEPS: Final = 1024
"""Of float32, that values which were stored in more bits must span at least, unless they are all the same."""
_EXACT: Final = 1 << 24
"""Whole numbers up to here are what they are in float32, too."""
Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.uint8]
Shape = tuple[int, ...]


class Pair(NamedTuple):
    """A map and its mask: their files."""

    map: Path
    mask: Path


class Slices(NamedTuple):
    """What a file holds.

    Attributes:
        values: (N, H, W), of colours the mean; NaN where a map says nothing.
        affine: Of a volume.
        unit: The stored value that counts as 1.
        wide: Whether float32 may hold less of the values than their file does.
    """

    values: npt.NDArray[Any]
    affine: npt.NDArray[np.float64] | None = None
    unit: int = 1
    wide: bool = False

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest value that is a number."""
        return float(np.nanmin(self.values)), float(np.nanmax(self.values))


@dataclass(frozen=True, slots=True)
class MapFolders:
    """Maps, masks, and how an image is scored.

    Attributes:
        maps: Folder of the maps.
        masks: Folder of the masks, each under the name of its map.
        rule: Whether an image's score is the highest value of its map, or the mean; None for the rule of the model that
            scored the images, else the highest.
    """

    maps: Path
    masks: Path
    rule: ScoreRule | None = None

    def pairs(self) -> dict[str, Pair]:
        """Return map and mask by the name that they share, which is a path without suffix.

        Raises:
            NotFoundError: A folder holds no map, or a map or mask has no partner.
            UsageError: Two files of a folder have one name, or both folders are one.
        """
        folders = [(folder, _files_in(folder)) for folder in (self.maps, self.masks)]
        if self.maps.samefile(self.masks):
            raise UsageError(f"{self.maps} is given for both maps and masks", "a folder of each", "name another")
        maps, masks = (_named(folder, files, bare=False) for folder, files in folders)
        if maps.keys() != masks.keys():
            maps, masks = (_named(folder, files, bare=True) for folder, files in folders)
        for missing, folder in ((maps.keys() - masks.keys(), self.masks), (masks.keys() - maps.keys(), self.maps)):
            if missing:
                some = "1 file has" if len(missing) == 1 else f"{len(missing)} files have"
                raise NotFoundError(
                    f"{some} no partner in {folder}, such as {min(missing)}",
                    "a map and a mask under each name; of healthy images an empty mask",
                )
        return {name: Pair(maps[name], masks[name]) for name in sorted(maps)}

    def usual_rule(self) -> ScoreRule:
        """Return by which rule the maps' images are scored: as asked, else as their model does, else by the highest.

        Raises:
            UsageError: The maps are of several models, whose values cannot be compared, or of one with an unknown rule.
        """
        models = {str(model["id"]) for model in _models_of(self.maps)}
        if len(models) > 1:
            raise UsageError(
                f"the maps in {self.maps} are of several models: {', '.join(sorted(models))}",
                "maps whose values mean the same",
                "score one kind of image at a time, with -m MODEL",
            )
        if self.rule is not None or not models:
            return self.rule or ScoreRule.MAXIMUM
        (model,) = models
        try:
            return ModelId.parse(model).domain.modality.score_rule
        except UsageError:
            raise UsageError(
                f"how {model} scores an image is not known here: it is of a collection of one's own",
                "the rule of its kind of image: mean for chest films, else maximum",
                "add --score mean or --score maximum",
            ) from None


def _models_of(maps: Path) -> Iterator[dict[str, Any]]:
    """Yield which model made each map, where the folder is that of a run of upd-zoo score or lies in one."""
    folder = maps.resolve()
    for run in folder.parents:
        if (run / JOURNAL).is_file():
            within = folder.relative_to(run)
            for row in read_rows(run / JOURNAL):
                written = (row.get("outputs") or {}).get("map")
                if written and row.get("model") and Path(written).is_relative_to(within):
                    yield row["model"]
            return


def _files_in(folder: Path) -> list[Path]:
    """Return the maps or masks below a folder, in order; hidden files are none.

    Raises:
        NotFoundError: There is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", "a folder of maps, and one of masks")
    found, met = [], set()
    for place, below, names in os.walk(folder, followlinks=True):
        met.add(os.path.realpath(place))
        below[:] = [name for name in below if name[0] != "." and os.path.realpath(Path(place, name)) not in met]
        found += [Path(place, name) for name in names if name[0] != "." and suffix_of(Path(name)) in _KINDS]
    if not found:
        raise NotFoundError(f"there is no map or mask in {folder}", f"files of the kinds {', '.join(_KINDS)}")
    return sorted(found)


def _named(folder: Path, files: Iterable[Path], *, bare: bool) -> dict[str, Path]:
    """Return files by their path below a folder, without suffix, and if bare without that of their image."""
    found: dict[str, Path] = {}
    for path in files:
        name = _without(path.relative_to(folder), _KINDS)
        name = _without(Path(name), _SCORED) if bare else name
        if name in found:
            raise UsageError(
                f"{found[name]} and {path} are both called {name}", "one file for each name", "rename one of them"
            )
        found[name] = path
    return found


def _without(path: Path, suffixes: Sequence[str]) -> str:
    """Return a path without its suffix, if it is one of these."""
    suffix = suffix_of(path)
    return str(path)[: -len(suffix)] if suffix in suffixes else str(path)


def read(pairs: Mapping[str, Pair]) -> Iterator[tuple[str, Maps, Masks]]:
    """Yield every name with its maps (N, H, W), NaN where they say nothing, and masks (N, H, W), 0 or 1.

    Raises:
        InputError: A file is damaged.
        UsageError: A map and its mask do not fit, or a file holds what cannot be measured.
    """
    first, wide, spans = None, False, []
    for name, pair in pairs.items():
        maps, masks = slices_of(pair.map), _read(pair.mask, as_map=False)
        first = first or (pair.map.name, maps.unit)
        _check_unit(first, (pair.map.name, maps.unit))
        wide |= maps.wide
        spans.append(maps.span)
        _check_grid(name, maps, masks)
        if masks.values.min() < 0:
            raise UsageError(
                f"the mask {name} holds values down to {masks.values.min():g}",
                "0 where the image is healthy, and more where it is not",
                "save it as unsigned integers, such as uint8",
            )
        yield name, np.ascontiguousarray(maps.values, dtype=np.float32), (masks.values > 0).astype(np.uint8)
    if wide:  # also where each map has one value everywhere
        check_steps("all maps", min(low for low, _ in spans), max(high for _, high in spans))


def _check_unit(first: tuple[str, int], other: tuple[str, int]) -> None:
    """Refuse maps whose values are divided by others: whole numbers of pictures mean shares of their largest."""
    if first[1] != other[1]:
        raise UsageError(
            f"the values of {first[0]} are divided by {first[1]}, those of {other[0]} by {other[1]}",
            "maps that are all stored in one way",
            "save all of them as floats, or all as whole numbers of as many bits",
        )


def slices_of(path: Path) -> Slices:
    """Return what a map holds.

    Raises:
        InputError: It is damaged.
        UsageError: It holds what cannot be measured.
    """
    found = _read(path, as_map=True)
    if found.wide:
        check_steps(path.name, *found.span)
    return found


def _check_grid(name: str, maps: Slices, masks: Slices) -> None:
    fault, shape = "", maps.values.shape
    if shape != masks.values.shape:
        fault = f"the map {name} has the shape {shape}, its mask {masks.values.shape}"
    elif maps.affine is not None and masks.affine is not None:
        apart = _farthest(maps.affine, masks.affine, shape)
        if apart > _SAME_PLACE:
            fault = f"by their affines, a voxel of the map {name} and the same of its mask are {apart:.3g} mm apart"
    if fault:
        raise UsageError(fault, "both on one grid", "resample the map to the grid of the mask")


def _farthest(affine: npt.NDArray[np.float64], other: npt.NDArray[np.float64], shape: Shape) -> float:
    """Return how many millimetres two grids of one shape (Z, X, Y) lie apart at most, which is at a corner."""
    ends = [(0, size - 1) for size in (*shape[1:], shape[0])]
    corners = np.array([(*corner, 1) for corner in product(*ends)], dtype=np.float64)
    return float(np.linalg.norm((corners @ (affine - other).T)[:, :3], axis=1).max())


def _read(path: Path, *, as_map: bool) -> Slices:
    kind = suffix_of(path)
    if kind in _VOLUMES:
        volume = read_volume(path, constant_ok=True, as_map=as_map)
        stored = nib.load(path)
        wide = _is_wide(stored.get_data_dtype(), volume.data)
        whole = np.asarray(stored.dataobj, np.float64).reshape(volume.data.shape) if wide else volume.data
        found = Slices(np.moveaxis(whole, -1, 0), volume.affine, wide=wide)
    elif kind in _FLAT:
        image = read_photograph(path, constant_ok=True, as_map=as_map)
        values = image.stored.mean(axis=0, dtype=np.float64)[None] / image.full
        found = Slices(values, unit=image.full, wide=_is_wide(image.stored.dtype, values))
    else:
        values = _array(path)
        found = Slices(values, wide=_is_wide(values.dtype, values))
    _check_known(path.name, found.values, as_map)
    return found


def _array(path: Path) -> npt.NDArray[Any]:
    """Return the numbers (N, H, W) of a .npy file."""
    try:
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path.name} cannot be read: {error}", "an array of numbers, not pickled") from error
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or not found.size or found.dtype.kind not in "biuf":
        raise UsageError(f"{path.name} holds {found.dtype} of shape {found.shape}", "numbers, (H, W) or (N, H, W)")
    return found


def _check_known(name: str, values: npt.NDArray[Any], as_map: bool) -> None:
    """Refuse what is infinite, and NaN but in a map that says something."""
    unknown = int(np.isnan(values).sum())
    if as_map and unknown == values.size:
        raise UsageError(f"the map {name} holds nothing but NaN", "numbers", "leave it and its mask out")
    lost = int(np.isinf(values).sum()) + (0 if as_map else unknown)
    if lost:
        raise UsageError(
            f"{lost} of the {values.size} values of {name} are NaN or infinite",
            "numbers, and NaN where a map says nothing" if as_map else "numbers",
            "find out what wrote them",
        )


def _is_wide(stored: np.dtype[Any], values: npt.NDArray[Any]) -> bool:
    """Return whether values of a type may differ where float32 does not tell them apart."""
    if stored.kind == "f":
        return stored.itemsize > 4
    return stored.itemsize > 2 and float(abs(values).max()) > _EXACT


def check_steps(what: str, low: float, high: float) -> None:
    """Refuse values that differ, and of whose differences hardly any are left in float32.

    Raises:
        UsageError: Their range is that narrow, or leaves that of float32.
    """
    largest = max(abs(low), abs(high))
    beyond = largest > float(np.finfo(np.float32).max)
    if beyond or (low != high and high - low < _STEPS * np.spacing(np.float32(largest))):
        raise UsageError(
            f"the values of {what} lie from {low} to {high}, which 32 bits cannot tell apart",
            f"a range of at least {_STEPS} steps of float32",
            "subtract what all maps have in common, and scale them alike",
        )
