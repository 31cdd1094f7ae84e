"""Bundles: models in one file, for machines without a network.

    bundle.json                      which models, of which version, and the SHA-256 of each manifest
    <model>/<revision>/<file>        manifest.json first, its signature where it has one, then what was asked for

A bundle is a plain tar archive without compression, links or code, and the same models make the same bytes. Nothing is
unpacked to where an archive says: a file is looked for under the name that its manifest has, and goes into the cache by
the one way that everything takes, which checks every byte.
"""

import io
import tarfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from upd_zoo.artefact.folder import check_file, record_of
from upd_zoo.artefact.record import MOST_RECORD_BYTES, Record, SafePath, Sha256, parse_record
from upd_zoo.artefact.records import MANIFEST, SIGNATURE, FileRecord
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.files import replacing
from upd_zoo.hub.cache import Version
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report, silent

if TYPE_CHECKING:
    from upd_zoo.hub.hub import Hub, Pulled

SUFFIX: Final = ".tar"
_INDEX: Final = "bundle.json"
_MOST_MODELS: Final = 1000
_MOST_MEMBERS: Final = 100_000
_BLOCK: Final = 1 << 20
_REMEDY: Final = "make the bundle again with upd-zoo bundle, or copy it again"


class Bundled(Record):
    """One model of a bundle.

    Attributes:
        model: Its canonical name.
        revision: Under which revision it was asked for.
        version: The exact version that its hub had there.
        manifest: SHA-256 of its manifest.
        files: What came with it, beside the manifest and its signature.
        signed: Whether its signature came with it.
    """

    model: str
    revision: str
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    manifest: Sha256
    files: list[SafePath]
    signed: bool = False

    @property
    def named(self) -> ModelId:
        """The name with the revision.

        Raises:
            UsageError: It is no name.
        """
        return ModelId.parse(f"{self.model}@{self.revision}")

    @property
    def place(self) -> str:
        """Where its files lie in the archive."""
        return f"{self.model}/{self.revision}"

    @property
    def names(self) -> list[str]:
        """All its files, by relative path."""
        return [MANIFEST, *([SIGNATURE] if self.signed else []), *self.files]

    @property
    def members(self) -> list[str]:
        """The names of its files in the archive."""
        return [f"{self.place}/{name}" for name in self.names]


