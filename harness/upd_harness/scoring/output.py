"""The folder of a run's results: who writes there, which run it belongs to, and what in it is still good.

Where a run begins it writes down what it is: model, backend, precision, preparation, settings. Whoever goes on with it
must be the same, or rows of two models would stand under one name; device and threads may differ. While it writes it
holds a lock; parts of one run hold one each, and may write side by side.
"""

import errno
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from upd_harness.scoring.inputs import RESULT_FOLDERS, Input
from upd_harness.scoring.journal import Row, read_rows, still_good, write_rows
from upd_harness.scoring.parts import Shard
from upd_zoo.errors import UpdZooError, UsageError
from upd_zoo.files import HALF_WRITTEN, write_json

RUN: Final = "run.json"
IDENTITY: Final = "identity.json"
"""What marks a folder as one of results: the first is there when a run has ended, the second from its start."""
RESULTS: Final = "results.jsonl"
RESULT_FILES: Final = (RESULTS, "results.csv", RUN, "report.html")
OF_THE_PLACE: Final = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "ENODEV", "ESTALE", "EMFILE", "ENFILE")
    if hasattr(errno, name)
)
"""Errors that the next input would meet as well: full, over quota, read-only, gone. Any other is that of one input."""

IDENTITY_SCHEMA: Final = "upd-zoo/identity/1"
_BEGINNING: Final = 64
"""Bytes within which a record names its schema."""
_LOCK: Final = ".lock"
_PATIENCE: Final = 2.0
"""Seconds that a part waits for another that is just beginning."""

Mode = Literal["new", "continue", "overwrite"]
Identity = Mapping[str, Any]


def holds_results(folder: Path) -> bool:
    """Return whether a run of this program writes, or wrote, to a folder."""
    return any(_is_ours(folder / name) for name in (RUN, IDENTITY))


def _is_ours(path: Path) -> bool:
    """Return whether a file begins as the records of this program do."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return b'"schema": "upd-zoo/' in stream.read(_BEGINNING)
    except OSError:
        return False


def cannot_be_written(output: Path, error: OSError) -> UpdZooError:
    """Return the one error of a place that takes no results."""
    return UpdZooError(
        f"the results cannot be written to {output}: {error.strerror or error}",
        "a folder with room that can be written",
        "make room, then run the same command with --continue",
    )


@contextmanager
def writing_to(output: Path) -> Iterator[None]:
    """Turn whatever the operating system says of the output folder into one error."""
    try:
        yield
    except OSError as error:
        raise cannot_be_written(output, error) from error


@contextmanager
def opened(
    output: Path, inputs: Mapping[str, Input], identity: Identity, mode: Mode, shard: Shard
) -> Iterator[dict[str, Row]]:
    """Hold the output folder, ready to be written, while the block runs.

    Args:
        output: The folder; made where it is not there.
        inputs: All inputs of the run by name.
        identity: What the run is.
        mode: `new` refuses a folder that is not empty, `continue` finishes what is there, `overwrite` starts again.
        shard: Which part of the run.

    Yields:
        The rows that are there and still good, by the name of their input.

    Raises:
        UsageError: It is no folder, is not empty, belongs to another run, or is being written.
        UpdZooError: It cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"the output {output} is a file", "a folder for the results", "name another with -o")
    if mode == "new":
        _check_room(output, shard)
    with ExitStack() as held:
        with writing_to(output), ExitStack() as briefly:
            output.mkdir(parents=True, exist_ok=True)
            if shard.is_whole:
                held.enter_context(_alone(output))
            else:
                _acquire(held, output, f"{_LOCK}-{shard.part}-of-{shard.parts}")
                _acquire(briefly, output, _LOCK, _PATIENCE)
            if mode == "new":
                _check_room(output, shard)
            _make_ready(output, identity, mode, shard)
        with writing_to(output):
            good = _good_rows(output, inputs, identity, shard)
        yield good


