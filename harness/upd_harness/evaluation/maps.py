"""Anybody's anomaly maps against their masks: the metrics, intervals and files that an evaluation of a model has.

A map and its mask have one name, below two folders: NIfTI (the slices of the last axis are images, the volume is the
subject), PNG or TIFF (an image, a subject of its own), or NumPy's .npy of (H, W) or (N, H, W), likewise. An image is
diseased where its mask has a pixel above zero. Its score is the highest value of its map, or the mean. Of two NIfTI
files the affines agree too: voxels are compared by their place in the files, which is that in the head only then.

A pixel that nothing looked at is NaN. Nobody called it anomalous, so it counts as the lowest value of all maps.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.contenders import MODEL, RANDOM, Contender, chance, random_maps
from upd_harness.evaluation.intervals import bootstrap_intervals
from upd_harness.evaluation.resampling import aupro
from upd_harness.evaluation.stored import SUFFIX, Kept
from upd_harness.evaluation.subjects import SubjectTally
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import RESULTS, Result
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.files import write_json
from upd_zoo.images.gate import read_photograph, read_volume, suffix_of
from upd_zoo.images.scoring import scores_of
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.vocabulary import ScoreRule

_VOLUMES: Final = (".nii", ".nii.gz")
_FLAT: Final = (".png", ".tif", ".tiff")
_ARRAYS: Final = (".npy",)
_KINDS: Final = (*_VOLUMES, *_FLAT, *_ARRAYS)
_SCORED: Final = (*_VOLUMES, *_FLAT, ".jpg", ".jpeg")
"""What the name of a map that upd-zoo score wrote ends in before its own suffix: the image's."""
_SEED: Final = 0
_SAME_PLACE: Final = 0.01
"""Millimetres that rounding in a header may make between two grids."""
_STEPS: Final = 1024
"""Of float32, that the values of a map must span at least, unless they are all the same."""
Pixels = npt.NDArray[np.float32]
Shape = tuple[int, ...]
Affine = npt.NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class MapFolders:
    """Maps, masks, and how an image is scored.

    Attributes:
        maps: Folder of the maps.
        masks: Folder of the masks, each under the name of its map.
        rule: Whether an image's score is the highest value of its map, or the mean.
    """

    maps: Path
    masks: Path
    rule: ScoreRule = ScoreRule.MAXIMUM

    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """Return map and mask by the name that they share, which is a path without suffix.

        Raises:
            NotFoundError: A folder holds no map, or a map or mask has no partner.
            UsageError: Two files of a folder have one name.
        """
        maps, masks = _named(self.maps), _named(self.masks)
        for missing, folder in ((maps.keys() - masks.keys(), self.masks), (masks.keys() - maps.keys(), self.maps)):
            if missing:
                raise NotFoundError(
                    f"{len(missing)} files have no partner in {folder}, such as {min(missing)}",
                    "a map and a mask under each name; of healthy images an empty mask",
                )
        return {name: (maps[name], masks[name]) for name in sorted(maps)}


def _named(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and suffix_of(path) in _KINDS):
        name = _bare(path.relative_to(folder), _KINDS)
        name = _bare(Path(name), _SCORED)
        if name in found:
            raise UsageError(f"two files in {folder} are called {name}", "one for each name", "remove one of them")
        found[name] = path
    if not found:
        raise NotFoundError(f"there is no map or mask in {folder}", f"files of the kinds {', '.join(_KINDS)}")
    return found


def _bare(path: Path, suffixes: Sequence[str]) -> str:
    """Return a path without its suffix, if it is one of these."""
    suffix = suffix_of(path)
    return str(path)[: -len(suffix)] if suffix in suffixes else str(path)


def evaluate_maps(folders: MapFolders, output: Path, on_progress: Report = silent) -> Result:
    """Measure maps and write `results/<name of the masks' folder>.json` and `.npz`, and `run.json`.

    Args:
        folders: Maps and masks.
        output: Where the results go.
        on_progress: Told how many files are done.

    Raises:
        InputError: A file is damaged, or a map and its mask have different shapes.
        NotFoundError: A map or mask has no partner.
        UsageError: Two files have one name.
    """
    found, contenders, pixels = folders.pairs(), {name: Contender() for name in (MODEL, RANDOM)}, SubjectTally()
    lowest, seen = cache(partial(_lowest, [each for each, _ in found.values()])), _Seen()
    generator, hashes = np.random.default_rng(_SEED), (hashlib.sha256(), hashlib.sha256())
    subjects: list[str] = []
    anomalous: list[bool] = []
    for done, (name, maps, masks) in enumerate(_read(found), 1):
        hashes[0].update(_bytes(name, maps))
        hashes[1].update(_bytes(name, masks))
        unseen = np.isnan(maps)
        seen.add(unseen)
        maps = np.where(unseen, np.float32(lowest()), maps) if unseen.any() else maps
        noise = random_maps(generator, maps.shape)
        contenders[MODEL].update(maps, scores_of(maps, folders.rule), masks)
        contenders[RANDOM].update(noise, scores_of(noise, folders.rule), masks)
        pixels.update(maps, masks, [name] * len(maps))
        subjects += [name] * len(maps)
        anomalous += [bool(mask.any()) for mask in masks]
        on_progress(Progress("", done, len(found)))
    pixels.close()
    scores, sick = np.array(contenders[MODEL].scores), np.array(anomalous)
    path = output / RESULTS / f"{folders.masks.resolve().name}.json"
    metrics = {name: each.metrics(sick, has_masks=True) for name, each in contenders.items()}
    result = Result(
        model=folders.maps.resolve().name,
        revision="local",
        manifest=hashes[0].hexdigest(),
        test_set=path.stem,
        store=hashes[1].hexdigest(),
        seed=0,
        backend="maps",
        images=len(scores),
        anomalous=int(sick.sum()),
        subjects=len(found),
        metrics=metrics[MODEL].model_copy(update={"aupro": aupro(pixels)}),
        intervals=bootstrap_intervals(scores, sick, subjects, pixels),
        baselines={RANDOM: metrics[RANDOM].model_copy(update=chance(sick))},
        labels=["maps of files", f"image score: {folders.rule} of the map", *seen.labels],
        tallies=Kept(scores, sick, subjects, pixels).write(path.with_suffix(SUFFIX)),
    )
    write_record(path, result)
    write_json(output / "run.json", {"command": "evaluate", "maps": result.model, "masks": result.test_set})
    return result


