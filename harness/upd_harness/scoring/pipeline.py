"""Reading, predicting and writing the inputs of a run, overlapping the three, in bounded memory.

Files are read and written by threads while the network runs, one group of inputs that share batches after the other.
How many groups are in flight is bounded by their number and by the bytes that their cases hold, never by the number of
inputs.

One bad input is one failed row, whether it fails while it is read or while its map is written. What stops the run is
what the next input would meet as well: a place that takes no more files, or a model that does not run.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import Final, Protocol

import numpy as np

from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import Row
from upd_harness.scoring.panel import Scorer
from upd_harness.scoring.reading import Opened, Reader, out_of_memory
from upd_zoo.errors import UpdZooError
from upd_zoo.runtime.model import Array, Model

_AHEAD: Final = 2
"""Groups that are read before their turn, and that may wait to be written."""
_BUDGET: Final = 256 << 20
"""Bytes that the cases of all groups in flight may hold together; a group that needs more by itself comes alone."""


class Tells(Protocol):
    """What becomes of a scored input."""

    def row(self, opened: Opened, maps: Array, scores: Array, seconds: float) -> Row:
        """Return its row, having written what there is to write."""


class Pipeline:
    """Scores groups of inputs.

    Args:
        reader: Reads them, and finds the model of each.
        writer: Writes their results.
        batch_size: Images per call of the network.
        workers: Threads that read and write files.
    """

    def __init__(self, reader: Reader, writer: Tells, *, batch_size: int, workers: int) -> None:
        self.reader, self.writer = reader, writer
        self.batch_size, self.workers = batch_size, workers
        self._lock, self._held, self._largest = Lock(), 0, 0

    def rows(self, groups: Iterable[list[Input]]) -> Iterator[Row]:
        """Yield one row per input, in order.

        Raises:
            UpdZooError: The place takes no more results, or the model does not run; the rows before are yielded first.
        """
        writing: deque[list[Future[Row]]] = deque()
        with ThreadPoolExecutor(self.workers, "upd-zoo") as pool:
            try:
                for group in self._read_ahead(pool, groups):
                    try:
                        writing.append(self._predict(pool, group))
                    except UpdZooError:
                        yield from _all_of(writing)
                        raise
                    while len(writing) > _AHEAD or (writing and not self._has_room(1)):
                        yield from _results(writing.popleft())
                yield from _all_of(writing)
            finally:
                pool.shutdown(cancel_futures=True)

    def _has_room(self, groups: int) -> bool:
        """Return whether so many groups more, as large as the largest so far, stay within the budget."""
        return self._held + groups * self._largest <= _BUDGET

    def _read_ahead(self, pool: ThreadPoolExecutor, groups: Iterable[list[Input]]) -> Iterator[list[Opened]]:
        reading: deque[list[Future[Opened]]] = deque()
        for group in groups:
            # What the first group holds is not known before it is read.
            while reading and (len(reading) > _AHEAD or not self._largest or not self._has_room(len(reading) + 1)):
                yield self._measured(reading.popleft())
            reading.append([pool.submit(self._open, source) for source in group])
        while reading:
            yield self._measured(reading.popleft())

    def _measured(self, futures: list[Future[Opened]]) -> list[Opened]:
        group = [future.result() for future in futures]
        self._largest = max(self._largest, 1, sum(opened.nbytes for opened in group))
        return group

    def _hold(self, nbytes: int) -> None:
        with self._lock:
            self._held += nbytes

    def _open(self, source: Input) -> Opened:
        opened = self.reader.open(source)
        self._hold(opened.nbytes)
        return opened

    def _predict(self, pool: ThreadPoolExecutor, group: list[Opened]) -> list[Future[Row]]:
        """Run the networks over a group and leave the writing of its results to the pool."""
        scorers = {id(opened.scorer): opened.scorer for opened in group}
        found = [
            each
            for key, scorer in scorers.items()
            for each in self._predicted(scorer, [opened for opened in group if id(opened.scorer) == key])
        ]
        place = {opened.source.name: number for number, opened in enumerate(group)}
        found.sort(key=lambda each: place[each[0].source.name])
        return [pool.submit(self._row, *each) for each in found]

    def _predicted(self, scorer: Scorer | None, group: list[Opened]) -> list[tuple[Opened, Array, Array, float]]:
        """Return inputs that share a model with their maps, their scores and the seconds that these took."""
        began = time.monotonic()
        try:
            maps, scores = self._run(scorer, [opened.case.images for opened in group if opened.case is not None])
        except MemoryError:
            group = [self._given_up(opened) for opened in group]
            maps, scores = self._run(None, [])
        share = (time.monotonic() - began) / max(1, len(scores))
        found, start = [], 0
        for opened in group:
            stop = start + (len(opened.case.images) if opened.case is not None else 0)
            found.append((opened, maps[start:stop], scores[start:stop], share * (stop - start)))
            start = stop
        return found

    def _given_up(self, opened: Opened) -> Opened:
        """Return an input whose images were too many to be looked at together."""
        if opened.case is None:
            return opened
        self._hold(-opened.nbytes)
        return replace(opened, sha256=None, case=None, error=out_of_memory(opened.source))

    def _run(self, scorer: Scorer | None, images: list[Array]) -> tuple[Array, Array]:
        """Return maps (N, H, W) and scores (N,) of several cases' images, in batches that may span cases."""
        if scorer is None or not images:
            return np.empty((0, 0, 0), np.float32), np.empty(0, np.float32)
        return batched(scorer.model, np.concatenate(images) if len(images) > 1 else images[0], self.batch_size)

    def _row(self, opened: Opened, maps: Array, scores: Array, seconds: float) -> Row:
        try:
            return self.writer.row(opened, maps, scores, seconds)
        finally:
            self._hold(-opened.nbytes)


def batched(model: Model, images: Array, batch_size: int) -> tuple[Array, Array]:
    """Return maps (N, H, W) and scores (N,) of images (N, C, H, W), which are looked at in batches."""
    parts = [model(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    return np.concatenate([part[0][:, 0] for part in parts]), np.concatenate([part[1] for part in parts])


def _results(futures: list[Future[Row]]) -> Iterator[Row]:
    return (future.result() for future in futures)


def _all_of(writing: deque[list[Future[Row]]]) -> Iterator[Row]:
    while writing:
        yield from _results(writing.popleft())
