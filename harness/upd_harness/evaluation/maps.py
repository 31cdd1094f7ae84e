"""Anybody's anomaly maps against their masks: the metrics, intervals and files that an evaluation of a model has.

An image is diseased where its mask has a pixel above zero. Its score is the highest value of its map, or the mean of
what was looked at. A pixel that nothing looked at is NaN. Nobody called it anomalous, so it counts as the lowest value
of all maps, in random maps as in those that are measured. How much of an image was looked at may tell the diseased by
itself, and is a baseline then.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.contenders import MODEL, RANDOM, Contender, chance, random_maps
from upd_harness.evaluation.intervals import bootstrap_intervals
from upd_harness.evaluation.map_files import MapFolders, Maps, read, slices_of
from upd_harness.evaluation.resampling import aupro
from upd_harness.evaluation.run import REPORT, RUN, SCORES, clear_earlier
from upd_harness.evaluation.stored import SUFFIX, Kept
from upd_harness.evaluation.subgroups import of_images
from upd_harness.evaluation.subjects import SubjectTally
from upd_harness.report.run_record import describe_run, utc_now
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import RESULTS, Metrics, Result
from upd_zoo.files import write_json
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.vocabulary import ScoreRule

SEEN: Final = "looked-at"
"""The baseline of how much of an image was looked at."""
_SEED: Final = 0


@dataclass(slots=True)
class _Gathered:
    """What is kept of maps: one score per image, tallies, and whether each image is diseased.

    Attributes:
        rule: How an image is scored.
        share: Of the pixels of each image, how many were looked at.
    """

    rule: ScoreRule
    contenders: dict[str, Contender] = field(default_factory=lambda: {name: Contender() for name in (MODEL, RANDOM)})
    pixels: SubjectTally = field(default_factory=SubjectTally)
    subjects: list[str] = field(default_factory=list)
    anomalous: list[bool] = field(default_factory=list)
    share: list[float] = field(default_factory=list)

    def add(self, name: str, maps: Maps, noise: Maps, masks: npt.NDArray[np.uint8], lowest: float) -> None:
        """Add the maps (N, H, W) of a subject, NaN where nothing was looked at, and random ones as large."""
        unseen = np.isnan(maps)
        for who, values, least in ((MODEL, maps, lowest), (RANDOM, noise, 0.0)):
            filled = np.where(unseen, np.float32(least), values)
            self.contenders[who].update(filled, self._scores(filled, ~unseen, least), masks)
            if who == MODEL:
                self.pixels.update(filled, masks, [name] * len(maps))
        self.subjects += [name] * len(maps)
        self.anomalous += [bool(mask.any()) for mask in masks]
        self.share += (1 - unseen.mean(axis=(1, 2))).tolist()

    def _scores(self, filled: Maps, seen: npt.NDArray[np.bool_], lowest: float) -> Maps:
        """Return the score (N,) of each map by what was looked at; the lowest value where nothing was."""
        if self.rule is ScoreRule.MAXIMUM:
            return np.asarray(filled.max(axis=(1, 2)))
        count = seen.sum(axis=(1, 2))
        sums = np.where(seen, filled, 0).sum(axis=(1, 2), dtype=np.float64)
        return np.asarray(np.where(count > 0, sums / np.maximum(count, 1), lowest), np.float32)

    @property
    def baselines(self) -> dict[str, Metrics]:
        """What knows nothing."""
        sick = np.array(self.anomalous)
        found = {RANDOM: self.contenders[RANDOM].metrics(sick, has_masks=True).model_copy(update=chance(sick))}
        return found | ({SEEN: of_images(np.array(self.share), sick)} if min(self.share) < 1 else {})

    @property
    def labels(self) -> list[str]:
        """What must be told of them."""
        unseen = 100 * (1 - math.fsum(self.share) / len(self.share))
        told = ["maps of files", f"image score: {self.rule} of the map"]
        return told + ([f"{unseen:.2g} % of an image were not looked at, and count as lowest"] if unseen else [])


def evaluate_maps(folders: MapFolders, output: Path, on_progress: Report = silent) -> Result:
    """Measure maps and write `results/<name of the masks' folder>.json` and `.npz`, and `run.json`.

    Args:
        folders: Maps and masks.
        output: Where the results go; those of an earlier evaluation go from there.
        on_progress: Told how many files are done.

    Raises:
        InputError: A file is damaged.
        NotFoundError: A map or mask has no partner.
        UsageError: Two files have one name, a map and its mask do not fit, or files hold what cannot be measured.
    """
    began, started = time.monotonic(), utc_now()
    pairs = folders.pairs()
    found, generator = _Gathered(folders.usual_rule()), np.random.default_rng(_SEED)
    lowest = cache(lambda: _lowest([pair.map for pair in pairs.values()]))
    hashes = hashlib.sha256(), hashlib.sha256()
    for done, (name, maps, masks) in enumerate(read(pairs), 1):
        hashes[0].update(_bytes(name, maps))
        hashes[1].update(_bytes(name, masks))
        noise = random_maps(generator, maps.shape)
        found.add(name, maps, noise, masks, lowest() if np.isnan(maps).any() else 0.0)
        on_progress(Progress("", done, len(pairs)))
    found.pixels.close()
    path = output / RESULTS / f"{folders.masks.resolve().name}.json"
    result = _result(folders, found, [each.hexdigest() for each in hashes], path)
    write_record(path, result)
    clear_earlier(output, path, without=(SCORES, REPORT))
    asked = {"maps": folders.maps, "masks": folders.masks, "score": found.rule, "output": output}
    run = describe_run("evaluate", {"id": result.model}, {}, asked, started, time.monotonic() - began)
    write_json(output / RUN, run)
    return result


def _result(folders: MapFolders, found: _Gathered, hashes: Sequence[str], path: Path) -> Result:
    scores, sick = np.array(found.contenders[MODEL].scores), np.array(found.anomalous)
    return Result(
        model=folders.maps.resolve().name,
        revision="local",
        manifest=hashes[0],
        test_set=path.stem,
        store=hashes[1],
        seed=0,
        backend="maps",
        images=len(scores),
        anomalous=int(sick.sum()),
        subjects=len({*found.subjects}),
        metrics=found.contenders[MODEL].metrics(sick, has_masks=True).model_copy(update={"aupro": aupro(found.pixels)}),
        intervals=bootstrap_intervals(scores, sick, found.subjects, found.pixels),
        baselines=found.baselines,
        labels=found.labels,
        tallies=Kept(scores, sick, found.subjects, found.pixels).write(path.with_suffix(SUFFIX)),
    )


def _lowest(maps: Sequence[Path]) -> float:
    """Return the lowest value that any map holds."""
    return min(slices_of(path).span[0] for path in maps)


def _bytes(name: str, array: npt.NDArray[Any]) -> bytes:
    return f"{name} {array.shape} ".encode() + array.tobytes()
