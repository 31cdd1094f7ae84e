"""The interface of a hub, and what it hands out.

Whatever comes out of `Hub.fetch` has the SHA-256 that the model's manifest states.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from upd_zoo.errors import UsageError
from upd_zoo.hub.catalogue import Catalogue, Row
from upd_zoo.names import ModelId
from upd_zoo.progress import Report, silent

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Manifest
    from upd_zoo.hub.cache import Version
    from upd_zoo.hub.receiving import Deliver

DEFAULT_HUB: Final = "hf://upd-zoo"
HISTORY: Final = "-history"
"""What the name of a branch ends with that keeps the commits of a revision, on hubs that have such."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """Verified files of one model.

    Attributes:
        folder: Holds the files asked for, `config.json` and `manifest.json`; others there are not vouched for.
        revision: The exact version: a commit on the Hugging Face Hub, the revision's name in a folder.
        manifest: What the files were verified against.
        unasked: Why the hub could not be asked, where what an earlier call fetched stands in; else empty.
        packaged: Whether they lie in this package, so that nothing was fetched.
    """

    folder: Path
    revision: str
    manifest: "Manifest"
    unasked: str = ""
    packaged: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a publication.

    Attributes:
        row: The model's row for a catalogue.
        replaced: When the artefact was made that stood in its place; None where none did.
        unchanged: Whether the same artefact stood there already, so that nothing was sent.
    """

    row: Row
    replaced: str | None = None
    unchanged: bool = False


class Hub(ABC):
    """A place that holds models.

    Attributes:
        location: How the hub is written: `hf://ORG` or a folder.
        has_collections: Whether models can be put into collections there.
    """

    location: str
    has_collections: ClassVar[bool] = False

    @property
    @abstractmethod
    def cache_folder(self) -> Path:
        """Where fetched files are kept."""

    @property
    def patience(self) -> float:
        """How many seconds it takes at most to learn that the hub is out of reach; 0 where that is known at once."""
        return 0.0

    @abstractmethod
    def catalogue(self) -> Catalogue:
        """Return what the hub holds.

        Raises:
            NotFoundError: There is no such hub.
            OfflineError: The network is needed and not to be had.
        """

    @abstractmethod
    def fetch(
        self,
        model: ModelId,
        names: Iterable[str] | None = None,
        on_progress: Report = silent,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder in which files of a model are present, each with the SHA-256 of the manifest.

        What an earlier call left in the cache is used where its hash is right and fetched again where it is not.

        Args:
            model: The model, under any of its names.
            names: Relative paths of the files wanted; None for every file of the manifest.
            on_progress: Told how many bytes of each fetched file are there.
            force: Fetch everything asked for again, whatever is in the cache.

        Raises:
            NotFoundError: There is no such hub, model, revision or file.
            IntegrityError: The hub's own bytes are wrong; none of them stay in the cache.
            OfflineError: The network is needed and not to be had.
            UpdZooError: The hub refuses access.
        """

    @abstractmethod
    def take_in(
        self, model: ModelId, version: "Version", names: Iterable[str], deliver: "Deliver", on_progress: Report = silent
    ) -> Path:
        """Put what was brought by other ways into the cache, as if it had been fetched from here; return its folder.

        Args:
            model: Under which name and revision it is found later.
            version: What it is.
            names: Relative paths of the files that there are.
            deliver: Yields their bytes, which may be any.
            on_progress: Told how far each file is.

        Raises:
            IntegrityError: The bytes are not those of the manifest; none of them stay here.
            UpdZooError: The cache cannot be written.
        """

    @abstractmethod
    def audience(self, public: bool) -> str:
        """Return who can see what is published here, as it goes on from "visible to".

        Args:
            public: Whether everybody shall.
        """

    @abstractmethod
    def publish(
        self,
        folder: Path | str,
        model: ModelId,
        *,
        public: bool = False,
        force: bool = False,
        on_progress: Report = silent,
    ) -> Published:
        """Put the artefact in `folder` on the hub, in place of an earlier one of the same model and revision.

        Args:
            folder: A whole artefact. Only what its manifest lists is published.
            model: Name and revision to publish it under.
            public: Whether everybody shall see it, where the hub can keep it from some.
            force: Publish one that lacks results, parity or licences; and let it take the place of one that was made
                later, or whose card was changed on the hub.
            on_progress: Told which stage it is at, and how much of each file was sent.

        Raises:
            UsageError: The artefact is of another model, lacks what users need, or is older than the one in its place;
                or who would see it is not who shall.
            NotFoundError: `folder` is not an artefact.
            IntegrityError: A file is missing or differs from the manifest, and nothing was published; or the hub holds
                other bytes than were sent.
            OfflineError: The network is needed and not to be had.
            UpdZooError: The hub refuses access.
        """

    def collect(self, model: ModelId, title: str, *, public: bool = False) -> str:  # noqa: ARG002 - of hubs that can
        """Put a published model into a collection, and return the collection's address.

        Args:
            model: What was published.
            title: Of the collection; it is made where it is not there.
            public: Whether everybody shall see one that is made.

        Raises:
            UsageError: The hub has no collections.
            OfflineError: The network is needed and not to be had.
            UpdZooError: The hub refuses access.
        """
        raise UsageError(
            f"{self.location} has no collections, so that {model} cannot be put into '{title}'",
            "a collection on the Hugging Face Hub",
            "leave out --collection",
        )
