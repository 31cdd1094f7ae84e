"""Reading, predicting and writing the inputs of a run, overlapping the three, in bounded memory.

Files are read and written by threads while the network runs, one group of inputs that share batches after the other.
How many groups are in flight is bounded by their number and by the bytes that their cases hold, never by the number of
inputs.

One bad input is one failed row, whether it fails while it is read or while its map is written. What stops the run is
what the next input would meet as well: a place that takes no more files, or a model that does not run.
"""

import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from nibabel.spatialimages import HeaderDataError

from upd_harness.report.overlay import colour_range, thumbnail
from upd_harness.scoring.cases import Case, open_case
from upd_harness.scoring.heads import Heads
from upd_harness.scoring.inputs import Input, Kind
from upd_harness.scoring.journal import SCHEMA, Row
from upd_harness.scoring.likeness import doubts
from upd_harness.scoring.output import OF_THE_PLACE, Identity, cannot_be_written
from upd_zoo.errors import InputError, InputErrorCode, UpdZooError
from upd_zoo.files import replacing, sha256_of
from upd_zoo.images.gate import hashes_of_what_is_read
from upd_zoo.runtime.model import Array, Model

_AHEAD: Final = 2
"""Groups that are read before their turn, and that may wait to be written."""
_BUDGET: Final = 256 << 20
"""Bytes that the cases of all groups in flight may hold together; a group that needs more by itself comes alone."""
_UNWRITABLE: Final = (ArithmeticError, HeaderDataError, OSError, ValueError, struct.error)
"""What NumPy, nibabel, tifffile, Pillow and the operating system raise for results that they cannot store."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """One input, read or refused, and how long that took."""

    source: Input
    sha256: str | None
    case: Case | None
    error: InputError | None
    seconds: float

    @property
    def nbytes(self) -> int:
        return 0 if self.case is None else self.case.nbytes


class Scorer:
    """Scores groups of inputs.

    Args:
        model: What scores.
        identity: What the run is, for every row.
        root: Folder of the inputs.
        output: Where maps and pictures go.
        batch_size: Images per call of the network.
        workers: Threads that read and write files.
        heads: How scans are prepared; None where they are scored as they are.
    """

    def __init__(
        self,
        model: Model,
        identity: Identity,
        root: Path,
        output: Path,
        *,
        batch_size: int,
        workers: int,
        heads: Heads | None = None,
    ) -> None:
        self.model, self.identity, self.root, self.output = model, identity, root, output
        self.batch_size, self.workers, self.heads = batch_size, workers, heads
        self.low, self.high = colour_range(model.calibration)
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

    def _read_ahead(self, pool: ThreadPoolExecutor, groups: Iterable[list[Input]]) -> Iterator[list[_Opened]]:
        reading: deque[list[Future[_Opened]]] = deque()
        for group in groups:
            # What the first group holds is not known before it is read.
            while reading and (len(reading) > _AHEAD or not self._largest or not self._has_room(len(reading) + 1)):
                yield self._measured(reading.popleft())
            reading.append([pool.submit(self._open, source) for source in group])
        while reading:
            yield self._measured(reading.popleft())

    def _measured(self, futures: list[Future[_Opened]]) -> list[_Opened]:
        group = [future.result() for future in futures]
        self._largest = max(self._largest, 1, sum(opened.nbytes for opened in group))
        return group

    def _hold(self, nbytes: int) -> None:
        with self._lock:
            self._held += nbytes

    def _open(self, source: Input) -> _Opened:
        began = time.monotonic()
        try:
            if source.refusal is not None:
                raise source.refusal
            with hashes_of_what_is_read() as hashes:
                case = self._case(source)
            is_volume = source.kind is Kind.VOLUME
            case.cautions.extend(doubts(source.name, case.images, self.model, levels=case.levels, is_volume=is_volume))
            opened = _Opened(source, source.sha256_of(hashes), case, None, time.monotonic() - began)
            self._hold(opened.nbytes)
            return opened
        except InputError as error:
            refusal = error
        except MemoryError:
            refusal = _out_of_memory(source)
        except OSError as error:
            problem = f"{source.files[0].name}: it disappeared while it was being read ({error.strerror})"
            refusal = InputError(InputErrorCode.UNREADABLE, problem, "", "add --continue to try it again")
        return _Opened(source, None, None, refusal, time.monotonic() - began)

    def _case(self, source: Input) -> Case:
        return open_case(source, self.model.config) if self.heads is None else self.heads.open(source, self.root)

    def _predict(self, pool: ThreadPoolExecutor, group: list[_Opened]) -> list[Future[Row]]:
        """Run the network over a group and leave the writing of its results to the pool."""
        began = time.monotonic()
        try:
            maps, scores = self._run([opened.case.images for opened in group if opened.case is not None])
        except MemoryError:
            group = [self._given_up(opened) for opened in group]
            maps, scores = self._run([])
        share = (time.monotonic() - began) / max(1, len(scores))
        futures, start = [], 0
        for opened in group:
            stop = start + (len(opened.case.images) if opened.case is not None else 0)
            futures.append(pool.submit(self._row, opened, maps[start:stop], scores[start:stop], share * (stop - start)))
            start = stop
        return futures

    def _given_up(self, opened: _Opened) -> _Opened:
        """Return an input whose images were too many to be looked at together."""
        if opened.case is None:
            return opened
        self._hold(-opened.nbytes)
        return replace(opened, sha256=None, case=None, error=_out_of_memory(opened.source))

    def _run(self, images: list[Array]) -> tuple[Array, Array]:
        """Return maps (N, 128, 128) and scores (N,) of several cases' images, in batches that may span cases."""
        if not images:
            return np.empty((0, 0, 0), np.float32), np.empty(0, np.float32)
        stack = np.concatenate(images) if len(images) > 1 else images[0]
        size = self.batch_size
        parts = [self.model(stack[start : start + size]) for start in range(0, len(stack), size)]
        return np.concatenate([part[0][:, 0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _row(self, opened: _Opened, maps: Array, scores: Array, seconds: float) -> Row:
        """Write the outputs of one input and return its row."""
        began = time.monotonic()
        try:
            result = self._succeeded(opened, maps, scores)
        except InputError as error:
            result = _failed(error)
        seconds += opened.seconds + time.monotonic() - began
        self._hold(-opened.nbytes)
        run = {name: self.identity[name] for name in ("model", "backend", "precision", "space")}
        head = {"schema": SCHEMA, "input": opened.source.name, "input_sha256": opened.sha256}
        return head | result | run | {"device": self.model.device, "seconds": round(seconds, 3)}

    def _succeeded(self, opened: _Opened, maps: Array, scores: Array) -> Row:
        """Return what is told of a scored input.

        Raises:
            InputError: It was not read, its map is not finite, or its results cannot be stored.
        """
        if opened.case is None:
            raise opened.error or InputError(InputErrorCode.UNREADABLE, f"{opened.source.name}: it was not read")
        if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            raise InputError(InputErrorCode.NOT_FINITE, f"{opened.source.name}: the model's map of it is not finite")
        case, calibration = opened.case, self.model.calibration
        is_volume = opened.source.kind is Kind.VOLUME
        healthy = calibration.subject_scores if is_volume else calibration.image_scores
        threshold = calibration.subject_threshold if is_volume else calibration.image_threshold
        score = float(scores.max())
        written = self._written(opened.source, case, maps, int(scores.argmax()))
        slice_scores: list[float | None] = [None] * case.depth
        for position, value in zip(case.positions, scores, strict=True):
            slice_scores[position] = float(value)
        return {
            "status": "ok",
            "error": None,
            "score": score,
            "percentile": round(healthy.percentile(score), 3),
            "threshold": threshold,
            "is_anomalous": score > threshold,
            "slice_scores": slice_scores if is_volume else None,
            **written,
            "geometry": case.describe(),
            "warnings": [caution.as_document() for caution in case.cautions],
        }

    def _written(self, source: Input, case: Case, maps: Array, worst: int) -> Row:
        """Write the outputs of one input; return their paths relative to the output folder, and their hashes.

        Raises:
            InputError: They cannot be stored, of this input alone.
            UpdZooError: Nothing can be stored in this place.
        """
        try:
            outputs = case.write(self.output, source.stored, maps, self.low, self.high)
            outputs["thumbnail"] = f"thumbnails/{source.stored}.jpg"
            with replacing(self.output / outputs["thumbnail"]) as temporary:
                temporary.write_bytes(thumbnail(case.images[worst], maps[worst], self.low, self.high))
            hashes = {kind: sha256_of(self.output / name) for kind, name in outputs.items()}
            return {"outputs": outputs, "outputs_sha256": hashes}
        except MemoryError:
            raise _out_of_memory(source) from None
        except _UNWRITABLE as error:
            if isinstance(error, OSError) and error.errno in OF_THE_PLACE:
                raise cannot_be_written(self.output, error) from error
            raise _unwritable(source, error) from error


def _results(futures: list[Future[Row]]) -> Iterator[Row]:
    return (future.result() for future in futures)


def _all_of(writing: deque[list[Future[Row]]]) -> Iterator[Row]:
    while writing:
        yield from _results(writing.popleft())


def _out_of_memory(source: Input) -> InputError:
    problem = f"{source.files[0].name}: it needs more memory than is available"
    return InputError(InputErrorCode.TOO_LARGE, problem, "", "lower UPD_ZOO_MAX_INPUT_BYTES or add memory")


def _unwritable(source: Input, error: BaseException) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
    problem = f"{source.files[0].name}: its results cannot be stored ({reason})"
    return InputError(InputErrorCode.UNWRITABLE, problem, "", "add --continue to try it again")


def _failed(error: InputError) -> Row:
    nothing: dict[str, Any] = dict.fromkeys(
        ("score", "percentile", "threshold", "is_anomalous", "slice_scores", "outputs", "outputs_sha256", "geometry")
    )
    return {"status": "failed", "error": {"code": str(error.code), "message": str(error)}, **nothing, "warnings": []}
