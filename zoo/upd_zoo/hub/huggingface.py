"""The Hugging Face Hub, or whatever `HF_ENDPOINT` names, as a hub.

All files of one call come from one commit, a few at a time, and each is hashed while it comes, by
`upd_zoo.hub.transfer`. The Hub's own library publishes. It reads `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`,
`HF_ENDPOINT` and `HF_TOKEN` when it is imported, which happens inside the functions below.
"""

import os
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError, UsageError
from upd_zoo.hub.answers import not_published, unknown_model, unknown_revision
from upd_zoo.hub.catalogue import Catalogue, Row
from upd_zoo.hub.hub import DEFAULT_HUB, HISTORY, Hub, Published, Pulled
from upd_zoo.hub.packaged import packaged
from upd_zoo.names import MAIN, ModelId
from upd_zoo.progress import Report, silent

if TYPE_CHECKING:
    from upd_zoo.artefact.records import FileRecord
    from upd_zoo.hub.cache import Cache, Version
    from upd_zoo.hub.receiving import Deliver
    from upd_zoo.hub.transfer import Refusal, Transfer

LIBRARY: Final = "upd-zoo"
"""`library_name` of the model cards, by which models are found."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_TOLD_COMMIT: Final = "x-repo-commit"
_AT_ONCE: Final = 4
"""Files that come at a time: the three formats of a model, and the small ones behind each other beside them."""
_CLOSED: Final = (401, 403)
_NO_SUCH_CALL: Final = (404, 405, 501)


class HuggingFaceHub(Hub):
    """The models of one organisation on the Hugging Face Hub.

    Args:
        organisation: Whose repositories.
        cache_dir: Where fetched files are kept; None for `upd-zoo` in the Hub library's cache folder.
        offline: Use nothing but the cache.
        token: Access token; None for the library's own login.
        implied: Whether nobody named this hub, so that the packaged catalogue, which lists it, answers first.
    """

    has_collections = True

    def __init__(
        self,
        organisation: str,
        cache_dir: Path | None = None,
        offline: bool = False,
        token: str | None = None,
        *,
        implied: bool = False,
    ) -> None:
        self.location = f"hf://{organisation}"
        self._organisation = organisation
        self._cache_dir = cache_dir
        self._offline_asked = offline
        self._token = token
        self._implied = implied

    @property
    def cache_folder(self) -> Path:
        """The one that was given, or `upd-zoo` in that of the Hub's library."""
        return self._cache_dir or Path(_settings().HF_HUB_CACHE) / LIBRARY

    @property
    def patience(self) -> float:
        """What a manifest or a list may take; nothing where the network is switched off."""
        from upd_zoo.hub.transfer import patience

        return 0.0 if self._offline else patience()

    def catalogue(self) -> Catalogue:
        """Return the packaged catalogue for the default hub; elsewhere, what the list of the repositories says."""
        from upd_zoo.hub.model_index import ASKED, LABEL, labels_in, measured_in

        if self.location == DEFAULT_HUB:
            return Catalogue.read()
        self._need_network(f"the catalogue of {self.location}")
        with self._explained(), self._transfer() as transfer:
            entries = transfer.entries(f"/api/models?author={self._organisation}&filter={LIBRARY}&{ASKED}")
        catalogue = Catalogue()
        for entry in entries:
            if isinstance(entry, dict):
                results, labels = measured_in(entry), labels_in(entry)
                told = (*labels, LABEL) if results or labels else ()
                name = str(entry.get("id")).removeprefix(f"{self._organisation}/")
                with suppress(UsageError):  # a repository of another kind
                    catalogue = catalogue.add(Row(name, labels=told, results=results))
        return catalogue

    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Report = silent,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder of the cache; one request asks which commit the revision is at now."""
        cache = self._cache()
        if self._implied and cache.recall(model) is None:
            self._check_listed(model)
        if force:
            self._need_network(f"fetching {model} again")
        with self._explained(model), self._transfer() as transfer:
            version, unasked = self._located(model, transfer, cache, force)

            def deliver(name: str, record: "FileRecord", first: int) -> Generator[bytes]:
                if self._offline:
                    raise self._not_in_cache(f"{name} of {model}", model)
                with self._explained(model):
                    yield from transfer.blocks(self._address(model, version.revision, name), record.bytes, first)

            folder = cache.pull(model, version, names, deliver, on_progress, force, _AT_ONCE)
        return Pulled(folder, version.revision, version.manifest, unasked)

    def take_in(
        self, model: ModelId, version: "Version", names: Iterable[str], deliver: "Deliver", on_progress: Report = silent
    ) -> Path:
        """Put files into the cache; no network is used."""
        return self._cache().pull(model, version, names, deliver, on_progress)

    def audience(self, public: bool) -> str:
        """Return who can see a repository."""
        return "everybody" if public else f"the members of {self._organisation} and nobody else"

    def publish(
        self,
        folder: Path | str,
        model: ModelId,
        *,
        public: bool = False,
        force: bool = False,
        on_progress: Report = silent,
    ) -> Published:
        """Publish in one commit, which also removes the files that the artefact no longer has."""
        from upd_zoo.hub.checks import check_card, check_newer, publishable
        from upd_zoo.hub.uploading import Upload, differing, upload

        folder, place = Path(folder), f"{model} on {self.location}"
        manifest, files, row = publishable(folder, model, force=force)
        self._need_network(f"publishing {model}")
        repository = self._repository(model)
        work = Upload(folder, files, self.location, repository, model.revision, public, f"Publish {model.canonical}")
        with self._explained(model, writing=True):
            with self._transfer() as transfer:
                self._check_audience(model, transfer, public)
                standing = self._standing(model, transfer)
                before = None if standing is None else standing.manifest
                check_newer(None if force else before, manifest, place)
                if standing is not None and not force:
                    check_card(standing.manifest, self._card(model, standing, transfer), place)
            done = Published(row, None if before is None else before.as_of, unchanged=True)
            if standing is not None and before == manifest and not differing(work, standing.revision, self._token):
                return done
            upload(work, None if standing is None else standing.revision, self._token, on_progress)
        return replace(done, unchanged=False)

    def collect(self, model: ModelId, title: str, *, public: bool = False) -> str:
        """Put the model's repository into a collection of the organisation, and return its address."""
        from upd_zoo.hub.uploading import collect

        self._need_network(f"putting {model} into a collection")
        with self._explained(model, writing=True):
            slug = collect(self._repository(model), title, self.location, self._token, public=public)
        return f"{_settings().ENDPOINT}/collections/{slug}"

    def _check_audience(self, model: ModelId, transfer: "Transfer", public: bool) -> None:
        """Refuse a repository that others can see than those who shall; one that is not there yet is made for them."""
        from upd_zoo.hub.transfer import Refusal

        try:
            private = transfer.facts(f"/api/models/{self._repository(model)}").get("private")
        except Refusal as refusal:
            if _is_missing(refusal):
                return
            raise
        if private is not (not public):
            raise UsageError(
                f"{model.name} on {self.location} is visible to {self.audience(not private)}",
                f"a repository that is visible to {self.audience(public)}",
                "leave out --public, or change the settings of the repository" if public else "add --public",
            )

    def _standing(self, model: ModelId, transfer: "Transfer") -> "Version | None":
        """Return what is published under this name; None where nothing is, or nothing readable."""
        from upd_zoo.hub.transfer import Refusal

        try:
            return self._asked(model, transfer)
        except IntegrityError:
            return None
        except Refusal as refusal:
            if _is_missing(refusal):
                return None
            raise

    def _card(self, model: ModelId, standing: "Version", transfer: "Transfer") -> bytes | None:
        """Return the card that is on the hub; None where there is none."""
        from upd_zoo.artefact.records import CARD
        from upd_zoo.hub.transfer import Refusal

        try:
            return transfer.document(self._address(model, standing.revision, CARD))[0]
        except Refusal as refusal:
            if _is_missing(refusal):
                return None
            raise

    def _located(self, model: ModelId, transfer: "Transfer", cache: "Cache", force: bool) -> "tuple[Version, str]":
        """Return the version to fetch, and why the hub was not asked, where it should have been."""
        recalled = None if force else cache.recall(model)
        pinned = _COMMIT.fullmatch(model.revision)
        if recalled is not None and (self._offline or pinned):
            return recalled, ""
        if self._offline:
            raise self._not_in_cache(str(model), model)
        try:
            with self._explained(model):
                return self._asked(model, transfer), ""
        except OfflineError as error:
            if recalled is None:
                raise
            return recalled, error.problem

    def _asked(self, model: ModelId, transfer: "Transfer") -> "Version":
        """Return the version that the hub has under this name now."""
        from upd_zoo.artefact.records import MANIFEST, SIGNATURE
        from upd_zoo.hub.cache import Version

        address = self._address(model, model.revision, MANIFEST)
        content, fields = transfer.document(address)
        commit, told_with_it = fields.get(_TOLD_COMMIT, ""), _TOLD_COMMIT in fields
        if not told_with_it:  # a mirror such as olah tells it only where the file itself is not asked for
            commit = transfer.document(address, method="HEAD")[1].get(_TOLD_COMMIT, "")
        if not _COMMIT.fullmatch(commit):
            raise IntegrityError(
                f"{self.location} does not tell the commit of {model}", "40 hexadecimal digits", "check HF_ENDPOINT"
            )
        if not told_with_it:  # what came before may be of another commit
            content, _ = transfer.document(self._address(model, commit, MANIFEST))
        try:
            return Version.of(commit, content, lambda: transfer.document(self._address(model, commit, SIGNATURE))[0])
        except IntegrityError as error:
            raise IntegrityError(
                f"{error.problem}, as {self.location} delivers it", error.accepted, "report it to its publisher"
            ) from None

    def _check_listed(self, model: ModelId) -> None:
        listed = self.catalogue().names
        if model.canonical.name not in listed:
            raise not_published(model, listed, self.location, packaged().names)

    def _address(self, model: ModelId, revision: str, name: str) -> str:
        from huggingface_hub import constants, hf_hub_url

        return hf_hub_url(self._repository(model), name, revision=revision, endpoint=constants.ENDPOINT)

    def _transfer(self) -> "Transfer":
        from upd_zoo.hub.transfer import Transfer

        return Transfer(self._token)

    def _cache(self) -> "Cache":
        from upd_zoo.hub.cache import Cache

        return Cache(self.cache_folder, f"{self.location} at {_settings().ENDPOINT}")

    def _repository(self, model: ModelId) -> str:
        # Parsed again, because a ModelId that was put together by hand may hold anything.
        return f"{self._organisation}/{ModelId.parse(str(model.canonical)).name}"

    @property
    def _offline(self) -> bool:
        return bool(self._offline_asked or _settings().HF_HUB_OFFLINE)

    def _need_network(self, purpose: str) -> None:
        if self._offline:
            raise OfflineError(f"{purpose} needs the network", "", "try again without --offline and HF_HUB_OFFLINE")

    @contextmanager
    def _explained(self, model: ModelId | None = None, *, writing: bool = False) -> Iterator[None]:
        """Turn what a transfer or the Hub's library raises into an error that says what to type next."""
        import httpx2
        from huggingface_hub import errors

        from upd_zoo.hub.transfer import Refusal, refusal_of

        try:
            yield
        except Refusal as refusal:
            raise self._refused(model, refusal, writing=writing) from refusal
        except errors.HfHubHTTPError as error:
            raise self._refused(model, refusal_of(error.response, error.server_message), writing=writing) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, errors.OfflineModeIsEnabled) as error:
            raise self._unreachable(model, error) from error

    def _not_in_cache(self, what: str, model: ModelId) -> OfflineError:
        return OfflineError(
            f"{what} is not in the cache, and the network is switched off",
            "",
            f"upd-zoo pull {model} without --offline and HF_HUB_OFFLINE, or --hub FOLDER",
        )

    def _unreachable(self, model: ModelId | None, error: Exception) -> OfflineError:
        what = "the catalogue" if model is None else str(model)
        problem = f"{self.location} cannot be reached for {what} ({type(error).__name__})"
        if model is not None and self.location == DEFAULT_HUB and model.canonical.name not in self._known_models():
            problem += f", and the catalogue of this version does not list {model.canonical.name}"
        return OfflineError(
            problem, "", "check the connection and HF_ENDPOINT, or pull from a folder with --hub FOLDER"
        )

    def _refused(self, model: ModelId | None, refusal: "Refusal", *, writing: bool = False) -> UpdZooError:
        status, subject = refusal.status, model or "its catalogue"
        if writing and (status in _CLOSED or status in _NO_SUCH_CALL):
            return self._takes_nothing(subject, status)
        if refusal.code == "GatedRepo":
            return UpdZooError(f"{self.location} keeps {subject} behind an agreement", "", "accept it and pass --token")
        if model is None and status in _NO_SUCH_CALL:
            return self._without_list()
        if model is not None and refusal.code == "RepoNotFound":
            return self._unknown(model, status)
        if model is not None and refusal.code == "RevisionNotFound":
            return unknown_revision(model, self._known_revisions(model))
        if refusal.code == "EntryNotFound":
            return NotFoundError(f"{self.location} has no file {refusal.path}", "", "upd-zoo list")
        if status in _CLOSED:
            known = self._known_models() if model is not None else []
            if known and model is not None and model.canonical.name not in known:
                return unknown_model(
                    model, known, self.location
                )  # the Hub hides from strangers whether a repository is there
            return UpdZooError(f"{self.location} refuses access to {subject} ({status})", "", "pass --token")
        if status in (408, 429) or status >= 500:
            when = "later" if refusal.wait is None else f"in {refusal.wait} s"
            return OfflineError(
                f"{self.location} answered {status} for {_file_of(refusal) or subject}",
                "",
                f"try again {when}, or pass --hub FOLDER",
            )
        kind = NotFoundError if status == 404 else UpdZooError
        reason = refusal.words or "no reason"
        return kind(f"{self.location} answered {status} for {subject}: {reason}", "", "check HF_ENDPOINT")

    def _takes_nothing(self, subject: ModelId | str, status: int) -> UpdZooError:
        if status in _NO_SUCH_CALL:
            return UpdZooError(
                f"{_settings().ENDPOINT} does not take publications ({status})", "", "correct or unset HF_ENDPOINT"
            )
        return UpdZooError(
            f"{self.location} does not take {subject} from you ({status})",
            f"the token of somebody who may write to {self._organisation}",
            "pass --token, or set HF_TOKEN",
        )

    def _without_list(self) -> NotFoundError:
        return NotFoundError(
            f"{self.location} does not list its models at {_settings().ENDPOINT}",
            "the name of a model that is there",
            f"upd-zoo pull MODEL --hub {self.location}",
        )

    def _unknown(self, model: ModelId, status: int) -> NotFoundError:
        """Return what is missing where a hub says that the repository is: a mirror says so of revisions, too."""
        revisions = [] if model.revision == MAIN else self._known_revisions(model)
        if revisions and model.revision not in revisions:
            return unknown_revision(model, revisions)
        return unknown_model(model, self._known_models(), self.location, hidden=status in _CLOSED)

    def _known_models(self) -> list[str]:
        try:
            return self.catalogue().names
        except UpdZooError:
            return []  # a suggestion is not worth a second error

    def _known_revisions(self, model: ModelId) -> list[str]:
        try:
            with self._explained(), self._transfer() as transfer:
                refs = transfer.facts(f"/api/models/{self._repository(model)}/refs")
        except UpdZooError:
            return []
        entries = (entry for kind in ("branches", "tags") for entry in refs.get(kind, []))
        names = [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]
        return [name for name in names if not name.endswith(HISTORY)]


def _settings() -> ModuleType:
    """Return what the Hub's library read from the environment when it was imported.

    Raises:
        UsageError: `HF_ENDPOINT` is no address; at some such values the library cannot even be imported.
    """
    try:
        address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("HF_ENDPOINT is not the address of a hub", "https://HOST", "correct it, or unset HF_ENDPOINT")
    from huggingface_hub import constants

    return constants


def _file_of(refusal: "Refusal") -> str:
    """Return which file was asked for; empty where it was none."""
    match = re.fullmatch(r"/[^/]+/([^/]+)/resolve/[^/]+/(.+)", refusal.path)
    return f"{match[2]} of {match[1]}" if match else ""


def _is_missing(refusal: "Refusal") -> bool:
    return refusal.status == 404
