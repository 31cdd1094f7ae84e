"""The cache: what was fetched from any hub, by what it is and not by what a server calls it.

    CACHE/<model>/<start of the manifest's SHA-256>/    manifest.json, what was asked for, .asked.json to say what
        .<start of a file's SHA-256>.part               what has arrived of it where a transfer broke off
    CACHE/<model>/known/<hub>/<revision>.json           Known: which manifest a hub gave under a revision

A model that is published again has another manifest and so another place: versions never mix, and who reads the old one
is not disturbed. Who finds everything there writes nothing, so a cache can be read-only, or another user's.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock
from pydantic import Field

from upd_zoo.artefact.folder import ASKED, Asked, check_file, check_one_name, is_intact
from upd_zoo.artefact.record import (
    MOST_RECORD_BYTES,
    Record,
    RecordType,
    Sha256,
    parse_record,
    read_record,
    write_record,
)
from upd_zoo.artefact.records import MANIFEST, SIGNATURE, FileRecord, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError
from upd_zoo.files import HALF_WRITTEN, megabytes
from upd_zoo.hub.checks import selection
from upd_zoo.hub.receiving import Awaited, Deliver, receive
from upd_zoo.names import ModelId
from upd_zoo.progress import Report, silent

UNWRITABLE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Version:
    """One published state of a model.

    Attributes:
        revision: Its exact name on the hub.
        content: The bytes of its manifest.
        manifest: What they say.
        signature: The bytes of its signature; empty where its manifest says that nobody has signed it.
    """

    revision: str
    content: bytes
    manifest: Manifest
    signature: bytes = b""

    @classmethod
    def of(cls, revision: str, content: bytes, signature: Callable[[], bytes]) -> "Version":
        """Return the version of which a hub has given the manifest.

        Args:
            revision: Its exact name.
            content: The bytes of its manifest.
            signature: Gives those of its signature; asked where the manifest says that it has one.

        Raises:
            IntegrityError: The bytes are not a manifest, or too many for a signature.
        """
        manifest = parse_record(content, MANIFEST, Manifest)
        signed = b"" if manifest.signed_by is None else signature()
        if len(signed) > MOST_RECORD_BYTES:
            raise IntegrityError(f"{SIGNATURE} is too long for a signature", f"at most {MOST_RECORD_BYTES} bytes")
        return cls(revision, content, manifest, signed)

    @property
    def record(self) -> FileRecord:
        """Size and hash of the manifest itself."""
        return _record_of(self.content)

    @property
    def given(self) -> dict[str, bytes]:
        """The files that came with it, by name: its manifest and, where it is signed, its signature."""
        return {MANIFEST: self.content} | ({SIGNATURE: self.signature} if self.signature else {})


def _record_of(content: bytes) -> FileRecord:
    return FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


class Known(Record):
    """Which manifest a hub gave under a revision when it was last asked.

    Attributes:
        version: The exact name of what it gave.
    """

    schema_: Literal["upd-zoo/known/1"] = Field(default="upd-zoo/known/1", alias="schema")
    version: str
    manifest: Sha256


class Cache:
    """What was fetched from one hub.

    Args:
        root: The folder; made when something is fetched.
        hub: What tells the hub from all others, of which only a hash is kept. Files are shared with them, revisions are
            not.
    """

    def __init__(self, root: Path, hub: str) -> None:
        self.root = root
        self._hub = hub

    def pull(
        self,
        model: ModelId,
        version: Version,
        names: Iterable[str] | None,
        deliver: Deliver,
        on_progress: Report = silent,
        force: bool = False,
        at_once: int = 1,
    ) -> Path:
        """Return the folder of a version, in which the files asked for have the hashes of its manifest.

        Args:
            model: The model asked for.
            version: What the hub has under this name.
            names: Relative paths of the files wanted; None for every file of the manifest.
            deliver: Asked for what is not there, by one process at a time.
            on_progress: Told in the beginning, for every file that is brought, how much of it is there, and then
                whenever more is.
            force: Have everything delivered again.
            at_once: How many files may be delivered at a time.

        Raises:
            NotFoundError: The version has no such file.
            IntegrityError: The hub's own bytes are wrong; none of them stay here.
            UpdZooError: The cache cannot be written, or has no room.
        """
        files = selection(version.manifest, model, names)
        given = version.given
        wanted = {**{name: _record_of(content) for name, content in given.items()}, **files}
        folder = self.root / model.canonical.name / version.record.sha256[:16]
        missing = {name: record for name, record in wanted.items() if force or not is_intact(folder, name, record)}
        if missing:
            self._check_room(model, sum(record.bytes for record in missing.values()))
            with self._written(folder):
                awaited = [
                    Awaited(folder / name, name, record, _given(given[name]) if name in given else deliver)
                    for name, record in missing.items()
                    if force or not is_intact(folder, name, record)  # another process may have brought it meanwhile
                ]
                for each in awaited if force else ():
                    each.part.unlink(missing_ok=True)
                receive(awaited, on_progress, at_once)
                _note(folder, files)
            for name, record in wanted.items():
                check_file(folder, name, record)
        check_one_name(folder, version.manifest)
        with _wherever_possible():
            self._remember(model, version)
            if not (folder / ASKED).is_file():
                _note(folder, files)
        return folder

    def recall(self, model: ModelId) -> Version | None:
        """Return what the hub gave under this name when it was last asked; None where that is not there any more."""
        try:
            known = read_record(self._known(model, model.revision), Known)
            folder = self.root / model.canonical.name / known.manifest[:16]
            version = Version.of(known.version, (folder / MANIFEST).read_bytes(), (folder / SIGNATURE).read_bytes)
        except (OSError, IntegrityError, NotFoundError):
            return None
        return version if version.record.sha256 == known.manifest else None

    def _remember(self, model: ModelId, version: Version) -> None:
        """Note what the hub has under this name, and under its exact one."""
        known = Known(version=version.revision, manifest=version.record.sha256)
        for revision in {model.revision, version.revision}:
            path = self._known(model, revision)
            if _found(path, Known) != known:
                write_record(path, known)

    def _known(self, model: ModelId, revision: str) -> Path:
        hub = hashlib.sha256(os.fsencode(self._hub)).hexdigest()[:16]
        return self.root / model.canonical.name / "known" / hub / f"{revision}.json"

    def _check_room(self, model: ModelId, needed: int) -> None:
        there = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(there).free
        if needed > free:
            raise UpdZooError(
                f"{model} needs {megabytes(needed)} in the cache {self.root}, and {megabytes(free)} are free",
                "",
                "make room, or name another folder with --cache-dir",
            )

    @contextmanager
    def _written(self, folder: Path) -> Iterator[None]:
        """Keep others from writing to a folder, and clear away what a killed process left half written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                for left in folder.rglob(HALF_WRITTEN):
                    left.unlink(missing_ok=True)
                yield
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            raise UpdZooError(
                f"the cache {self.root} does not hold {folder.parent.name} whole, and cannot be written",
                "a folder that you may write to",
                "name another folder with --cache-dir",
            ) from error


@contextmanager
def _wherever_possible() -> Iterator[None]:
    """Leave out what may not be written, which is no reason to refuse what is there and whole."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise


def _given(content: bytes) -> Deliver:
    def deliver(_name: str, _record: FileRecord, first: int) -> Generator[bytes]:
        yield content[first:]

    return deliver


def _found(path: Path, kind: type[RecordType]) -> RecordType | None:
    try:
        return read_record(path, kind)
    except (NotFoundError, IntegrityError):
        return None


def _note(folder: Path, asked: Iterable[str]) -> None:
    """Add to the record of what was asked for."""
    path = folder / ASKED
    before = _found(path, Asked)
    write_record(path, Asked(files=sorted({*(before.files if before else ()), *asked})))
