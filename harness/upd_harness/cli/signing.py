"""Keys on the command line: whose signature a model gets, and by which it is checked."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from upd_zoo.errors import MissingExtraError

if TYPE_CHECKING:
    from upd_zoo.artefact.records import Manifest

_EXTRA: Final = "sign"


def signing_by(key: Path) -> "Callable[[Path], Manifest]":
    """Return what signs artefacts by a private key; it raises an IntegrityError where one is not whole.

    The key is read here, once: its passphrase is that of the environment, or is asked for on a terminal.

    Raises:
        MissingExtraError: What signs is not installed.
        NotFoundError: There is no such key.
        UsageError: The key cannot be used.
    """
    try:
        from upd_zoo.artefact.signature import PrivateKey, sign_artefact
    except ImportError as error:
        raise MissingExtraError("Signing a model", _EXTRA) from error
    return partial(sign_artefact, key=PrivateKey.read(key, lambda: _passphrase(key)))


def check_signed(folder: Path, manifest: "Manifest", key: Path) -> str:
    """Refuse an artefact that a key did not sign as it lies there; return how the key is called.

    Raises:
        MissingExtraError: What checks signatures is not installed.
        NotFoundError: There is no such key.
        UsageError: The key cannot be used.
        IntegrityError: It is not signed, not by this key, or not as it is now.
    """
    try:
        from upd_zoo.artefact.signature import PublicKey, check_signature
    except ImportError as error:
        raise MissingExtraError("Checking a signature", _EXTRA) from error
    public = PublicKey.read(key)
    check_signature(folder, manifest, public)
    return public.name


def _passphrase(key: Path) -> str | None:
    said = os.environ.get("UPD_ZOO_PASSPHRASE")
    if said is None and sys.stdin.isatty():
        said = str(typer.prompt(f"passphrase of {key}", hide_input=True, err=True))
    return said
