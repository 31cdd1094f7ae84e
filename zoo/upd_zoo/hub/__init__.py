"""Hubs: where models are pulled from and published to, behind one interface.

    hf://ORG     one repository ORG/<model> per model on the Hugging Face Hub, one branch or tag per revision
    a folder     <model>/<revision>/ per model and revision, and catalogue.toml; for machines without a network

Whatever comes out of `Hub.fetch` has the SHA-256 that the model's manifest states. A hub's own library is imported
when it is first needed, so the environment may still be set after this module is imported.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upd_zoo.catalogue import Catalogue, Row
from upd_zoo.errors import UsageError
from upd_zoo.vocabulary import ModelId

if TYPE_CHECKING:
    from upd_zoo.artefact import Manifest

DEFAULT_HUB: Final = "hf://upd-zoo"
VARIABLE: Final = "UPD_ZOO_HUB"
_HUGGING_FACE = re.compile(r"hf://(?P<organisation>[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)/?")

Progress = Callable[[str, int, int], None]
"""Called with a file's relative path, how many of its bytes are there, and how many it has."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """Verified files of one model.

    Attributes:
        folder: Holds the files asked for, `config.json` and `manifest.json`; others there are not vouched for.
        revision: The exact version: a commit on the Hugging Face Hub, the revision's name in a folder.
        manifest: What the files were verified against.
    """

    folder: Path
    revision: str
    manifest: "Manifest"


class Hub(ABC):
    """A place that holds models.

    Attributes:
        location: How the hub is written: `hf://ORG` or a folder.
    """

    location: str

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
        on_progress: Progress | None = None,
        *,
        force: bool = False,
    ) -> Pulled:
        """Return a folder in which files of a model are present, each with the SHA-256 of the manifest.

        What an earlier call left in the cache is used where its hash is right and fetched again where it is not.

        Args:
            model: The model, under any of its names.
            names: Relative paths of the files wanted; None for every file of the manifest.
            on_progress: Told how far each fetched file is.
            force: Fetch everything asked for again, whatever is in the cache.

        Raises:
            NotFoundError: There is no such hub, model, revision or file.
            IntegrityError: The hub's own bytes are wrong; none of them stay in the cache.
            OfflineError: The network is needed and not to be had.
            UpdZooError: The hub refuses access.
        """

    @abstractmethod
    def publish(self, folder: Path, model: ModelId) -> Row:
        """Put the artefact in `folder` on the hub, in place of an earlier one of the same model and revision.

        Args:
            folder: A whole artefact. Only what its manifest lists is published.
            model: Name and revision to publish it under.

        Returns:
            The model's row for a catalogue.

        Raises:
            UsageError: The artefact is of another model.
            NotFoundError: `folder` is not an artefact.
            IntegrityError: A file is missing or differs from the manifest; nothing was published.
            OfflineError: The network is needed and not to be had.
            UpdZooError: The hub refuses access.
        """


def open_hub(
    location: str | None = None,
    cache_dir: Path | None = None,
    offline: bool | None = None,
    token: str | None = None,
) -> Hub:
    """Return the hub at `location`; nothing is contacted or opened yet.

    Args:
        location: `hf://ORG` or a folder; None for the environment's `UPD_ZOO_HUB`, else the default hub.
        cache_dir: Where fetched files are kept; None for `HF_HUB_CACHE` or the user's cache folder.
        offline: Use nothing but the cache of the Hugging Face Hub; otherwise `HF_HUB_OFFLINE` decides.
        token: Access token of the Hugging Face Hub; None for the environment's `HF_TOKEN` or a stored login.

    Raises:
        UsageError: `location` is neither of the two.
    """
    location = location or os.environ.get(VARIABLE) or DEFAULT_HUB
    if match := _HUGGING_FACE.fullmatch(location):
        from upd_zoo.hub.huggingface import HuggingFaceHub

        return HuggingFaceHub(match["organisation"], cache_dir, bool(offline), token)
    if "://" in location:
        raise UsageError(f"'{location}' is not a hub", "hf://ORG or a folder", "upd-zoo list --hub hf://upd-zoo")
    from upd_zoo.hub.folder import FolderHub

    return FolderHub(Path(location).expanduser(), cache_dir)
