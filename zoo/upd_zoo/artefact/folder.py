"""Whether the files of an artefact are those of its manifest."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import ConfigDict, Field

from upd_zoo.artefact.record import LFS_POINTER, Record, SafePath, lfs_pointer, read_record
from upd_zoo.artefact.records import CONFIG, MANIFEST, RESULTS, SIGNATURE, FileRecord, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.files import sha256_of

ASKED: Final = ".asked.json"


class Asked(Record):
    """Which files of its manifest a folder holds because they were asked for; written beside them by a pull."""

    schema_: Literal["upd-zoo/asked/1"] = Field(default="upd-zoo/asked/1", alias="schema")
    files: list[SafePath]


class Named(Record):
    """The part of a configuration that says whose it is."""

    model_config = ConfigDict(extra="ignore")
    id: str


def inventory(folder: Path) -> dict[str, FileRecord]:
    """Return size and hash of every file below `folder`, by relative path.

    The manifest, its signature and hidden files are left out.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: record_of(path)
        for name, path in names.items()
        if name not in (MANIFEST, SIGNATURE)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def files_of(folder: Path, model: str) -> set[str]:
    """Return the files of the artefact of a model in a folder, by relative path; nothing where it holds none."""
    try:
        manifest = read_record(folder / MANIFEST, Manifest)
    except (NotFoundError, IntegrityError):
        return set()
    return {MANIFEST, SIGNATURE, *manifest.files} if manifest.id == model else set()


def results_among(manifest: Manifest) -> list[str]:
    """Return the results that an artefact holds, one for each test set, by relative path."""
    return [name for name in manifest.files if name.startswith(f"{RESULTS}/") and name.endswith(".json")]


def record_of(path: Path) -> FileRecord:
    """Return size and SHA-256 of a file."""
    return FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)


def wrong_bytes(name: str, record: FileRecord, start: bytes, next_step: str) -> IntegrityError:
    """Return the error that says that a file is not the one of the manifest.

    Args:
        name: Its path in the artefact.
        record: What the manifest says of it.
        start: Its first bytes, which tell a pointer of Git LFS.
        next_step: What to do about any other bytes.
    """
    if start.startswith(LFS_POINTER):
        return lfs_pointer(name)
    return IntegrityError(
        f"{name} does not have the SHA-256 of its manifest",
        f"{record.bytes} bytes with SHA-256 {record.sha256[:12]}…",
        next_step,
    )


def check_file(folder: Path, name: str, record: FileRecord) -> None:
    """Check one file of an artefact against its manifest.

    Raises:
        IntegrityError: The file is missing, or its size or hash differs.
    """
    path = folder / name
    if not path.is_file():
        raise IntegrityError(f"{name} is missing", "every file of the manifest", "upd-zoo pull MODEL --format all")
    if path.stat().st_size != record.bytes or sha256_of(path) != record.sha256:
        with path.open("rb") as stream:
            start = stream.read(len(LFS_POINTER))
        raise wrong_bytes(name, record, start, "fetch it again with upd-zoo pull --force")


def is_intact(folder: Path, name: str, record: FileRecord) -> bool:
    """Return whether a file is there with the size and SHA-256 of its record."""
    try:
        check_file(folder, name, record)
    except IntegrityError:
        return False
    return True


def expected(folder: Path, manifest: Manifest) -> list[str]:
    """Return which files of its manifest a folder must hold: all, unless it was pulled.

    What was pulled holds the files that were asked for; others that lie there must be right too.

    Raises:
        IntegrityError: The record of what was asked for is not readable.
    """
    if not (folder / ASKED).is_file():
        return list(manifest.files)
    asked = read_record(folder / ASKED, Asked).files
    return [name for name in manifest.files if name in asked or (folder / name).exists()]


def verify(folder: Path | str, names: Iterable[str] | None = None) -> Manifest:
    """Check files of an artefact against its manifest.

    Args:
        folder: The artefact.
        names: Which files to check, by relative path; None checks every one that must be there.

    Returns:
        The manifest.

    Raises:
        NotFoundError: There is no manifest, or it does not list one of `names`.
        IntegrityError: A file is missing or changed, the manifest is unreadable, or the configuration is that of
            another model.
    """
    folder = Path(folder)
    manifest = read_record(folder / MANIFEST, Manifest)
    checked = expected(folder, manifest) if names is None else list(names)
    for name in checked:
        if name not in manifest.files:
            raise NotFoundError(f"{manifest.id} has no {name}", ", ".join(manifest.files))
        check_file(folder, name, manifest.files[name])
    if CONFIG in checked:
        check_one_name(folder, manifest)
    return manifest


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds an artefact that `verify` finds no fault with."""
    try:
        verify(folder)
    except (NotFoundError, IntegrityError):
        return False
    return True


def first_lost(folder: Path) -> str:
    """Return the first file of an artefact that is not there in its size; empty where all are, whatever they hold.

    No file is read but the manifest, so that hundreds of artefacts take no time.
    """
    try:
        manifest = read_record(folder / MANIFEST, Manifest)
    except (NotFoundError, IntegrityError):
        return MANIFEST
    names = expected(folder, manifest)
    return next((name for name in names if _size_of(folder / name) != manifest.files[name].bytes), "")


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def check_one_name(folder: Path, manifest: Manifest) -> None:
    """Refuse a configuration that names another model than the manifest that lists it.

    Raises:
        IntegrityError: It does.
    """
    found = read_record(folder / CONFIG, Named).id
    if found != manifest.id:
        raise IntegrityError(
            f"{CONFIG} is that of '{found}'",
            f"one of '{manifest.id}', whose manifest lists it",
            "report it to its publisher",
        )
