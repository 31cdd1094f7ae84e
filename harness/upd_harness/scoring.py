"""A folder in, results out: maps, scores and a report; one bad file never stops the rest.

    results.jsonl   one line per input, appended as it is finished; what a later run goes on from
    results.csv     the same for spreadsheets
    run.json        arguments, versions, device, counts, SHA-256 of results.jsonl
    report.html     for people
    maps/ overlays/ thumbnails/

Files are read and written by threads while the network runs, a bounded number at a time, so memory does not grow with
the number of inputs. Which files share a batch depends on the list of inputs alone: a run that was killed and continued
gives the same numbers as one that was not.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from upd_harness.heads import Heads
from upd_harness.images import Case, find_images, open_case
from upd_harness.journal import (
    SCHEMA,
    Row,
    in_order,
    open_journal,
    read_rows,
    still_good,
    write_csv,
    write_row,
    write_rows,
)
from upd_harness.provenance import describe_run, utc_now
from upd_harness.report import colour_range, thumbnail, write_score_report
from upd_zoo.data.gate import VOLUME_SUFFIXES, suffix_of
from upd_zoo.errors import InputError, InputErrorCode, UpdZooError, UsageError
from upd_zoo.files import HALF_WRITTEN, replacing, sha256_of, write_json
from upd_zoo.runtime import Array, Model

RESULT_FILES: Final = ("results.jsonl", "results.csv", "run.json", "report.html")
RESULT_FOLDERS: Final = ("maps", "overlays", "thumbnails")
_AHEAD: Final = 2
"""Groups of files that are read before their turn, and that may wait to be written."""

Progress = Callable[[int, int, str], None]
"""Called with inputs done, inputs in all, and the name of the last one."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of a run this process does: part `part` of `parts`, counted from 0.

    Raises:
        UsageError: There is no such part.
    """

    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        if self.parts < 1 or not 0 <= self.part < self.parts:
            raise UsageError(
                f"there is no part {self.part} of {self.parts}", f"0 to {self.parts - 1}, for parts are counted from 0"
            )

    def named(self, name: str) -> str:
        """Return the file name of this part's results, such as `results.jsonl` or `results-1-of-4.jsonl`."""
        stem, suffix = name.split(".")
        return name if self.parts == 1 else f"{stem}-{self.part}-of-{self.parts}.{suffix}"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a folder is scored.

    Attributes:
        batch_size: Images per call of the network.
        workers: Threads that read and write files.
        mode: `new` refuses an output folder that is not empty, `continue` finishes it, `overwrite` starts again.
        shard: Which part of the inputs.
        heads: How scans are prepared; None where they are scored as they are.
    """

    batch_size: int = 16
    workers: int = 2
    mode: Literal["new", "continue", "overwrite"] = "new"
    shard: Shard = field(default_factory=Shard)
    heads: Heads | None = None

    @property
    def space(self) -> dict[str, Any] | None:
        """What every result says of the preparation."""
        return None if self.heads is None else self.heads.space.model_dump()


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: inputs in all, and how many were scored, failed, taken from an earlier run, are anomalous."""

    inputs: int
    ok: int
    failed: int
    reused: int
    anomalous: int
    report: Path


