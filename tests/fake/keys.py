"""Keys that sign, as the PEM files that OpenSSL writes."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@dataclass(frozen=True)
class KeyFiles:
    """Both halves of a key."""

    private: Path
    public: Path


def write_key(folder: Path, name: str = "key", curve: ec.EllipticCurve | None = None, word: str = "") -> KeyFiles:
    """Write a key on a curve, P-256 where none is given."""
    return _written(folder, name, ec.generate_private_key(curve or ec.SECP256R1()), word)


def write_other_kind(folder: Path) -> KeyFiles:
    """Write a key that is on no such curve."""
    return _written(folder, "other-kind", ed25519.Ed25519PrivateKey.generate(), "")


def _written(
    folder: Path, name: str, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, word: str
) -> KeyFiles:
    folder.mkdir(parents=True, exist_ok=True)
    files = KeyFiles(folder / f"{name}.pem", folder / f"{name}.pub")
    encryption = BestAvailableEncryption(word.encode()) if word else NoEncryption()
    files.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    files.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return files
