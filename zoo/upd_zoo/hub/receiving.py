"""How files arrive in the cache: each whole or not at all, several at a time, and on from where a transfer broke off.

Who asked waits in its own thread, so that an interruption is heard at once, and hears there how far work is. The
threads that receive may be left behind in a read that nobody can end, and change no file any more by then.
"""

import hashlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from upd_zoo.artefact.folder import is_intact, wrong_bytes
from upd_zoo.artefact.record import LFS_POINTER
from upd_zoo.artefact.records import FileRecord
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError
from upd_zoo.files import naming
from upd_zoo.progress import Progress, Report

Deliver = Callable[[str, FileRecord, int], Generator[bytes]]
"""Given a file's path, record and how many of its bytes are there, yields the others as the hub has them, or any."""
PART: Final = ".*.part"
"""What a transfer leaves that broke off: a pattern of file names."""
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Awaited:
    """A file that shall arrive.

    Attributes:
        target: Where.
        name: Its relative path.
        record: Its size and hash.
        deliver: Asked for its bytes.
    """

    target: Path
    name: str
    record: FileRecord
    deliver: Deliver

    @property
    def part(self) -> Path:
        """Where it lies until it is whole; only bytes of this hash are ever added there."""
        return self.target.with_name(f".{self.record.sha256[:16]}.part")


class _Closed(Exception):  # noqa: N818 - it ends a thread of which nobody wants anything any more
    """No file may be changed any more."""


class _Gate:
    """What threads pass to change files, one at a time, until it is closed."""

    def __init__(self) -> None:
        self._lock, self._closed = threading.Lock(), False

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Let files be changed in the block.

        Raises:
            _Closed: The gate is closed.
        """
        with self._lock:
            if self._closed:
                raise _Closed
            yield

    def close(self) -> None:
        """Let nobody change a file any more, once who is at it has ended."""
        with self._lock:
            self._closed = True


_Told: TypeAlias = Progress | Awaited | BaseException | None
"""How far a file is; that it has arrived; why a thread failed; that it has ended."""


def receive(files: Sequence[Awaited], on_progress: Report, at_once: int = 1) -> None:
    """Have files delivered, each whole; of one that breaks off, what has arrived stays.

    Args:
        files: All that shall arrive.
        on_progress: Told in the beginning, for every file, how much of it is there, and then whenever more is.
        at_once: How many at a time. Those that a hub gives up are asked for once more, one at a time, for there are
            hubs that bear no more.

    Raises:
        IntegrityError: A hub's bytes are wrong; none of them stay.
        NotFoundError: It has no such file.
        OfflineError: It does not deliver.
    """
    for each in files:
        there = each.part.stat().st_size if each.part.is_file() else 0
        on_progress(Progress(each.name, min(there, each.record.bytes), each.record.bytes))
    left = _together(files, on_progress, at_once) if min(at_once, len(files)) > 1 else files
    for each in left:
        _bring(each, _Gate(), on_progress)


def _together(files: Sequence[Awaited], on_progress: Report, at_once: int) -> list[Awaited]:
    """Have files delivered several at a time; return those that did not arrive because a hub gave one of them up."""
    gate, given_up = _Gate(), threading.Event()
    waiting: SimpleQueue[Awaited] = SimpleQueue()
    heard: SimpleQueue[_Told] = SimpleQueue()
    for each in {each.part: each for each in reversed(files)}.values():  # files of the same bytes share a part
        waiting.put(each)
    workers = min(at_once, len(files))
    for _ in range(workers):
        given = (waiting, heard, gate, given_up)
        threading.Thread(target=_work, args=given, name="upd-zoo transfer", daemon=True).start()
    left = list(files)
    try:
        while workers:
            told = heard.get()
            if isinstance(told, Progress):
                on_progress(told)
            elif isinstance(told, Awaited):
                left.remove(told)
            elif told is not None:
                raise told
            else:
                workers -= 1
    finally:
        gate.close()
    return left


def _work(waiting: "SimpleQueue[Awaited]", heard: "SimpleQueue[_Told]", gate: _Gate, given_up: threading.Event) -> None:
    """Have one file after the other delivered, until none waits or a hub has given one up; tell how it goes."""
    failure: BaseException | None = None
    try:
        while not given_up.is_set():
            each = waiting.get_nowait()
            _bring(each, gate, heard.put)
            heard.put(each)
    except OfflineError:
        given_up.set()
    except (Empty, _Closed):
        pass
    except BaseException as error:  # whatever it is, who waits raises it
        failure = error
    heard.put(failure)


def _bring(each: Awaited, gate: _Gate, on_progress: Report, again: bool = True) -> None:
    """Have one file delivered whole, or leave no trace of it; wrong bytes may be an accident, so once more."""
    damaged = each.target.is_file() and not is_intact(each.target.parent, each.target.name, each.record)
    if damaged:
        with gate.passed():
            each.target.unlink()  # a wrong one must not outlive a delivery that fails
    try:
        _receive(each, gate, on_progress)
    except IntegrityError:
        if not again:
            raise
        _bring(each, gate, on_progress, again=False)
    except (OfflineError, NotFoundError) as error:
        if not damaged:
            raise
        raise IntegrityError(
            f"{each.name} in the cache did not have the SHA-256 of its manifest, and was removed",
            "",
            "pull the model again once its hub can be reached",
        ) from error


def _receive(each: Awaited, gate: _Gate, on_progress: Report) -> None:
    """Have the rest of a file delivered, and put it in its place; where that breaks off, what has arrived stays."""
    part, record = each.part, each.record
    with gate.passed():
        part.parent.mkdir(parents=True, exist_ok=True)
        if part.is_symlink() or (part.is_file() and part.stat().st_size > record.bytes):
            part.unlink()
    digest, done = _arrived(part)
    with naming(each.target, part):
        if done < record.bytes or not record.bytes:
            with ExitStack() as stack:
                with gate.passed():
                    writer = stack.enter_context(part.open("ab"))
                for block in stack.enter_context(closing(each.deliver(each.name, record, done))):
                    done += len(block)
                    if done > record.bytes:
                        break
                    digest.update(block)
                    with gate.passed():
                        writer.write(block)
                        writer.flush()  # nothing is left to be written when the gate is closed
                    on_progress(Progress(each.name, done, record.bytes))
        with gate.passed():
            if done != record.bytes or digest.hexdigest() != record.sha256:
                with part.open("rb") as stream:
                    start = stream.read(len(LFS_POINTER))
                part.unlink()
                raise wrong_bytes(each.name, record, start, "report it to its publisher; nothing of it was kept")
            part.replace(each.target)


def _arrived(part: Path) -> "tuple[hashlib._Hash, int]":
    """Return the hash and the number of the bytes that an earlier transfer left."""
    digest, done = hashlib.sha256(), 0
    if part.is_file():
        with part.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                done += len(block)
    return digest, done