class Index(Record):
    """What a bundle holds."""

    remedy: ClassVar[str] = "make the bundle again with upd-zoo bundle"
    schema_: Literal["upd-zoo/bundle/1"] = Field(default="upd-zoo/bundle/1", alias="schema")
    models: Annotated[list[Bundled], Field(max_length=_MOST_MODELS)]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A model that came out of a bundle.

    Attributes:
        model: Its name, with the revision.
        folder: Where its files lie in the cache.
        files: How many came with it, beside the manifest.
    """

    model: ModelId
    folder: Path
    files: int


# Writing


def write_bundle(path: Path, models: Sequence[tuple[ModelId, "Pulled"]], on_progress: Report = silent) -> None:
    """Write models as a bundle, whole or not at all.

    Args:
        path: The archive.
        models: What was pulled of each; of its files, those that are there are taken.
        on_progress: Told how many bytes are written.

    Raises:
        UsageError: A model is named twice, or none is.
        IntegrityError: A file is not the one of its manifest.
    """
    entries = sorted(((_bundled(model, pulled), pulled) for model, pulled in models), key=lambda entry: entry[0].place)
    if len({entry.place for entry, _ in entries}) < len(entries) or not entries:
        raise UsageError("a bundle holds every model once", "one model at least, and none twice")
    files = [
        (member, pulled.folder / name)
        for entry, pulled in entries
        for member, name in zip(entry.members, entry.names, strict=True)
    ]
    total, done = sum(source.stat().st_size for _, source in files), 0
    index = Index(models=[entry for entry, _ in entries])
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        content = index.model_dump_json(by_alias=True, indent=2).encode()
        archive.addfile(_member(_INDEX, len(content)), io.BytesIO(content))
        for name, source in files:
            with source.open("rb") as stream:
                archive.addfile(_member(name, source.stat().st_size), stream)
            done += source.stat().st_size
            on_progress(Progress(name, done, total))


def _bundled(model: ModelId, pulled: "Pulled") -> Bundled:
    """Return what a bundle says of a model, whose files have been checked."""
    names = [name for name in pulled.manifest.files if (pulled.folder / name).is_file()]
    for name in names:
        check_file(pulled.folder, name, pulled.manifest.files[name])
    return Bundled(
        model=model.canonical.name,
        revision=model.revision,
        version=pulled.revision,
        manifest=record_of(pulled.folder / MANIFEST).sha256,
        files=names,
        signed=pulled.manifest.signed_by is not None,
    )


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return what an archive says of a file: nothing of who wrote it, where and when."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member


# Reading


def unpack(path: Path, hub: "Hub", on_progress: Report = silent) -> list[Unpacked]:
    """Put the models of a bundle into the cache of a hub, as if they had been pulled from it.

    Args:
        path: The archive.
        hub: Under whose name they are found later, without a network.
        on_progress: Told how far each file is.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is no bundle, or what it holds is not what its manifests say; models before the damaged one
            are in the cache.
    """
    with _opened(path) as archive:
        members = _members(archive, path.name)
        index = parse_record(_content(archive, members, _INDEX, path.name), _INDEX, Index)
        _check_list(index, members, path.name)
        return [_taken(archive, members, each, hub, path.name, on_progress) for each in index.models]


def _taken(
    archive: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    bundled: Bundled,
    hub: "Hub",
    name: str,
    on_progress: Report,
) -> Unpacked:
    try:
        model = bundled.named
    except UsageError as error:
        raise IntegrityError(f"{name} names a model that cannot be: {error.problem}", "", _REMEDY) from None

    def content(file: str) -> bytes:
        return _content(archive, members, f"{bundled.place}/{file}", name)

    version = Version.of(bundled.version, content(MANIFEST), lambda: content(SIGNATURE))
    if version.record.sha256 != bundled.manifest:
        raise IntegrityError(f"the manifest of {model} is not the one that {name} lists", "", _REMEDY)

    def deliver(file: str, _record: FileRecord, first: int) -> Generator[bytes]:
        yield from _blocks(archive, members, f"{bundled.place}/{file}", name, first=first)

    return Unpacked(model, hub.take_in(model, version, bundled.files, deliver, on_progress), len(bundled.files))


def _check_list(index: Index, members: Iterable[str], name: str) -> None:
    """Refuse an archive that holds more or less than it lists."""
    listed = [_INDEX, *(member for bundled in index.models for member in bundled.members)]
    odd = sorted({*listed}.symmetric_difference(members))
    if odd or len({*listed}) < len(listed):
        first = f", such as {odd[0]!r}" if odd else ""
        raise IntegrityError(f"{name} does not hold what it lists{first}", "every file that it lists, once", _REMEDY)


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive without compression; whatever is wrong with it is one error."""
    if not path.is_file():
        raise NotFoundError(f"there is no bundle {path}", "a file that upd-zoo bundle wrote")
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise IntegrityError(f"{path.name} is no bundle: {error}", "an archive of upd-zoo bundle", _REMEDY) from None


def _members(archive: tarfile.TarFile, name: str) -> dict[str, tarfile.TarInfo]:
    """Return the files of an archive by their names."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        if member.type != tarfile.REGTYPE or member.issparse():
            raise IntegrityError(f"{name} holds something else than plain files", "plain files alone", _REMEDY)
        if member.name in found or len(found) >= _MOST_MEMBERS:
            raise IntegrityError(f"{name} holds a file twice, or too many", f"at most {_MOST_MEMBERS} files", _REMEDY)
        found[member.name] = member
    return found


def _content(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], member: str, name: str) -> bytes:
    """Return the bytes of a record, no more than a record may have and one."""
    return b"".join(_blocks(archive, members, member, name, MOST_RECORD_BYTES + 1))


def _blocks(
    archive: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    member: str,
    name: str,
    most: int | None = None,
    first: int = 0,
) -> Iterable[bytes]:
    """Yield the bytes of a file from one on, at most so many."""
    if member not in members:
        raise IntegrityError(f"{name} is no bundle: it holds no {member}", "an archive of upd-zoo bundle", _REMEDY)
    stream = archive.extractfile(members[member])
    left = members[member].size - first if most is None else min(most, members[member].size)
    if stream is not None:
        stream.seek(first)
    while stream is not None and left > 0 and (block := stream.read(min(_BLOCK, left))):
        left -= len(block)
        yield block
