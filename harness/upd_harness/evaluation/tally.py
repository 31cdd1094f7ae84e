"""Scores of a billion pixels, counted in constant memory and forgotten.

A tally is exact where it can be, says how fine it is where it cannot, and bounds what it may have missed. Tallies of
parts add up to the tally of the whole, so that shards and machines may count for themselves.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_harness.evaluation.metrics import (
    Array,
    Bounds,
    Integers,
    OperatingPoint,
    PixelMetrics,
    Steps,
    bounded,
    check_values,
    concordance_sums,
    highest_dice,
    paired,
    precision_sums,
    share,
)
from upd_zoo.errors import IntegrityError, UsageError

_STUDY_THRESHOLDS: Final = 100
_PAGE_BITS: Final = 10
_PAGE: Final = 1 << _PAGE_BITS
_MAX_PAGES: Final = 1 << 12
_MAX_SHIFT: Final = 32 - 12 - _PAGE_BITS  # at 22 bits of the pattern every page there is can be open
_CHUNK: Final = 1 << 16  # items at a time: their temporaries stay in a core's cache
_GROUP: Final = _CHUNK // _PAGE
_MAGNITUDE: Final = 0x7FFFFFFF


def _chunks(scores: Array, labels: Array, label_type: npt.DTypeLike) -> Iterator[tuple[Array, Array]]:
    """Walk two arrays of any layout and type in step, `_CHUNK` items at a time, without a copy of the whole."""
    types = np.dtype(np.float32), np.dtype(label_type)
    walk = np.nditer(
        (scores, labels), ("external_loop", "buffered", "zerosize_ok"), None, types, "K", "unsafe", buffersize=_CHUNK
    )
    with walk, np.errstate(over="ignore"):  # what overflows becomes infinite, and check_values says so
        yield from walk


def _keys(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Return integers in the order of finite `scores`: the bit pattern of the magnitude, signed; 0 for both zeros."""
    pattern = np.ascontiguousarray(scores).view(np.int32)
    if pattern.min() >= 0:
        return pattern
    sign = pattern >> 31
    keys: npt.NDArray[np.int32] = ((pattern & _MAGNITUDE) ^ sign) - sign
    return keys


def _score(key: int) -> float:
    """Return the score whose integer is `key`."""
    return float(np.array(abs(key), np.int32).view(np.float32)) * (-1 if key < 0 else 1)