def score_folder(
    model: Model,
    inputs: Path,
    output: Path,
    settings: Settings | None = None,
    *,
    revision: str = "main",
    arguments: dict[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> Summary:
    """Score every image below a folder.

    Args:
        model: What scores.
        inputs: A folder, searched recursively, or one file.
        output: Where results go.
        settings: How.
        revision: Which revision of the model, as the user named it.
        arguments: What the user asked for, kept in `run.json`.
        on_progress: Told after every input.

    Raises:
        NotFoundError: There is no image.
        UsageError: `output` is not empty and the mode is `new`, or it holds the inputs.
        UpdZooError: The results cannot be written; what was written stays valid.
    """
    settings = settings or Settings()
    began, started = time.monotonic(), utc_now()
    base = inputs if inputs.is_dir() else inputs.parent
    if inputs.resolve().is_relative_to(output.resolve()):
        raise UsageError(f"the inputs lie in the output folder {output}", "an output folder of its own")
    names = [path.relative_to(base).as_posix() for path in find_images(inputs, output)]
    names = names if settings.heads is None else settings.heads.chosen(names)
    groups = _groups(names, settings.batch_size)[settings.shard.part :: settings.shard.parts]
    grouped = {name for group in groups for name in group}
    mine = [name for name in names if name in grouped]
    try:
        finished = _open_output(output, base, settings, model).intersection(mine)
        scorer = _Scorer(model, revision, base, output, settings)
        _score(scorer, groups, finished, len(mine), on_progress)
        run = describe_run("score", model, revision, arguments or {}, started, time.monotonic() - began)
        run["colours"] = dict(zip(("low", "high"), colour_range(model.calibration), strict=True))
        return _conclude(output, settings.shard, run, mine, len(finished))
    except OSError as error:
        raise UpdZooError(
            f"the results cannot be written: {error.strerror or error}",
            "a folder with room that can be written",
            "make room, then run the same command with --continue",
        ) from error


def _groups(names: list[str], batch_size: int) -> list[list[str]]:
    """Return which files share batches: a volume stands alone, photographs come `batch_size` together."""
    volumes = [[name] for name in names if suffix_of(Path(name)) in VOLUME_SUFFIXES]
    flat = [name for name in names if suffix_of(Path(name)) not in VOLUME_SUFFIXES]
    return volumes + [flat[start : start + batch_size] for start in range(0, len(flat), batch_size)]


def _open_output(output: Path, inputs: Path, settings: Settings, model: Model) -> set[str]:
    """Make the output folder ready; return the inputs whose results are already there and still good."""
    journal = output / settings.shard.named("results.jsonl")
    if settings.mode == "overwrite":
        _clear(output, settings.shard)
    occupied = output.is_dir() and any(
        path for path in output.iterdir() if settings.shard.parts == 1 or path.name == journal.name
    )
    if occupied and settings.mode == "new":
        raise UsageError(
            f"the output folder {output} is not empty",
            "an empty or new folder",
            "add --continue to finish what is there, or --overwrite to start again",
        )
    output.mkdir(parents=True, exist_ok=True)
    if settings.shard.parts == 1:
        _sweep(output)
    earlier = sorted(output.glob("results*.jsonl")) if settings.shard.parts == 1 else [journal]
    good = {
        row["input"]: row
        for path in earlier
        for row in read_rows(path)
        if still_good(row, inputs, output, model.manifest_sha256, settings.space)
    }
    write_rows(journal, good.values())
    return set(good)


def _clear(output: Path, shard: Shard) -> None:
    """Remove what an earlier run wrote, and nothing else; of a part, only what no other part may be writing."""
    for name in RESULT_FILES:
        (output / shard.named(name)).unlink(missing_ok=True)
    if shard.parts > 1:
        return
    for name in RESULT_FILES:
        stem, suffix = name.split(".")
        for path in output.glob(f"{stem}-*-of-*.{suffix}"):
            path.unlink()
    for name in RESULT_FOLDERS:
        shutil.rmtree(output / name, ignore_errors=True)


def _sweep(output: Path) -> None:
    """Remove the half-written files of a run that was killed."""
    folders = [output / name for name in RESULT_FOLDERS]
    for path in (*output.glob(HALF_WRITTEN), *(path for folder in folders for path in folder.rglob(HALF_WRITTEN))):
        path.unlink()


def _score(
    scorer: "_Scorer", groups: list[list[str]], finished: set[str], total: int, on_progress: Progress | None
) -> None:
    """Score what is not finished, appending each row to the journal as it is done."""
    waiting = [group for group in groups if not finished.issuperset(group)]
    done = total - sum(len(group) for group in waiting)
    with open_journal(scorer.journal, "a") as stream:
        for row in scorer.rows(waiting):
            if row["input"] not in finished:
                write_row(stream, row)
            done += 1
            if on_progress is not None:
                on_progress(done, total, row["input"])


@dataclass(frozen=True, slots=True)
class _Opened:
    """One input, read or refused, and how long that took."""

    name: str
    sha256: str | None
    case: Case | None
    error: InputError | None
    seconds: float


class _Scorer:
    """Reads, predicts and writes groups of inputs, overlapping the three."""

    def __init__(self, model: Model, revision: str, inputs: Path, output: Path, settings: Settings) -> None:
        self.model, self.inputs, self.output, self.settings = model, inputs, output, settings
        self.journal = output / settings.shard.named("results.jsonl")
        self.identity = {"id": model.config.id, "revision": revision, "sha256": model.manifest_sha256}
        self.low, self.high = colour_range(model.calibration)

    def rows(self, groups: list[list[str]]) -> Iterator[Row]:
        """Yield one row per input, in order."""
        writing: deque[list[Future[Row]]] = deque()
        with ThreadPoolExecutor(self.settings.workers, "upd-zoo") as pool:
            try:
                for group in self._read_ahead(pool, groups):
                    writing.append(self._predict(pool, group))
                    if len(writing) > _AHEAD:
                        yield from (future.result() for future in writing.popleft())
                while writing:
                    yield from (future.result() for future in writing.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _read_ahead(self, pool: ThreadPoolExecutor, groups: list[list[str]]) -> Iterator[list[_Opened]]:
        reading: deque[list[Future[_Opened]]] = deque()
        for group in groups:
            reading.append([pool.submit(self._open, name) for name in group])
            if len(reading) > _AHEAD:
                yield [future.result() for future in reading.popleft()]
        while reading:
            yield [future.result() for future in reading.popleft()]

    def _open(self, name: str) -> _Opened:
        began = time.monotonic()
        path = self.inputs / name
        try:
            heads = self.settings.heads
            case = open_case(path, self.model.config) if heads is None else heads.open(name, self.inputs)
            return _Opened(name, sha256_of(path), case, None, time.monotonic() - began)
        except InputError as error:
            refusal = error
        except MemoryError:
            problem = f"{path.name}: it needs more memory than there is"
            refusal = InputError(InputErrorCode.TOO_LARGE, problem, "", "lower UPD_ZOO_MAX_INPUT_BYTES or add memory")
        except OSError as error:
            problem = f"{path.name}: it went away while it was read ({error.strerror})"
            refusal = InputError(InputErrorCode.UNREADABLE, problem, "", "add --continue to try it again")
        return _Opened(name, None, None, refusal, time.monotonic() - began)

    def _predict(self, pool: ThreadPoolExecutor, group: list[_Opened]) -> list[Future[Row]]:
        """Run the network over a group and leave the writing of its results to the pool."""
        began = time.monotonic()
        cases = [opened.case for opened in group if opened.case is not None]
        maps, scores = self._run([case.images for case in cases])
        share = (time.monotonic() - began) / max(1, sum(len(case.images) for case in cases))
        futures, start = [], 0
        for opened in group:
            stop = start + (len(opened.case.images) if opened.case is not None else 0)
            futures.append(pool.submit(self._row, opened, maps[start:stop], scores[start:stop], share * (stop - start)))
            start = stop
        return futures

    def _run(self, images: list[Array]) -> tuple[Array, Array]:
        """Return maps (N, 128, 128) and scores (N,) of several cases' images, in batches that may span cases."""
        if not images:
            return np.empty((0, 0, 0), np.float32), np.empty(0, np.float32)
        stack = np.concatenate(images) if len(images) > 1 else images[0]
        size = self.settings.batch_size
        parts = [self.model(stack[start : start + size]) for start in range(0, len(stack), size)]
        return np.concatenate([part[0][:, 0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _row(self, opened: _Opened, maps: Array, scores: Array, seconds: float) -> Row:
        """Write the outputs of one input and return its row."""
        began = time.monotonic()
        error = opened.error
        if opened.case is not None and not (np.isfinite(maps).all() and np.isfinite(scores).all()):
            error = InputError(InputErrorCode.NOT_FINITE, f"the model's map of {opened.name} is not finite")
        if opened.case is None or error is not None:
            result = _failed(error)
        else:
            result = self._succeeded(opened.name, opened.case, maps, scores)
        seconds += opened.seconds + time.monotonic() - began
        head = {"schema": SCHEMA, "input": opened.name, "input_sha256": opened.sha256}
        return head | result | {"model": self.identity, "space": self.settings.space, "seconds": round(seconds, 3)}

    def _succeeded(self, name: str, case: Case, maps: Array, scores: Array) -> Row:
        calibration = self.model.calibration
        is_volume = suffix_of(Path(name)) in VOLUME_SUFFIXES
        healthy = calibration.subject_scores if is_volume else calibration.image_scores
        threshold = calibration.subject_threshold if is_volume else calibration.image_threshold
        worst = int(scores.argmax())
        score = float(scores[worst])
        outputs = case.write(self.output, name, maps, self.low, self.high)
        outputs["thumbnail"] = f"thumbnails/{name}.jpg"
        with replacing(self.output / outputs["thumbnail"]) as temporary:
            temporary.write_bytes(thumbnail(case.images[worst], maps[worst], self.low, self.high))
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
            "outputs": outputs,
            "geometry": case.describe(),
            "warnings": [caution.as_document() for caution in case.cautions],
        }


def _failed(error: InputError | None) -> Row:
    nothing = dict.fromkeys(("score", "percentile", "threshold", "is_anomalous", "slice_scores", "outputs", "geometry"))
    told = {"code": str(error.code), "message": str(error)} if error is not None else None
    return {"status": "failed", "error": told, **nothing, "warnings": []}


def _conclude(output: Path, shard: Shard, run: dict[str, Any], names: list[str], reused: int) -> Summary:
    """Put the journal in order and write the table, the run and the report."""
    journal = output / shard.named("results.jsonl")
    write_rows(journal, in_order(journal, names))
    write_csv(output / shard.named("results.csv"), read_rows(journal))
    counts = {"ok": 0, "failed": 0, "skipped": 0, "anomalous": 0}
    for row in read_rows(journal):
        counts[row["status"]] += 1
        counts["anomalous"] += bool(row["is_anomalous"])
    run |= {"counts": counts, "results_sha256": sha256_of(journal), "shard": asdict(shard)}
    write_json(output / shard.named("run.json"), run)
    report = write_score_report(output, run, read_rows(journal), name=shard.named("report.html"))
    return Summary(len(names), counts["ok"], counts["failed"], reused, counts["anomalous"], report)
