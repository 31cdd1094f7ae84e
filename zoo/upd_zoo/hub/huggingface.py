"""The Hugging Face Hub, or whatever `HF_ENDPOINT` names, as a hub.

The Hub's library checks no content hash over plain HTTP: wrong bytes of the right length enter its cache under the
right name. So every file is hashed here before it is handed out. All files of one call come from one commit, files
are downloaded one by one, because a snapshot taken with patterns is incomplete for a later call without them, and what
the cache holds of a commit is used without asking the network.

The library reads `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and `HF_TOKEN` when it is imported, which
happens inside the functions below.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upd_zoo.catalogue import Catalogue, Row, unknown_model, unknown_revision
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError, UsageError
from upd_zoo.hub import DEFAULT_HUB, Hub, Progress, Pulled
from upd_zoo.vocabulary import ModelId

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from upd_zoo.artefact import FileRecord, Manifest

LIBRARY: Final = "upd-zoo"
"""`library_name` of the model cards, by which models are found."""
_GIT_ATTRIBUTES = ".gitattributes"


class HuggingFaceHub(Hub):
    """The models of one organisation on the Hugging Face Hub.

    Args:
        organisation: Whose repositories.
        cache_dir: Cache in the Hub library's layout; None for the library's own.
        offline: Use nothing but the cache.
        token: Access token; None for the library's own login.
    """

    def __init__(
        self, organisation: str, cache_dir: Path | None = None, offline: bool = False, token: str | None = None
    ) -> None:
        self.location = f"hf://{organisation}"
        self._organisation = organisation
        self._cache = cache_dir
        self._offline_asked = offline
        self._token = token

    def catalogue(self) -> Catalogue:
        """Return the packaged catalogue for the default hub; elsewhere, what the names of the repositories say."""
        if self.location == DEFAULT_HUB:
            return Catalogue.read()
        self._need_network(f"the catalogue of {self.location}")
        with self._explained():
            names = [
                info.id.partition("/")[2] for info in self._api().list_models(author=self._organisation, filter=LIBRARY)
            ]
        catalogue = Catalogue()
        for name in names:
            try:
                catalogue = catalogue.add(Row(name))
            except UsageError:
                continue  # a repository of another kind
        return catalogue

    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Progress | None = None,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder of the Hub library's cache; one request asks which commit the revision is at now."""
        from upd_zoo.artefact import MANIFEST
        from upd_zoo.hub.checks import selection

        if force:
            self._need_network(f"fetching {model} again")
        path = self._checked(model, model.revision, MANIFEST, _read_manifest, force)
        manifest, snapshot = _read_manifest(path), path.parent
        for name, record in selection(manifest, model, names).items():
            if on_progress is not None:
                on_progress(name, 0, record.bytes)
            self._checked(model, snapshot.name, name, partial(_check_bytes, record), force)
            if on_progress is not None:
                on_progress(name, record.bytes, record.bytes)
        return Pulled(snapshot, snapshot.name, manifest)

    def publish(self, folder: Path, model: ModelId) -> Row:
        """Publish in one commit, which also removes the files that the artefact no longer has."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        from upd_zoo.hub.checks import publishable

        files, row = publishable(folder, model)
        self._need_network(f"publishing {model}")
        api, repository, revision = self._api(), self._repository(model), model.revision
        with self._explained(model):
            api.create_repo(repository, exist_ok=True)
            if revision != "main":
                api.create_branch(repository, branch=revision, exist_ok=True)
            stale = {*api.list_repo_files(repository, revision=revision)} - {*files, _GIT_ATTRIBUTES}
            api.create_commit(
                repository,
                [
                    *(CommitOperationAdd(name, folder / name) for name in files),
                    *(CommitOperationDelete(name) for name in sorted(stale)),
                ],
                commit_message=f"Publish {model.canonical}",
                revision=revision,
            )
        return row

    def _checked(self, model: ModelId, revision: str, name: str, check: Callable[[Path], object], force: bool) -> Path:
        """Return the cached path of one file that passed its check, after one more download where it did not."""
        try:
            path = self._download(model, revision, name, force)
            _keep_if(check, path)
        except IntegrityError as error:
            if force:
                raise IntegrityError(
                    f"{error.problem}, as {self.location} delivers it",
                    error.accepted,
                    "tell who published it; nothing of it was kept",
                ) from None
            if self._offline:
                raise
            return self._checked(model, revision, name, check, force=True)
        return path

    def _download(self, model: ModelId, revision: str, name: str, force: bool) -> Path:
        from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache

        api, repository = self._api(), self._repository(model)
        with self._explained(model):
            cached = try_to_load_from_cache(repository, name, self._cache, revision)
            if not self._offline and (force or not isinstance(cached, str)):
                # Where the hub cannot be reached this fails within one time limit; hf_hub_download tries for minutes.
                url = hf_hub_url(repository, name, revision=revision, endpoint=api.endpoint)
                api.get_hf_file_metadata(url=url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            path = api.hf_hub_download(
                repository,
                name,
                revision=revision,
                cache_dir=self._cache,
                force_download=force,
                local_files_only=self._offline,
            )
        return Path(path)

    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(token=self._token)

    def _repository(self, model: ModelId) -> str:
        return f"{self._organisation}/{model.canonical.name}"

    @property
    def _offline(self) -> bool:
        from huggingface_hub import constants

        return self._offline_asked or constants.HF_HUB_OFFLINE

    def _need_network(self, purpose: str) -> None:
        if self._offline:
            raise OfflineError(f"{purpose} needs the network", "", "try again without --offline and HF_HUB_OFFLINE")

    @contextmanager
    def _explained(self, model: ModelId | None = None) -> Iterator[None]:
        """Turn what the Hub's library raises into an error that says what to type next."""
        from httpx2 import TransportError
        from huggingface_hub import errors

        try:
            yield
        except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, TransportError) as error:
            raise self._unreachable(model, error) from error
        except errors.HfHubHTTPError as error:
            raise self._refused(model, error) from error
        except ValueError as error:
            # The library's way to say that a forced download failed, or that the card is not valid.
            if isinstance(error.__cause__, errors.HfHubHTTPError):
                raise self._refused(model, error.__cause__) from error
            if isinstance(error.__cause__, TransportError):
                raise self._unreachable(model, error.__cause__) from error
            raise
        except OSError as error:
            if error.errno is not None:
                raise
            # The library's consistency check: the number of bytes was not the announced one.
            raise IntegrityError(f"a file of {model} arrived cut short", "", "upd-zoo pull --force") from error

    def _unreachable(self, model: ModelId | None, error: Exception) -> OfflineError:
        what = "the catalogue" if model is None else str(model)
        if self._offline:
            return OfflineError(
                f"{what} is not in the cache, and the network is switched off",
                "",
                f"upd-zoo pull {what} without --offline and HF_HUB_OFFLINE, or --hub FOLDER",
            )
        cause = error.__cause__ or error
        return OfflineError(
            f"{self.location} cannot be reached for {what} ({type(cause).__name__})",
            "",
            "check the connection and HF_ENDPOINT, or pull from a folder with --hub FOLDER",
        )

    def _refused(self, model: ModelId | None, error: "HfHubHTTPError") -> UpdZooError:
        from huggingface_hub import errors

        status, subject = error.response.status_code, model or "its catalogue"
        if isinstance(error, errors.GatedRepoError):
            return UpdZooError(f"{self.location} keeps {subject} behind an agreement", "", "accept it and pass --token")
        if model is not None and isinstance(error, errors.RepositoryNotFoundError):
            return unknown_model(model, self._known_models())
        if model is not None and isinstance(error, errors.RevisionNotFoundError):
            return unknown_revision(model, self._known_revisions(model))
        if isinstance(error, errors.RemoteEntryNotFoundError):
            return NotFoundError(f"{self.location} has no file {error.response.url.path}", "", "upd-zoo list")
        if status in (401, 403):
            return UpdZooError(f"{self.location} refuses access to {subject} ({status})", "", "pass --token")
        if status in (408, 429) or status >= 500:
            return OfflineError(f"{self.location} answered {status}", "", "try again later, or pass --hub FOLDER")
        return UpdZooError(f"{self.location} answered {status} for {subject}: {error.server_message or 'no reason'}")

    def _known_models(self) -> list[str]:
        try:
            return [row.id for row in self.catalogue()]
        except UpdZooError:
            return []  # a suggestion is not worth a second error

    def _known_revisions(self, model: ModelId) -> list[str]:
        try:
            with self._explained():
                refs = self._api().list_repo_refs(self._repository(model))
        except UpdZooError:
            return []
        return [ref.name for ref in (*refs.branches, *refs.tags)]


def _read_manifest(path: Path) -> "Manifest":
    from upd_zoo.artefact import Manifest, read_record

    return read_record(path, Manifest)


def _check_bytes(record: "FileRecord", path: Path) -> None:
    from upd_zoo.artefact import check_file

    check_file(path.parent, path.name, record)


def _keep_if(check: Callable[[Path], object], path: Path) -> None:
    """Run the check; where it fails, remove the file from the cache: the link by its name and the bytes behind it."""
    try:
        check(path)
    except IntegrityError:
        bytes_behind = path.resolve()
        path.unlink()
        bytes_behind.unlink(missing_ok=True)
        raise
