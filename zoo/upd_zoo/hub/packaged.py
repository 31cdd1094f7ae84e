"""Models that lie in the package itself: the first place where a name is looked up, unless a hub is named.

    packaged/catalogue.toml, packaged/<model>/<revision>/...   as in a hub that is a folder
    packaged/defaults.toml                                     which model is taken for each kind of image

Of a model's files the graph and the records are there, and no weights that could be trained on. They are used where
they lie: whoever can import this package can read them, so a copy in the cache would be one more to keep right. They
are held against their manifest before every use, as everything else is.
"""

import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upd_zoo.errors import IntegrityError, NotFoundError, UsageError, closest
from upd_zoo.files import write_text
from upd_zoo.hub.catalogue import CATALOGUE, Catalogue
from upd_zoo.hub.hub import Hub, Published, Pulled
from upd_zoo.names import ModelId
from upd_zoo.progress import Report, silent
from upd_zoo.vocabulary import MODALITIES

if TYPE_CHECKING:
    from upd_zoo.hub.cache import Version
    from upd_zoo.hub.receiving import Deliver
FOLDER: Final = Path(__file__).parents[1] / "packaged"
DEFAULTS: Final = "defaults.toml"
SCHEMA: Final = "upd-zoo/packaged/1"
_HEADER: Final = "# The packaged model of each kind of image that is taken where none is named."
_REMEDY: Final = "install upd-zoo again"
_WHOLE: Final = "name a hub that has all of the model, by --hub or hub=, or make it with upd-zoo train"


def packaged(folder: Path | None = None) -> Catalogue:
    """Return what lies in the package; nothing where no model was put there.

    Args:
        folder: Another place than that of this package.

    Raises:
        IntegrityError: Its catalogue cannot be read.
    """
    path = (folder or FOLDER) / CATALOGUE
    rows = Catalogue.read(path).rows if path.is_file() else ()
    return Catalogue(tuple(replace(row, packaged=True) for row in rows))


def place_of(model: ModelId, folder: Path | None = None) -> Path:
    """Return where a packaged model lies, or would lie."""
    return (folder or FOLDER) / model.canonical.name / model.revision


def defaults(folder: Path | None = None) -> dict[str, ModelId]:
    """Return the model of each modality that is taken where none is named, by the modality's identifier.

    Raises:
        IntegrityError: What says so cannot be read, or names a modality that is not known or a model that is not there.
    """
    folder = folder or FOLDER
    path = folder / DEFAULTS
    if not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") != SCHEMA:
            raise ValueError(f"its schema is '{document.get('schema')}'")
        found = {modality: ModelId.parse(str(name)) for modality, name in document["models"].items()}
        _check(found, packaged(folder))
    except (ValueError, KeyError, AttributeError, UsageError) as error:
        raise IntegrityError(f"{DEFAULTS} of the packaged models cannot be read: {error}", "", _REMEDY) from None
    return found


def write_defaults(models: Mapping[str, ModelId], folder: Path | None = None) -> None:
    """Write down which packaged model is taken for each modality.

    Args:
        models: By the modality's identifier.
        folder: Another place than that of this package.

    Raises:
        UsageError: A modality is not known, or a model is not packaged or of another modality.
    """
    folder = folder or FOLDER
    _check(models, packaged(folder))
    lines = [f'{modality} = "{models[modality]}"' for modality in sorted(models)]
    write_text(folder / DEFAULTS, "\n".join([_HEADER, f'schema = "{SCHEMA}"', "", "[models]", *lines, ""]))


def _check(models: Mapping[str, ModelId], there: Catalogue) -> None:
    for modality, model in models.items():
        if modality not in MODALITIES:
            raise UsageError(f"no modality is called '{modality}'", closest(modality, MODALITIES))
        if model.domain.modality.id != modality:
            raise UsageError(f"{model} is of another modality than {modality}", "a model of this modality")
        there.get(model)


