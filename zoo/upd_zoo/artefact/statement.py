"""What a signature says: the SHA-256 of every file of an artefact, as OpenSSF's model signing writes it down.

    model.sig    a Sigstore bundle in JSON: the name of the key, and an envelope (DSSE) of payload and signature
      payload    an in-toto statement: `upd_zoo.artefact.statement.Statement`

So `model_signing verify key`, which knows nothing of this package, checks the same file. The manifest is one of the
files that are signed, and `model.sig` the only one that is not. Who made the signature is looked at elsewhere, in
`upd_zoo.artefact.signature`; what is here needs no library for that.

Sources: the bundle is Sigstore's, version 0.3; https://github.com/secure-systems-lab/dsse, version 1.0, for what is
signed; https://in-toto.io/Statement/v1 for the statement; https://model_signing/signature/v1.0 for its predicate.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from upd_zoo.artefact.folder import ASKED
from upd_zoo.artefact.record import MOST_RECORD_BYTES, Record, SafePath, Sha256, parse_record
from upd_zoo.artefact.records import MANIFEST, SIGNATURE, Manifest
from upd_zoo.errors import IntegrityError
from upd_zoo.files import sha256_of

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_IN_TOTO: Final = "application/vnd.in-toto+json"
SIGN_AGAIN: Final = "upd-zoo publish ARTEFACT --sign KEY --hub HUB signs anew"
FETCH_AGAIN: Final = "upd-zoo pull MODEL --force, or tell who published it"


class _Signed(Record):
    """A part of a statement; what another program adds to it is signed with the rest, and says nothing here."""

    model_config = ConfigDict(extra="ignore")


class Resource(_Signed):
    """One file and its hash."""

    algorithm: Literal["sha256"] = "sha256"
    name: SafePath
    digest: Sha256


class Serialization(_Signed):
    """How files were hashed, and which are no part of the model."""

    method: Literal["files"] = "files"
    hash_type: Literal["sha256"] = "sha256"
    allow_symlinks: Literal[False] = False
    ignore_paths: list[str] = Field(default=[SIGNATURE, ASKED])


class Predicate(_Signed):
    """What is stated."""

    serialization: Serialization = Field(default=Serialization())
    resources: list[Resource]


class Subject(_Signed):
    """What it is stated of: a name, and the SHA-256 of all hashes in their order."""

    name: str
    digest: dict[str, str]


class Statement(_Signed):
    """The in-toto statement."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default="https://in-toto.io/Statement/v1", alias="_type")
    subject: Annotated[list[Subject], Field(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"] = Field(
        default="https://model_signing/signature/v1.0", alias="predicateType"
    )
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement as it was signed.

    Attributes:
        payload: The statement in JSON.
        signature: What the private key made of `pre_authenticated(payload)`.
        key: SHA-256 of the public key as a PEM file.
    """

    payload: bytes
    signature: bytes
    key: str

    @property
    def content(self) -> bytes:
        """The bytes of the file; the same envelope has no other ones."""
        signature = {"sig": base64.b64encode(self.signature).decode(), "keyid": ""}
        document = {
            "mediaType": _BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": self.key}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": _IN_TOTO,
                "signatures": [signature],
            },
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of every file that is signed, by relative path.

        Raises:
            IntegrityError: The payload states something else.
        """
        statement = parse_record(self.payload, SIGNATURE, Statement)
        return {each.name: each.digest for each in statement.predicate.resources}

    @classmethod
    def parsed(cls, content: bytes) -> "Envelope":
        """Return the envelope that a file holds.

        Raises:
            IntegrityError: It holds none, or any byte more or less than `content` has of it.
        """
        try:
            document: Any = json.loads(content[: MOST_RECORD_BYTES + 1])
            envelope = document["dsseEnvelope"]
            payload, signature = envelope["payload"], envelope["signatures"][0]["sig"]
            key = document["verificationMaterial"]["publicKey"]["hint"]
            found = cls(base64.b64decode(payload), base64.b64decode(signature), str(key))
        except (ValueError, LookupError, TypeError, RecursionError):
            found = None
        if found is None or found.content != content:
            raise IntegrityError(
                f"{SIGNATURE} is damaged, or no signature by a plain key",
                "what upd-zoo publish --sign wrote",
                FETCH_AGAIN,
            )
        return found


def stated(model: str, files: Mapping[str, str]) -> bytes:
    """Return the payload that is signed.

    Args:
        model: The name of the model, by which people know what the statement is about.
        files: SHA-256 of every file, by relative path.
    """
    names = sorted(files)
    root = hashlib.sha256(b"".join(bytes.fromhex(files[name]) for name in names)).hexdigest()
    statement = Statement(
        subject=[Subject(name=model, digest={"sha256": root})],
        predicate=Predicate(resources=[Resource(name=name, digest=files[name]) for name in names]),
    )
    return statement.model_dump_json(by_alias=True).encode()


def pre_authenticated(payload: bytes) -> bytes:
    """Return what is signed in place of a payload: DSSE's pre-authentication encoding, which holds its type too."""
    return b"DSSEv1 %d %s %d %s" % (len(_IN_TOTO), _IN_TOTO.encode(), len(payload), payload)


def files_to_sign(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Return the SHA-256 of the manifest as it lies there and of all that it lists, by relative path."""
    return {MANIFEST: sha256_of(folder / MANIFEST)} | {name: file.sha256 for name, file in manifest.files.items()}


def read_envelope(folder: Path, manifest: Manifest) -> Envelope:
    """Return the signature of an artefact; who made it and of what is not looked at.

    Raises:
        IntegrityError: There is none, or it cannot be read.
    """
    try:
        with (folder / SIGNATURE).open("rb") as stream:
            return Envelope.parsed(stream.read(MOST_RECORD_BYTES + 1))
    except (FileNotFoundError, IsADirectoryError):
        pass
    if manifest.signed_by is None:
        raise IntegrityError(
            f"{manifest.id} is not signed",
            f"a model with a {SIGNATURE}",
            "ask who publishes it for a signed one; your own: upd-zoo publish ARTEFACT --sign KEY --hub HUB",
        )
    raise IntegrityError(
        f"the {SIGNATURE} of {manifest.id} is missing, which says that the key {manifest.signed_by} signed it",
        f"a model with its {SIGNATURE}",
        FETCH_AGAIN,
    )


def check_covers(envelope: Envelope, folder: Path, manifest: Manifest, next_step: str) -> None:
    """Refuse a signature of other files than those of an artefact, whether they lie there or were not asked for.

    Args:
        envelope: The signature.
        folder: The artefact.
        manifest: Its manifest.
        next_step: What to do about it.

    Raises:
        IntegrityError: A file is not the one that was signed, or only one of the two names it, or another key.
    """
    signed, present = envelope.files, files_to_sign(folder, manifest)
    other = sorted(name for name in signed.keys() | present.keys() if signed.get(name) != present.get(name))
    if other:
        raise IntegrityError(
            f"the signature of {manifest.id} is one of other files: {', '.join(other[:_NAMED])}",
            "what was signed, and nothing else",
            next_step,
        )
    if manifest.signed_by not in (None, envelope.key):
        raise IntegrityError(
            f"{MANIFEST} says that the key {manifest.signed_by} signed {manifest.id}, and {SIGNATURE} that "
            f"{envelope.key} did",
            "the same key",
            next_step,
        )


_NAMED: Final = 4
"""How many files an error names."""