@dataclass(slots=True)
class _Seen:
    """How many pixels there are, and of how many a map says nothing."""

    pixels: int = 0
    unseen: int = 0

    def add(self, unseen: npt.NDArray[np.bool_]) -> None:
        """Count some."""
        self.pixels += unseen.size
        self.unseen += int(unseen.sum())

    @property
    def labels(self) -> list[str]:
        """What must be told of them."""
        share = 100 * self.unseen / max(1, self.pixels)
        return [f"{share:.2g} % of the pixels were not looked at, and count as lowest"] if self.unseen else []


def _lowest(maps: Sequence[Path]) -> float:
    """Return the lowest value that any map holds."""
    return min(float(np.nanmin(_slices(path, as_map=True)[0])) for path in maps)


def _bytes(name: str, array: npt.NDArray[Any]) -> bytes:
    return f"{name} {array.shape} ".encode() + array.tobytes()


def _read(pairs: dict[str, tuple[Path, Path]]) -> Iterator[tuple[str, Pixels, npt.NDArray[np.uint8]]]:
    """Yield every name with its maps (N, H, W) and masks (N, H, W)."""
    for name, (map_path, mask_path) in pairs.items():
        (maps, map_affine), (masks, mask_affine) = _slices(map_path, as_map=True), _slices(mask_path, as_map=False)
        _check_grid(name, maps.shape, masks.shape, map_affine, mask_affine)
        if masks.min() < 0:
            raise UsageError(
                f"the mask {name} holds values down to {masks.min():g}",
                "0 where the image is healthy, and more where it is not",
                "save it as unsigned integers, such as uint8",
            )
        yield name, maps, (masks > 0).astype(np.uint8)


def _check_grid(name: str, map_shape: Shape, mask_shape: Shape, map_affine: Affine, mask_affine: Affine) -> None:
    fault = ""
    if map_shape != mask_shape:
        fault = f"the map {name} has the shape {map_shape}, its mask {mask_shape}"
    elif map_affine is not None and mask_affine is not None:
        apart = _farthest(map_affine, mask_affine, map_shape)
        if apart > _SAME_PLACE:
            fault = f"by their affines, a voxel of the map {name} and the same of its mask are {apart:.3g} mm apart"
    if fault:
        raise UsageError(fault, "both on one grid", "resample the map to the grid of the mask")


def _farthest(affine: npt.NDArray[np.float64], other: npt.NDArray[np.float64], shape: Shape) -> float:
    """Return how many millimetres two grids of one shape (Z, X, Y) lie apart at most, which is at a corner."""
    ends = [(0, size - 1) for size in (*shape[1:], shape[0])]
    corners = np.array([(*corner, 1) for corner in product(*ends)], dtype=np.float64)
    return float(np.linalg.norm((corners @ (affine - other).T)[:, :3], axis=1).max())


def _slices(path: Path, *, as_map: bool) -> tuple[Pixels, Affine]:
    """Return the images (N, H, W) of a file, of colours the mean, and the affine of a volume; of a map, NaN stays."""
    kind, affine = suffix_of(path), None
    if kind in _VOLUMES:
        volume = read_volume(path, constant_ok=True, as_map=as_map)
        found: npt.NDArray[Any] = np.moveaxis(volume.data, -1, 0)
        affine = volume.affine
    elif kind in _FLAT:
        image = read_photograph(path, constant_ok=True, as_map=as_map)
        found = image.stored.mean(axis=0, dtype=np.float64)[None] / image.full
    else:
        found = _array(path)
    _check_known(path.name, found, as_map)
    if kind in _ARRAYS:
        _check_steps(path.name, float(np.nanmin(found)), float(np.nanmax(found)))
    return np.ascontiguousarray(found, dtype=np.float32), affine


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


def _check_known(name: str, found: npt.NDArray[Any], as_map: bool) -> None:
    """Refuse values that say nothing, but for NaN in maps that hold anything else."""
    unknown = np.isnan(found)
    if np.isinf(found).any() or (unknown.any() and not as_map) or unknown.all():
        lost = int(found.size - np.isfinite(found).sum())
        raise UsageError(
            f"{lost} of the {found.size} values of {name} are NaN or infinite",
            "numbers, and NaN where a map says nothing" if as_map else "numbers",
        )


def _check_steps(name: str, low: float, high: float) -> None:
    """Refuse values that float32 does not tell apart as well as their file does."""
    if _is_lost(low, high):
        raise UsageError(
            f"the values of {name} lie from {low} to {high}, which 32 bits cannot tell apart",
            f"a range of at least {_STEPS} steps of float32",
            "subtract what all maps have in common, and scale them alike",
        )


def _is_lost(low: float, high: float) -> bool:
    """Return whether values that differ have so narrow a range that in float32 hardly any would be left of it."""
    largest = max(abs(low), abs(high))
    if largest > float(np.finfo(np.float32).max):
        return True
    return low != high and high - low < _STEPS * np.spacing(np.float32(largest))