class ScoreTally:
    """Counts of normal and anomalous items per score, in constant memory, whatever their number.

    Scores are compared as float32 (other types are rounded to it), through integers in the same order. These fall into
    bins of 2^shift neighbouring integers, and bins into pages of 1024, opened when a score needs one. When more than
    4096 pages would be open, neighbouring bins are added in pairs and shift grows by one. So shift is the smallest that
    lets the pages of all items seen fit: it depends on the set of items alone, and tallies come out the same whatever
    the order, the pieces and the merges.

    - shift is 0, and every result exact, as long as the scores fit: always with up to 4096 distinct ones, or with a
      spread of up to 4 million float32 numbers (such as all of [0.8, 1)).
    - shift never exceeds 10, a relative width of 2^-13. Maps with values all over (0, 1) end near 2^-17.
    - The bin that holds zero counts as zero: a score in [0, 1.5e-42) may tie with it.

    Memory is 64 MiB for counts, committed as pages open, up to 16 MiB to find them, and the counts once more for a
    moment while bins are paired. A tally has no lock: give each thread its own, and merge.
    """

    def __init__(self) -> None:
        self._lowest, self._highest = _MAGNITUDE, -_MAGNITUDE  # integers of the extreme scores; crossed without any
        self._reset(shift=0)

    def _reset(self, shift: int) -> None:
        self._shift = shift
        self._pages: Integers = np.empty(0, np.int64)  # number of the page in each slot from 1 on
        self._slots = np.zeros(1 << (32 - _PAGE_BITS - shift), np.int32)  # slot of each page; 0: not open
        self._counts: Integers = np.zeros((_MAX_PAGES + 1, 2, _PAGE), np.int64)  # [slot, normal or anomalous, bin]

    def update(self, anomaly_map: npt.ArrayLike, mask: npt.ArrayLike) -> None:
        """Count the pixels of one or more images. Either all are counted or, after an error, none.

        Args:
            anomaly_map: Real numbers of any shape and layout, finite as float32; higher is more anomalous.
            mask: The same shape, bool or 0 and 1; 1 is anomalous.

        Raises:
            UsageError: The shapes differ, a score is not finite, or a mask value is neither 0 nor 1.
        """
        scores, labels = paired(anomaly_map, mask)
        for chunk, truth in _chunks(scores, labels, labels.dtype):
            check_values(chunk, truth)
        for chunk, truth in _chunks(scores, labels, np.bool_) if scores.size else ():
            self._count(_keys(chunk), truth)

    def _count(self, keys: npt.NDArray[np.int32], labels: npt.NDArray[np.bool_]) -> None:
        self._widen(int(keys.min()), int(keys.max()))
        slots = self._find(keys)
        if not slots.all():
            self._open(keys[slots == 0] >> (self._shift + _PAGE_BITS))
            slots = self._find(keys)
        # (n,) places in the counts laid flat: [slot, normal or anomalous, bin]
        index = ((slots.astype(np.intp) << 1 | labels) << _PAGE_BITS) | (keys >> self._shift & (_PAGE - 1))
        np.add.at(self._counts.reshape(-1), index, np.int64(1))

    def _find(self, keys: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        # "wrap" sends the pages of negative scores to the upper half; it is also the fastest mode of `take`.
        return self._slots.take(keys >> (self._shift + _PAGE_BITS), mode="wrap")

    def _widen(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = min(lowest, self._lowest), max(highest, self._highest)

    def _open(self, pages: Array) -> None:
        """Open `pages`, numbered at the present shift, after as much pairing of bins as their number asks for."""
        missing, shift = np.unique(pages[self._slots[pages] == 0]), self._shift
        wanted = np.sort(np.append(self._pages, missing))
        while wanted.size > _MAX_PAGES:
            wanted, shift = wanted >> 1, shift + 1
            wanted = wanted[np.append(True, wanted[1:] > wanted[:-1])]
        if shift > self._shift:
            self._coarsen(shift)
            missing = wanted[self._slots[wanted] == 0]
        self._slots[missing] = np.arange(1, missing.size + 1) + self._pages.size
        self._pages = np.append(self._pages, missing)

    def _coarsen(self, shift: int) -> None:
        finer, pages, counts = self._shift, self._pages, self._counts
        self._reset(shift)
        self._open(pages >> (shift - finer))
        self._fold(finer, pages, counts)

    def _fold(self, shift: int, pages: Integers, counts: Integers) -> None:
        """Add counts of a shift that is no greater than this one's, whose pages are open here."""
        steps = self._shift - shift
        width = _PAGE >> steps
        for page, table in zip(pages, counts[1:], strict=False):
            while table.shape[-1] > width:
                table = table[:, ::2] + table[:, 1::2]  # (2, n) becomes (2, n / 2)
            first = (int(page) & ((1 << steps) - 1)) * width
            self._counts[self._slots[page >> steps], :, first : first + width] += table

    def merge(self, other: "ScoreTally") -> None:
        """Add what `other` has counted, as if this tally had seen it; `other` stays as it is."""
        self._widen(other._lowest, other._highest)
        if other._shift > self._shift:
            self._coarsen(other._shift)
        self._open(other._pages >> (self._shift - other._shift))
        self._fold(other._shift, other._pages, other._counts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a tally cross to another process by what it counted, not by the room that it has for counts."""
        return ScoreTally.from_arrays, (self.to_arrays(),)

    def to_arrays(self) -> dict[str, Integers]:
        """Return everything the tally knows as integer arrays, the same for the same items counted.

        Returns:
            `shift` (); `extremes` (2,), the integers of the lowest and the highest score; `counts` (3, K), for each bin
            that is not empty, in descending order, its number, its normal and its anomalous items.
        """
        return {
            "shift": np.array(self._shift),
            "extremes": np.array([self._lowest, self._highest]),
            "counts": np.hstack([np.empty((3, 0), np.int64), *(np.array(steps[:3]) for steps in self._steps())]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "ScoreTally":
        """Return the tally that `to_arrays` described.

        Raises:
            IntegrityError: The arrays are not what `to_arrays` returns.
        """
        shift, extremes, counts = (np.asarray(arrays.get(name)) for name in ("shift", "extremes", "counts"))
        if not _plausible(shift, extremes, counts):
            raise IntegrityError("the arrays are not those of a tally", "", "tally the scores again")
        tally = cls()
        tally._reset(int(shift))
        tally._lowest, tally._highest = map(int, extremes)
        pages, bins = counts[0] >> _PAGE_BITS, counts[0] & (_PAGE - 1)
        tally._open(pages)
        tally._counts[tally._slots[pages], :, bins] = counts[1:].T  # (K, 2): the indexed axes come first
        return tally

    def _steps(self) -> Iterator[Steps]:
        """Walk all bins that are not empty, a group of pages at a time, from the highest score down."""
        fp = tp = 0
        slots = self._pages.argsort()[::-1] + 1
        for start in range(0, slots.size, _GROUP):
            group = slots[start : start + _GROUP]
            counts = self._counts[group, :, ::-1]  # (pages, 2, 1024), bins descending
            counts = counts.swapaxes(0, 1).reshape(2, -1)  # (2, pages · 1024)
            rows = np.flatnonzero(counts[0] | counts[1])  # (K,) of bins that are not empty
            normal, anomalous = counts[0, rows], counts[1, rows]
            bins = (self._pages[group[rows >> _PAGE_BITS] - 1] << _PAGE_BITS) + (~rows & (_PAGE - 1))
            tied = (bins == 0) | (self._shift == 0)
            steps = Steps(bins, normal, anomalous, fp + normal.cumsum(), tp + anomalous.cumsum(), tied)
            fp, tp = int(steps.false_positives[-1]), int(steps.true_positives[-1])
            yield steps

    def _totals(self) -> tuple[int, int]:
        normal, anomalous = self._counts[: self._pages.size + 1].sum(axis=(0, 2))
        return int(normal), int(anomalous)

    def _edge(self, first_bin: int) -> float:
        """Return the lowest score that lies in `first_bin` or above and is no lower than all seen."""
        return _score(max(first_bin << self._shift, self._lowest))

    def _first_bins(self, scores: npt.NDArray[np.float32], above: bool = False) -> Integers:
        """Return the lowest bins wholly at or `above` the scores; the very first one where all that was seen is."""
        keys = _keys(scores).astype(np.int64) + above
        return np.where(keys <= self._lowest, self._lowest >> self._shift, -(-keys >> self._shift))

    def _points(self, first_bins: Integers) -> list[OperatingPoint]:
        """Return what calling items anomalous from each of `first_bins` on achieves."""
        fp, tp = np.zeros_like(first_bins), np.zeros_like(first_bins)
        for steps in self._steps():
            reached = np.searchsorted(-steps.bins, -first_bins, side="right")  # (T,) steps at or above each of T bins
            fp = np.where(reached > 0, steps.false_positives[reached - 1], fp)
            tp = np.where(reached > 0, steps.true_positives[reached - 1], tp)
        n, p = self._totals()
        dice = (2 * tp / (tp + fp + p)).tolist() if p else [None] * first_bins.size
        return [
            OperatingPoint(self._edge(first), overlap, share(hits, p), share(alarms, n))
            for first, overlap, hits, alarms in zip(first_bins.tolist(), dice, tp.tolist(), fp.tolist(), strict=True)
        ]

    def operating_point(self, threshold: float) -> OperatingPoint:
        """Return what calling items anomalous from `threshold` on achieves.

        A threshold inside a bin is rounded up to the next edge; the point names the threshold that it holds for, and
        for that one it is exact. Thresholds that this tally gave are edges.

        Raises:
            UsageError: `threshold` is not finite as float32, which it is rounded to; or the tally is empty.
        """
        if not abs(threshold) <= float(np.finfo(np.float32).max):
            raise UsageError(f"a threshold of {threshold} divides nothing", "a number that is finite in float32")
        if not self._pages.size:
            raise UsageError("an empty tally has no operating point", "", "update it with a map and its mask first")
        return self._points(self._first_bins(np.array([threshold], np.float32)))[0]

    def threshold_at_fpr(self, rate: float) -> float | None:
        """Return the lowest tallied score from which on at most `rate` of the normal items is called anomalous.

        Where ties leave no such score, the threshold lies above all of them. None without normal items.

        Raises:
            UsageError: `rate`, a share such as the 0.05 of the study's older metrics, lies outside [0, 1].
        """
        if not 0 <= rate <= 1:
            raise UsageError(f"a false-positive rate of {rate} is no share", "a number between 0 and 1")
        normals, _ = self._totals()
        if not normals:
            return None
        first_bin = (self._highest >> self._shift) + 1
        for steps in self._steps():
            within = int(np.count_nonzero(steps.false_positives / normals <= rate))
            if within:
                first_bin = int(steps.bins[within - 1])
        return self._edge(first_bin)

    def result(self) -> PixelMetrics:
        """Return all metrics of what was counted so far."""
        n, p = self._totals()
        precision, concordance, dice = np.zeros(3), np.zeros(3), [(0.0, 0, 0.0)]
        for steps in self._steps() if p else ():
            precision += precision_sums(steps)
            concordance += concordance_sums(steps, n)
            dice.append(highest_dice(steps, p))
        best, best_bin, _ = max(dice, key=lambda found: found[0])
        point, *grid = self._points(np.append(best_bin, self._study_bins())) if p else (None,)
        ap, ap_bounds = bounded(precision, p)
        area, area_bounds = bounded(concordance, p * n)
        return PixelMetrics(
            pixels=n + p,
            anomalous=p,
            prevalence=share(p, n + p),
            average_precision=ap,
            average_precision_bounds=ap_bounds,
            auroc=area,
            auroc_bounds=area_bounds,
            best_dice=point,
            best_dice_bounds=Bounds(best, max(bound for _, _, bound in dice)) if p else None,
            study_dice=max(grid, key=lambda tried: tried.dice or 0.0, default=None),
            resolution=2.0 ** (self._shift - 23) if self._shift else 0.0,
        )

    def _study_bins(self) -> Integers:
        grid = np.linspace(_score(self._highest), _score(self._lowest), _STUDY_THRESHOLDS).astype(np.float32)
        return self._first_bins(grid, above=True)


def _plausible(shift: Array, extremes: Array, counts: Array) -> bool:
    """Tell whether these can be the arrays of a tally: their types, shapes, order, signs and limits."""
    typed = all(array.dtype.kind == "i" for array in (shift, extremes, counts))
    if not typed or shift.shape != () or extremes.shape != (2,) or counts.shape[:-1] != (3,):
        return False
    bins, items = counts[0], counts[1:]
    sound = 0 <= shift <= _MAX_SHIFT and (items >= 0).all() and items.any(axis=0).all() and (bins[1:] < bins[:-1]).all()
    if not (sound and bins.size):
        return bool(sound)
    in_range = bool((abs(extremes) <= _MAGNITUDE).all() and (bins[[-1, 0]] == extremes >> shift).all())
    return in_range and np.unique(bins >> _PAGE_BITS).size <= _MAX_PAGES
