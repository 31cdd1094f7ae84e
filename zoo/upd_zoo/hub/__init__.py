"""Hubs: where models are pulled from and published to, behind the interface of `upd_zoo.hub.hub`.

    hf://ORG     one repository ORG/<model> per model on the Hugging Face Hub, one branch or tag per revision
    a folder     <model>/<revision>/ per model and revision, and catalogue.toml; for machines without a network

Where no hub is named, what lies in this package is looked through first (`upd_zoo.hub.packaged`).

What is fetched lies in one cache, `upd_zoo.hub.cache`, whichever hub it came from. A hub's own library is imported when
it is first needed, so the environment may still be set after this module is imported.
"""

import os
import re
from pathlib import Path
from typing import Final

from upd_zoo.errors import UsageError
from upd_zoo.hub.hub import DEFAULT_HUB, Hub

VARIABLE: Final = "UPD_ZOO_HUB"
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address begins, and no folder: one letter before the colon is a drive of Windows."""
_HUGGING_FACE = re.compile(r"hf://(?P<organisation>[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)/?")


def open_hub(
    location: Path | str | None = None,
    cache_dir: Path | str | None = None,
    offline: bool | None = None,
    token: str | None = None,
) -> Hub:
    """Return the hub at `location`; nothing is contacted or opened yet.

    Args:
        location: `hf://ORG` or a folder, which is asked alone; None for the environment's `UPD_ZOO_HUB`, else for what
            lies in this package and, behind it, the default hub, of which only those models are asked for that its
            catalogue lists.
        cache_dir: Where fetched files are kept; None for `upd-zoo` in `HF_HUB_CACHE` for the Hugging Face Hub, and in
            the user's cache folder for a folder.
        offline: Use no network; otherwise `HF_HUB_OFFLINE` decides. Of a folder that is gone, the cache is used.
        token: Access token of the Hugging Face Hub; None for the environment's `HF_TOKEN` or a stored login.

    Raises:
        UsageError: `location` is neither of the two, or empty.
    """
    named = os.environ.get(VARIABLE) if location is None else str(location)
    cache_dir = None if cache_dir is None else Path(cache_dir)
    implied = location is None and not named
    location = DEFAULT_HUB if implied else named or ""
    if not location.strip():
        raise UsageError("the hub has no name", "hf://ORG or a folder", f"leave --hub out for {DEFAULT_HUB}")
    if match := _HUGGING_FACE.fullmatch(location):
        from upd_zoo.hub.huggingface import HuggingFaceHub

        hub = HuggingFaceHub(match["organisation"], cache_dir, bool(offline), token, implied=implied)
        return _behind_the_package(hub) if implied else hub
    if _ADDRESS.match(location):
        raise UsageError(f"'{location}' is not a hub", "hf://ORG or a folder", "upd-zoo list --hub hf://upd-zoo")
    from upd_zoo.hub.folder import FolderHub

    return FolderHub(Path(location).expanduser(), cache_dir, bool(offline))


def _behind_the_package(hub: Hub) -> Hub:
    from upd_zoo.hub.packaged import PackagedHub

    return PackagedHub(hub)