def package(artefact: Path, model: ModelId, folder: Path | None = None) -> None:
    """Put a model into the package, in place of an earlier one of the same name: its graph and its records.

    Args:
        artefact: A whole one.
        model: Name and revision.
        folder: Another place than that of this package.

    Raises:
        UsageError: The artefact is of another model.
        NotFoundError: There is no artefact.
        IntegrityError: A file of it is missing or differs from its manifest.
    """
    from upd_zoo.artefact.record import write_record
    from upd_zoo.artefact.records import MANIFEST, RDF, TORCHSCRIPT, WEIGHTS
    from upd_zoo.files import replacing_folder
    from upd_zoo.hub.checks import publishable, row_of

    folder, target = folder or FOLDER, place_of(model, folder)
    manifest, _, _ = publishable(artefact, model, force=True)  # what it scores is told by the row of the package
    files = {name: file for name, file in manifest.files.items() if name not in (WEIGHTS, TORCHSCRIPT, RDF)}
    parity = [row for row in manifest.parity if row.format == "onnx"]
    facts = {"files": files, "parity": parity, "signed_by": None}  # a signature is one of all files
    with replacing_folder(target, _names_in(target)) as temporary:
        for name in files:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artefact / name, temporary / name)
        write_record(temporary / MANIFEST, manifest.model_copy(update=facts))
    packaged(folder).add(row_of(target, model.revision)).write(folder / CATALOGUE)


def _names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class PackagedHub(Hub):
    """What lies in the package, and behind it the hub that has the rest.

    Args:
        beyond: Asked for what the package does not hold, and to publish.
    """

    def __init__(self, beyond: Hub) -> None:
        self.location, self._beyond = beyond.location, beyond

    @property
    def cache_folder(self) -> Path:
        """Where the other hub keeps what was fetched."""
        return self._beyond.cache_folder

    @property
    def patience(self) -> float:
        """How many seconds it takes at most to learn that the other hub is out of reach."""
        return self._beyond.patience

    def catalogue(self) -> Catalogue:
        """Return what is packaged, and what of all else the other hub holds."""
        own = packaged()
        names = {(row.id, row.revision) for row in own}
        return Catalogue((*own, *(row for row in self._beyond.catalogue() if (row.id, row.revision) not in names)))

    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Report = silent,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return the folder within the package, once the files asked for have been checked; or ask the other hub."""
        if all((row.id, row.revision) != (model.canonical.name, model.revision) for row in packaged()):
            return self._beyond.fetch(model, names, on_progress, force=force)
        from upd_zoo.artefact.folder import verify
        from upd_zoo.hub.checks import selection

        folder = place_of(model)
        try:
            manifest = verify(folder, ())
            verify(folder, selection(manifest, model, names))
        except NotFoundError as error:
            raise NotFoundError(f"the packaged {error.problem}", error.accepted, _WHOLE) from None
        except IntegrityError as error:
            problem = f"the packaged {model} is damaged: {error.problem}"
            raise IntegrityError(problem, error.accepted, _REMEDY) from None
        return Pulled(folder, model.revision, manifest, packaged=True)

    def take_in(
        self, model: ModelId, version: "Version", names: Iterable[str], deliver: "Deliver", on_progress: Report = silent
    ) -> Path:
        """Put files into the cache of the other hub."""
        return self._beyond.take_in(model, version, names, deliver, on_progress)

    def audience(self, public: bool) -> str:
        """Return who can see what is published on the other hub: nothing is published into a package."""
        return self._beyond.audience(public)

    def publish(
        self,
        folder: Path | str,
        model: ModelId,
        *,
        public: bool = False,
        force: bool = False,
        on_progress: Report = silent,
    ) -> Published:
        """Publish on the other hub."""
        return self._beyond.publish(folder, model, public=public, force=force, on_progress=on_progress)

    def collect(self, model: ModelId, title: str, *, public: bool = False) -> str:
        """Put it into a collection of the other hub."""
        return self._beyond.collect(model, title, public=public)
