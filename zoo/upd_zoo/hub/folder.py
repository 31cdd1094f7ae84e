"""A hub that is a folder: a shared drive, a disk carried to a machine without a network, or a bundle.

    HUB/catalogue.toml
    HUB/<model>/<revision>/manifest.json, config.json, ...

Fetched files are kept in CACHE/<model>/<start of the manifest's SHA-256>/. A model that is published again has another
manifest and so another place: versions never mix, and who reads the old one is not disturbed.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import platformdirs
from filelock import FileLock

from upd_zoo.artefact import MANIFEST, FileRecord, Manifest, files_of, read_record
from upd_zoo.catalogue import CATALOGUE, Catalogue, Row
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.files import replacing, replacing_folder
from upd_zoo.hub import Hub, Progress, Pulled
from upd_zoo.hub.checks import is_intact, publishable, record_of, selection
from upd_zoo.vocabulary import ModelId

_BLOCK: Final = 1 << 20


class FolderHub(Hub):
    """A hub in a folder.

    Args:
        root: The folder; publishing creates it.
        cache_dir: Where fetched files are kept; None for the user's cache folder.
    """

    def __init__(self, root: Path, cache_dir: Path | None = None) -> None:
        self.location = str(root)
        self._root = root
        self._cache = cache_dir or platformdirs.user_cache_path("upd-zoo")

    def catalogue(self) -> Catalogue:
        """Return what publishing wrote to the folder's catalogue; nothing, where nothing was published."""
        if not self._root.is_dir():
            raise NotFoundError(f"the hub {self.location} is not there", "a folder, or hf://ORG")
        path = self._root / CATALOGUE
        return Catalogue.read(path) if path.is_file() else Catalogue()

    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Progress | None = None,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder of the cache, into which what is missing was copied; one process at a time."""
        source = self._folder_of(model)
        if not source.is_dir():
            self.catalogue().get(model)
            raise NotFoundError(f"{source.name} of {model.name} is in the catalogue of {self.location} and not there")
        manifest, record = self._manifest(source)
        wanted = {MANIFEST: record, **selection(manifest, model, names)}
        target = self._cache / source.parent.name / record.sha256[:16]
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            for name, file in wanted.items():
                if force or not is_intact(target, name, file):
                    _copy(self._inside(source, name), target / name, name, file, on_progress)
        return Pulled(target, source.name, manifest)

    def publish(self, folder: Path, model: ModelId) -> Row:
        """Copy the artefact beside its place and move it there when it is whole."""
        files, row = publishable(folder, model)
        target = self._folder_of(model)
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / ".publish.lock"):
            with replacing_folder(target, {*files, *files_of(target, model.name)}) as temporary:
                for name, file in files.items():
                    _copy(folder / name, temporary / name, name, file)
            self.catalogue().add(row).write(self._root / CATALOGUE)
        return row

    def _folder_of(self, model: ModelId) -> Path:
        # Parsed again, because a ModelId that was put together by hand may hold anything.
        checked = ModelId.parse(str(model.canonical))
        return self._root / checked.name / checked.revision

    def _manifest(self, source: Path) -> tuple[Manifest, FileRecord]:
        path = self._inside(source, MANIFEST)
        record = record_of(path)
        manifest = read_record(path, Manifest)
        if record_of(path) != record:
            raise IntegrityError(f"{MANIFEST} changed while it was read", "", "pull again when publishing is done")
        return manifest, record

    def _inside(self, source: Path, name: str) -> Path:
        """Return the plain file behind a name, which must not be a link that leads out of the hub."""
        path = (source / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise IntegrityError(f"{name} of {source.parent.name} is a link that leads out of the hub {self.location}")
        if not path.is_file():
            raise NotFoundError(f"{name} of {source.parent.name} is missing from the hub {self.location}")
        return path


def _copy(source: Path, target: Path, name: str, record: FileRecord, on_progress: Progress | None = None) -> None:
    """Copy one file whole, or leave no trace of it where its bytes are not those of its record."""
    digest, done = hashlib.sha256(), 0
    target.unlink(missing_ok=True)  # a wrong one must not outlive a copy that fails
    with replacing(target) as temporary:
        with source.open("rb") as reader, temporary.open("wb") as writer:
            while done <= record.bytes and (block := reader.read(_BLOCK)):
                writer.write(block)
                digest.update(block)
                done += len(block)
                if on_progress is not None:
                    on_progress(name, min(done, record.bytes), record.bytes)
        if done != record.bytes or digest.hexdigest() != record.sha256:
            raise IntegrityError(
                f"{name} in {source.parent} does not have the SHA-256 of its manifest",
                f"{record.bytes} bytes with SHA-256 {record.sha256[:12]}…",
                "publish the model again; nothing was kept",
            )
