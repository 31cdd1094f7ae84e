"""A hub that is a folder: a shared drive, a disk carried to a machine without a network, or a bundle.

    HUB/catalogue.toml
    HUB/<model>/<revision>/manifest.json, config.json, ...

The catalogue makes listing fast. Where it is lost or damaged, the models that stand in the folder are listed by their
own records, and the next publication writes it anew from them.
"""

import shutil
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import platformdirs
from filelock import FileLock

from upd_zoo.artefact.folder import check_file, files_of, is_intact, results_among
from upd_zoo.artefact.record import MOST_RECORD_BYTES
from upd_zoo.artefact.records import CARD, CONFIG, MANIFEST, SIGNATURE, FileRecord, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError
from upd_zoo.files import replacing_folder
from upd_zoo.hub.cache import Cache, Version
from upd_zoo.hub.catalogue import CATALOGUE, Catalogue
from upd_zoo.hub.checks import check_card, check_newer, publishable, read_manifest, row_of
from upd_zoo.hub.hub import Hub, Published, Pulled
from upd_zoo.hub.receiving import Deliver
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report, silent

_BLOCK: Final = 1 << 20


class FolderHub(Hub):
    """A hub in a folder.

    Args:
        root: The folder; publishing creates it.
        cache_dir: Where fetched files are kept; None for the user's cache folder.
        offline: Whether the user knows that the folder may be out of reach.
    """

    def __init__(self, root: Path, cache_dir: Path | None = None, offline: bool = False) -> None:
        self.location = str(root)
        self._root = root
        self._cache = Cache(cache_dir or platformdirs.user_cache_path("upd-zoo"), str(root.absolute()))
        self._offline = offline

    @property
    def cache_folder(self) -> Path:
        """The one that was given, or `upd-zoo` in the user's cache folder."""
        return self._cache.root

    def catalogue(self) -> Catalogue:
        """Return what the folder's catalogue says, or the models themselves where it cannot be read."""
        if not self._root.is_dir():
            raise self._gone()
        try:
            return Catalogue.read(self._root / CATALOGUE)
        except (NotFoundError, IntegrityError):
            return self._standing()

    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Report = silent,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder of the cache, into which what is missing was copied; a hub that is gone leaves the cache."""
        source = self._folder_of(model)
        recalled = None if force or source.is_dir() or not self._out_of_reach else self._cache.recall(model)
        version = recalled or self._version(model, source)

        def deliver(name: str, _record: FileRecord, first: int) -> Generator[bytes]:
            if recalled is not None:
                raise self._gone()
            with self._opened(source, name) as reader:
                reader.seek(first)
                while block := reader.read(_BLOCK):
                    yield block

        folder = self._cache.pull(model, version, names, deliver, on_progress, force)
        unasked = "" if recalled is None or self._offline else f"the hub {self.location} is not there"
        return Pulled(folder, version.revision, version.manifest, unasked)

    def take_in(
        self, model: ModelId, version: Version, names: Iterable[str], deliver: Deliver, on_progress: Report = silent
    ) -> Path:
        """Put files into the cache; the hub itself is not touched."""
        return self._cache.pull(model, version, names, deliver, on_progress)

    def audience(self, public: bool) -> str:  # noqa: ARG002 - nothing to choose
        """Return that it is the file system that decides."""
        return f"whoever can read the folder {self.location}"

    def publish(
        self,
        folder: Path | str,
        model: ModelId,
        *,
        public: bool = False,  # noqa: ARG002 - nothing to choose
        force: bool = False,
        on_progress: Report = silent,
    ) -> Published:
        """Copy the artefact beside its place and move it there when it is whole; then list all that stands."""
        folder, place = Path(folder), f"{model} on {self.location}"
        manifest, files, row = publishable(folder, model, force=force)
        target = self._folder_of(model)
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / ".publish.lock"):
            standing = _standing_in(target)
            check_newer(None if force else standing, manifest, place)
            if standing is not None and not force and (target / CARD).is_file():
                check_card(standing, (target / CARD).read_bytes(), place)
            unchanged = all(is_intact(target, name, file) for name, file in files.items())
            if not unchanged:
                with replacing_folder(target, {*files, *files_of(target, model.name)}) as temporary:
                    for name, file in files.items():
                        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(folder / name, temporary / name)
                        check_file(temporary, name, file)
                        on_progress(Progress(name, file.bytes, file.bytes))
            self._mended().write(self._root / CATALOGUE)
        return Published(row, None if standing is None else standing.as_of, unchanged)

    @property
    def _out_of_reach(self) -> bool:
        return self._offline or not self._root.is_dir()

    def _folder_of(self, model: ModelId) -> Path:
        # Parsed again, because a ModelId that was put together by hand may hold anything.
        checked = ModelId.parse(str(model.canonical))
        return self._root / checked.name / checked.revision

    def _standing(self) -> Catalogue:
        """Return what the folder holds, by the records of each model; what cannot be pulled is not listed."""
        rows = []
        for path in self._root.glob(f"*/*/{MANIFEST}"):
            folder = path.parent
            with suppress(UpdZooError):
                for name in (MANIFEST, CONFIG):
                    self._inside(folder, name)
                for name in results_among(read_manifest(folder)):
                    self._inside(folder, name)
                row = row_of(folder, folder.name)
                if self._folder_of(ModelId.parse(f"{row.id}@{row.revision}")) == folder:
                    rows.append(row)
        return Catalogue(tuple(rows))

    def _mended(self) -> Catalogue:
        """Return what the folder holds, and of what only another version of upd-zoo can read, what was known of it."""
        known = (row for row in self.catalogue() if (self._root / row.id / row.revision / MANIFEST).is_file())
        catalogue = Catalogue(tuple(known))
        for row in self._standing():
            catalogue = catalogue.add(row)
        return catalogue

    def _version(self, model: ModelId, source: Path) -> Version:
        if not source.is_dir():
            self.catalogue().get(model, self.location)
            raise NotFoundError(
                f"{source.name} of {model.name} is in the catalogue of {self.location} but missing there"
            )
        return Version.of(source.name, self._short(source, MANIFEST), lambda: self._short(source, SIGNATURE))

    def _short(self, source: Path, name: str) -> bytes:
        """Return the bytes of a short file, no more than a record may have and one."""
        with self._opened(source, name) as reader:
            return reader.read(MOST_RECORD_BYTES + 1)

    def _opened(self, source: Path, name: str) -> BinaryIO:
        try:
            return self._inside(source, name).open("rb")
        except PermissionError as error:
            raise UpdZooError(
                f"{name} of {source.parent.name} on the hub {self.location} may not be read",
                "a hub whose files you may read",
                "ask who keeps it",
            ) from error

    def _inside(self, source: Path, name: str) -> Path:
        """Return the plain file behind a name, which must not be a link that leads out of the hub."""
        path = (source / name).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise IntegrityError(f"{name} of {source.parent.name} is a link that leads out of the hub {self.location}")
        if not path.is_file():
            raise NotFoundError(f"{name} of {source.parent.name} is missing from the hub {self.location}")
        return path

    def _gone(self) -> UpdZooError:
        if self._offline:
            return OfflineError(
                "what was asked for is not in the cache, and its hub is not here either",
                "",
                f"pull it again once the folder {self.location} is available",
            )
        return NotFoundError(f"the hub {self.location} is not there", "a folder, or hf://ORG")


def _standing_in(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except (NotFoundError, IntegrityError):
        return None
