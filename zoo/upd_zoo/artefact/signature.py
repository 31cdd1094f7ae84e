"""Who vouches for an artefact: signatures by a plain key on an elliptic curve, made and checked without a network.

A key is a PEM file, as OpenSSL writes it:

    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem
    openssl pkey -in KEY.pem -pubout -out KEY.pub

It is called by the SHA-256 of the file of its public half, which `sha256sum KEY.pub` prints. The signature is ECDSA
(FIPS 186-5) with the hash that belongs to the curve.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from upd_zoo.artefact.folder import ASKED, verify
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import MANIFEST, SIGNATURE, Manifest
from upd_zoo.artefact.statement import (
    FETCH_AGAIN,
    SIGN_AGAIN,
    Envelope,
    check_covers,
    files_to_sign,
    pre_authenticated,
    read_envelope,
    stated,
)
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.files import write_bytes

_HASHES: Final = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
_CURVES: Final = "the PEM file of a key on the curve P-256, P-384 or P-521"
_MAKE: Final = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem"
_PUBLIC: Final = "openssl pkey -in KEY.pem -pubout -out KEY.pub"
_MOST_KEY_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key by which a signature is checked.

    Attributes:
        key: On one of the three curves.
    """

    key: ec.EllipticCurvePublicKey

    @property
    def name(self) -> str:
        """SHA-256 of its PEM file, as 64 hexadecimal digits."""
        return hashlib.sha256(self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    @classmethod
    def read(cls, path: Path) -> "PublicKey":
        """Return the key that a PEM file holds.

        Raises:
            NotFoundError: There is no such file.
            UsageError: It holds no public key, or one of another kind.
        """
        try:
            return cls(_on_a_curve(load_pem_public_key(_bytes_of(path, _PUBLIC)), path))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(f"{path} holds no public key", _CURVES, _PUBLIC) from error

    def made(self, envelope: Envelope) -> bool:
        """Return whether the private half of this key made a signature."""
        try:
            content = pre_authenticated(envelope.payload)
            self.key.verify(envelope.signature, content, ec.ECDSA(_HASHES[self.key.curve.name]))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The half of a key by which is signed.

    Attributes:
        key: On one of the three curves.
    """

    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        """The other half."""
        return PublicKey(self.key.public_key())

    @classmethod
    def read(cls, path: Path, passphrase: Callable[[], str | None]) -> "PrivateKey":
        """Return the key that a PEM file holds.

        Args:
            path: The file.
            passphrase: Asked once where the file is encrypted; None where nobody knows it.

        Raises:
            NotFoundError: There is no such file.
            UsageError: It holds no private key, one of another kind, or one that the passphrase does not open.
        """
        content = _bytes_of(path, _MAKE)
        word = passphrase() if b"ENCRYPTED" in content else None
        try:
            key = load_pem_private_key(content, None if word is None else word.encode())
        except TypeError as error:
            raise UsageError(f"{path} is encrypted", "its passphrase", "set UPD_ZOO_PASSPHRASE to it") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if word is not None:
                raise UsageError(f"the passphrase does not open {path}", "the one that it was made with") from error
            raise UsageError(f"{path} holds no private key", _CURVES, _MAKE) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _of_another_kind(path)
        _on_a_curve(key.public_key(), path)
        return cls(key)

    def sign(self, payload: bytes) -> Envelope:
        """Return a payload with a signature of it, which is another one every time."""
        algorithm = ec.ECDSA(_HASHES[self.key.curve.name])
        return Envelope(payload, self.key.sign(pre_authenticated(payload), algorithm), self.public.name)


def sign_artefact(folder: Path, key: PrivateKey) -> Manifest:
    """Sign every file of an artefact; one that this key has signed as it is stays so.

    Args:
        folder: A whole artefact, changed in place: its manifest says who signed it, and `model.sig` is written.
        key: Whose signature it gets, in place of any other.

    Returns:
        The manifest.

    Raises:
        NotFoundError: There is no artefact.
        IntegrityError: A file is missing or differs from its manifest.
    """
    manifest = verify(folder, None)
    verify(folder, manifest.files)
    try:
        _check_made(folder, manifest, key.public)
    except IntegrityError:
        manifest = manifest.model_copy(update={"signed_by": key.public.name})
        write_record(folder / MANIFEST, manifest)
        envelope = key.sign(stated(manifest.id, files_to_sign(folder, manifest)))
        write_bytes(folder / SIGNATURE, envelope.content)
    return manifest


def check_signature(folder: Path, manifest: Manifest, key: PublicKey) -> None:
    """Refuse an artefact that a key did not sign as it lies there.

    Its files have been held against its manifest before. Those that were not asked for when it was pulled may be
    missing; anything that was not signed may not be there.

    Args:
        folder: The artefact.
        manifest: Its manifest, by `upd_zoo.artefact.folder.verify`.
        key: Of whom it should be.

    Raises:
        IntegrityError: It is not signed, not by this key, not as it is now; or something else lies in its folder.
    """
    _check_made(folder, manifest, key)
    strange = sorted(_strange(folder, manifest))
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise IntegrityError(
            f"{strange[0]}{more} in {folder} is no plain file that was signed",
            f"the files of {MANIFEST}, itself and {SIGNATURE}",
            "remove what is not the model's, or pull it again",
        )


def _check_made(folder: Path, manifest: Manifest, key: PublicKey) -> None:
    """Refuse an artefact of which a key did not sign every file as it is."""
    envelope = read_envelope(folder, manifest)
    if envelope.key != key.name:
        raise IntegrityError(
            f"{manifest.id} is signed by the key {envelope.key}, not by {key.name}",
            "a signature by the key that is named",
            "ask its publisher, by another way than the hub, for the public key",
        )
    if not key.made(envelope):
        raise IntegrityError(f"the signature of {manifest.id} was not made by the key {key.name}", "", FETCH_AGAIN)
    check_covers(envelope, folder, manifest, f"{FETCH_AGAIN}; an artefact of your own: {SIGN_AGAIN}")


def _strange(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what is in a folder, by relative path, but folders and the plain files of an artefact."""
    known = {*manifest.files, MANIFEST, SIGNATURE, ASKED}
    for above, below, files in os.walk(folder):
        for path in (Path(above) / name for name in (*files, *below)):
            name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not (name in known and stat.S_ISREG(mode)):
                yield name


def _on_a_curve(key: object, path: Path) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _of_another_kind(path)
    return key


def _of_another_kind(path: Path) -> UsageError:
    return UsageError(f"the key {path} is of another kind", _CURVES, _MAKE)


def _bytes_of(path: Path, next_step: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_KEY_BYTES)
    except (FileNotFoundError, IsADirectoryError):
        raise NotFoundError(f"there is no key {path}", _CURVES, next_step) from None