@contextmanager
def held_whole(output: Path, identity: Identity) -> Iterator[None]:
    """Hold the folder of a run whose parts have ended.

    Raises:
        UsageError: A part is being written, or the folder belongs to another run.
    """
    with _alone(output):
        _check_identity(output, identity)
        yield


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the folder against every other run and part."""
    with ExitStack() as held:
        _acquire(held, output, _LOCK)
        for path in sorted(output.glob(f"{_LOCK}-*-of-*")):
            _acquire(held, output, path.name)
        yield


def _acquire(held: ExitStack, output: Path, name: str, patience: float = 0) -> None:
    lock = FileLock(output / name)
    try:
        held.enter_context(lock.acquire(timeout=patience))
    except Timeout:
        raise UsageError(
            f"another run is writing to the output folder {output}",
            "one run at a time, or the parts of one",
            "wait until it has ended, or choose another output folder",
        ) from None


def _check_room(output: Path, shard: Shard) -> None:
    """Refuse a folder in which something is, or for a part its own results."""
    if not output.is_dir():
        return
    names = {path.name for path in output.iterdir() if not path.name.startswith(_LOCK)}
    if names if shard.is_whole else shard.named(RESULTS) in names:
        raise UsageError(
            f"the output folder {output} is not empty",
            "an empty or new folder",
            "add --continue to finish what is there, or --overwrite to start again",
        )


def _make_ready(output: Path, identity: Identity, mode: Mode, shard: Shard) -> None:
    """Put the folder in order for a run, and write down what the run is."""
    if mode == "overwrite":
        _check_ours(output)
        _clear(output, shard)
    if (output / IDENTITY).exists():
        _check_identity(output, identity)
    elif any(_journals(output)):
        raise UsageError(
            f"the results in {output} do not say which run they belong to: an earlier version of upd-zoo wrote them",
            "results that name their run",
            "add --overwrite to start again",
        )
    write_json(output / IDENTITY, {"schema": IDENTITY_SCHEMA, **identity})
    if shard.is_whole:
        _sweep(output)


def _check_identity(output: Path, identity: Identity) -> None:
    """Refuse to mix two runs, and say what differs."""
    differences = [*_differences(_read_identity(output / IDENTITY), identity)]
    if differences:
        raise UsageError(
            f"the results in {output} belong to another run: {'; '.join(differences)}",
            "the same model, preparation and settings; device and threads may differ",
            "choose another output folder, or add --overwrite to start again",
        )


def _differences(known: Identity, identity: Identity) -> Iterator[str]:
    """Yield what differs, field by field."""
    for name, value in identity.items():
        before = known.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            yield from _differences(before, value)
        elif before != value:
            yield f"{name.replace('_', ' ')} was {_shown(before)} and is {_shown(value)}"


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        known = None
    return known if isinstance(known, dict) else {}


def _shown(value: Any) -> str:
    """Return a value of an identity as a user knows it."""
    match value:
        case None | []:
            return "none"
        case dict():
            return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
        case list():
            return ", ".join(map(str, value))
        case str() if len(value) == 64:
            return f"{value[:12]}…"
        case _:
            return str(value)


def _journals(output: Path) -> Iterable[Path]:
    return sorted(output.glob("results*.jsonl"))


def _good_rows(output: Path, inputs: Mapping[str, Input], identity: Identity, shard: Shard) -> dict[str, Row]:
    """Return the rows that need not be made again, and write a journal of them alone."""
    journal = output / shard.named(RESULTS)
    earlier = [row for path in (_journals(output) if shard.is_whole else [journal]) for row in read_rows(path)]
    if earlier and not any(row["input"] in inputs for row in earlier):
        raise UsageError(
            f"none of the {len(earlier)} results in {output} belongs to an input in this folder",
            "the folder of inputs that they belong to",
            "choose another output folder, or add --overwrite to start again",
        )
    good = {
        row["input"]: row
        for row in earlier
        if row["input"] in inputs and still_good(row, inputs[row["input"]], output, identity)
    }
    write_rows(journal, good.values())
    return good


def _check_ours(output: Path) -> None:
    """Refuse to remove what somebody else keeps under the names of results."""
    ours = holds_results(output) or any(_is_journal(path) for path in _journals(output))
    foreign = [name for name in (*RESULT_FILES, *RESULT_FOLDERS) if (output / name).exists()]
    if foreign and not ours:
        raise UsageError(
            f"{output} holds {', '.join(foreign)}, and nothing says that upd-zoo wrote it",
            "a folder of results of an earlier run, or one without such names",
            "choose another output folder",
        )


def _is_journal(path: Path) -> bool:
    """Return whether a file begins with a result, of this version or an earlier one."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return '"upd-zoo/score/' in stream.readline()


def _clear(output: Path, shard: Shard) -> None:
    """Remove what an earlier run wrote, and nothing else; of a part, only what no other part may be writing."""
    for name in RESULT_FILES:
        (output / shard.named(name)).unlink(missing_ok=True)
    if shard.is_whole:
        for name in RESULT_FILES:
            stem, suffix = name.split(".")
            for path in output.glob(f"{stem}-*-of-*.{suffix}"):
                path.unlink()
        for name in RESULT_FOLDERS:
            if (output / name).is_dir() and not (output / name).is_symlink():
                shutil.rmtree(output / name)
    if not any(_journals(output)):
        (output / IDENTITY).unlink(missing_ok=True)


def _sweep(output: Path) -> None:
    """Remove the half-written files of a run that was killed."""
    folders = [output / name for name in RESULT_FOLDERS]
    for path in (*output.glob(HALF_WRITTEN), *(path for folder in folders for path in folder.rglob(HALF_WRITTEN))):
        path.unlink()
