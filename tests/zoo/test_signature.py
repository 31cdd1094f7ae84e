"""Signatures: who has the public key notices every change, and no stale one is passed on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fake.artefact import with_manifest, write_artefact
from fake.keys import KeyFiles, write_key, write_other_kind
from fake.results import made_result
from fake.tampering import RESULT, tamper
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CARD, CONFIG, DATA_TERMS, MANIFEST, ONNX, SIGNATURE, WEIGHTS, Manifest
from upd_zoo.artefact.signature import PrivateKey, PublicKey, check_signature, sign_artefact
from upd_zoo.artefact.statement import Envelope, files_to_sign, pre_authenticated, stated
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.hub import open_hub
from upd_zoo.hub.bundle import unpack, write_bundle
from upd_zoo.hub.cached import cached, remove
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    return write_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    """The key of somebody else."""
    return write_key(tmp_path_factory.mktemp("keys"), "stranger")


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    """An artefact with a file of each kind, which nobody has signed."""
    return made(tmp_path / "artefact")


def made(folder: Path) -> Path:
    write_artefact(folder)
    (folder / "LICENSE").write_text("Apache License, and what follows from that\n")
    (folder / DATA_TERMS).write_text("Trained on phantoms.\n")
    (folder / "proof").mkdir(exist_ok=True)
    (folder / "proof" / "image.npy").write_bytes(bytes(range(64)))
    write_record(folder / RESULT, made_result("vae-phantom-t1", test_set="phantom-t1"))
    return with_manifest(folder)


def signed(folder: Path, key: KeyFiles) -> Path:
    sign_artefact(folder, PrivateKey.read(key.private, lambda: None))
    return folder


def check(folder: Path, key: KeyFiles) -> Manifest:
    """Check an artefact as `upd-zoo verify --key` does."""
    manifest = verify(folder)
    check_signature(folder, manifest, PublicKey.read(key.public))
    return manifest


# What is signed


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_what_a_key_signed_is_found_to_be_signed_by_it(artefact: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    own = write_key(tmp_path, curve=curve)
    manifest = check(signed(artefact, own), own)
    assert manifest.signed_by == sha256_of(own.public)


def test_the_manifest_and_every_file_of_it_are_signed(artefact: Path, key: KeyFiles) -> None:
    manifest = check(signed(artefact, key), key)
    envelope = Envelope.parsed((artefact / SIGNATURE).read_bytes())
    assert envelope.files == {name: sha256_of(artefact / name) for name in (*manifest.files, MANIFEST)}
    assert {CARD, CONFIG, WEIGHTS, ONNX, RESULT, DATA_TERMS, "LICENSE", "proof/image.npy"} <= envelope.files.keys()


def test_what_is_signed_is_the_envelope_that_dsse_describes() -> None:
    # the example of the protocol's own page, with the type of in-toto in place of its type
    assert pre_authenticated(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_what_is_signed_as_it_is_is_not_signed_again(artefact: Path, key: KeyFiles, stranger: KeyFiles) -> None:
    first = (signed(artefact, key) / SIGNATURE).read_bytes()
    assert (signed(artefact, key) / SIGNATURE).read_bytes() == first
    assert check(signed(artefact, stranger), stranger).signed_by == sha256_of(stranger.public)
    assert check(signed(artefact, key), key).signed_by == sha256_of(key.public)


def test_an_artefact_that_is_not_whole_is_not_signed(artefact: Path, key: KeyFiles) -> None:
    (artefact / CARD).write_text("changed")
    with pytest.raises(IntegrityError, match="README"):
        signed(artefact, key)
    assert not (artefact / SIGNATURE).exists()


# What is noticed


def test_a_model_without_a_signature_is_an_error_that_says_what_to_type(artefact: Path, key: KeyFiles) -> None:
    with pytest.raises(IntegrityError, match=r"is not signed.*Do this: .*upd-zoo publish ARTEFACT --sign KEY"):
        check(artefact, key)


def test_the_signature_of_another_key_is_not_the_one_that_was_asked_for(
    artefact: Path, key: KeyFiles, stranger: KeyFiles
) -> None:
    with pytest.raises(
        IntegrityError, match=f"by the key {sha256_of(stranger.public)}, not by {sha256_of(key.public)}"
    ):
        check(signed(artefact, stranger), key)


def test_another_key_cannot_pass_for_this_one(artefact: Path, key: KeyFiles, stranger: KeyFiles) -> None:
    signed(artefact, key)
    forger = PrivateKey.read(stranger.private, lambda: None)
    statement = Envelope.parsed((artefact / SIGNATURE).read_bytes()).payload
    forged = Envelope(statement, forger.sign(statement).signature, sha256_of(key.public))
    (artefact / SIGNATURE).write_bytes(forged.content)
    with pytest.raises(IntegrityError, match="was not made by the key"):
        check(artefact, key)


def test_the_signature_of_an_earlier_state_is_not_one_of_this(artefact: Path, key: KeyFiles) -> None:
    before = (signed(artefact, key) / SIGNATURE).read_bytes()
    (artefact / CARD).write_text("# Better\n")
    signed(with_manifest(artefact), key)
    (artefact / SIGNATURE).write_bytes(before)
    with pytest.raises(IntegrityError, match=r"is one of other files: README.md, manifest.json"):
        check(artefact, key)


def test_the_manifest_names_the_key_that_signed(artefact: Path, key: KeyFiles) -> None:
    manifest = verify(artefact).model_copy(update={"signed_by": "0" * 64})
    write_record(artefact / MANIFEST, manifest)
    statement = stated(manifest.id, files_to_sign(artefact, manifest))
    (artefact / SIGNATURE).write_bytes(PrivateKey.read(key.private, lambda: None).sign(statement).content)
    with pytest.raises(IntegrityError, match="says that the key 0000"):
        check(artefact, key)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"[" * 10_000, b'{"dsseEnvelope": 3}', b"\xff", b"0" * (2 << 20)]
)
def test_what_is_no_signature_is_called_damaged(artefact: Path, key: KeyFiles, content: bytes) -> None:
    (signed(artefact, key) / SIGNATURE).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.sig is damaged"):
        check(artefact, key)


def test_a_signature_has_one_spelling(artefact: Path, key: KeyFiles) -> None:
    path = signed(artefact, key) / SIGNATURE
    content = path.read_bytes()
    document = json.loads(content)
    document["dsseEnvelope"]["signatures"][0]["keyid"] = "somebody"
    for other in (content + b"\n", b" " + content, json.dumps(document, separators=(",", ":")).encode()):
        path.write_bytes(other)
        with pytest.raises(IntegrityError, match="damaged"):
            check(artefact, key)


def test_a_statement_of_another_kind_is_none(artefact: Path, key: KeyFiles) -> None:
    own = PrivateKey.read(key.private, lambda: None)
    payload = json.loads(Envelope.parsed((signed(artefact, key) / SIGNATURE).read_bytes()).payload)
    payload["predicateType"] = "https://slsa.dev/provenance/v1"
    (artefact / SIGNATURE).write_bytes(own.sign(json.dumps(payload).encode()).content)
    with pytest.raises(IntegrityError, match="predicateType"):
        check(artefact, key)


@pytest.mark.parametrize("first", [0, pytest.param(60, marks=pytest.mark.slow)])
def test_no_change_is_missed(artefact: Path, key: KeyFiles, stranger: KeyFiles, tmp_path: Path, first: int) -> None:
    count = 60 if first == 0 else 1_000
    signed(artefact, key)
    other = signed(Path(shutil.copytree(artefact, tmp_path / "other")), stranger)
    check(artefact, key)
    missed = []
    for seed in range(first, first + count):
        copy = Path(shutil.copytree(artefact, tmp_path / f"tampered-{seed}"))
        done = tamper(copy, other, seed)
        try:
            check(copy, key)
        except UpdZooError:
            continue
        missed.append(done)
    assert missed == []


# What was pulled


def test_files_that_were_not_asked_for_may_be_missing_and_no_others(
    artefact: Path, key: KeyFiles, tmp_path: Path
) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(signed(artefact, key), MODEL)
    folder = hub.fetch(MODEL, [CARD, ONNX]).folder
    check(folder, key)
    assert not (folder / WEIGHTS).exists()
    (folder / CARD).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        check(folder, key)


def test_a_signature_travels_through_hubs_and_bundles(artefact: Path, key: KeyFiles, tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(signed(artefact, key), MODEL)
    write_bundle(tmp_path / "x.tar", [(MODEL, hub.fetch(MODEL))])
    away = open_hub(tmp_path / "away", tmp_path / "other-cache", offline=True)
    (unpacked,) = unpack(tmp_path / "x.tar", away)
    for folder in (tmp_path / "hub" / MODEL.name / "main", hub.fetch(MODEL).folder, unpacked.folder):
        check(folder, key)
    assert away.fetch(MODEL).folder == unpacked.folder
    (version,) = cached(tmp_path / "cache")
    remove(version)
    assert not version.folder.exists()


def test_a_signature_that_a_hub_replaced_is_fetched_again(artefact: Path, key: KeyFiles, tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(signed(artefact, key), MODEL)
    signature = hub.fetch(MODEL).folder / SIGNATURE
    whole = signature.read_bytes()
    signature.write_bytes(b"damaged")
    check(hub.fetch(MODEL).folder, key)
    assert signature.read_bytes() == whole


def test_a_hub_that_lost_a_signature_says_so(artefact: Path, key: KeyFiles, tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(signed(artefact, key), MODEL)
    (tmp_path / "hub" / MODEL.name / "main" / SIGNATURE).unlink()
    with pytest.raises(NotFoundError, match=r"model\.sig of vae-phantom-t1 is missing"):
        hub.fetch(MODEL)


# What is published


def stale_by_hand(folder: Path) -> None:
    (folder / CARD).write_text("# Better\n")
    signed_by = read_record(folder / MANIFEST, Manifest).signed_by
    manifest = read_record(with_manifest(folder) / MANIFEST, Manifest)
    write_record(folder / MANIFEST, manifest.model_copy(update={"signed_by": signed_by}))


def lost(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


@pytest.mark.parametrize("spoil", [stale_by_hand, lost])
def test_a_signature_of_something_else_is_not_published(
    artefact: Path, key: KeyFiles, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    spoil(signed(artefact, key))
    with pytest.raises(IntegrityError, match=r"one of other files|is missing"):
        hub.publish(artefact, MODEL)
    hub.publish(signed(artefact, key), MODEL)
    check(hub.fetch(MODEL).folder, key)


def test_what_is_signed_is_replaced_by_what_is_not_only_by_force(artefact: Path, key: KeyFiles, tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(signed(artefact, key), MODEL)
    plain = made(tmp_path / "plain")
    with pytest.raises(UsageError, match=r"is signed by the key .*--sign KEY; or --force"):
        hub.publish(plain, MODEL)
    assert not hub.publish(plain, MODEL, force=True).unchanged
    assert not (tmp_path / "hub" / MODEL.name / "main" / SIGNATURE).exists()
    assert hub.fetch(MODEL).manifest.signed_by is None


def test_the_same_artefact_signed_twice_is_published_once(artefact: Path, key: KeyFiles, tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    assert [hub.publish(signed(artefact, key), MODEL).unchanged for _ in range(2)] == [False, True]


# Keys


def test_a_key_that_is_encrypted_asks_for_its_passphrase_once(artefact: Path, tmp_path: Path) -> None:
    own = write_key(tmp_path, word="open")
    sign_artefact(artefact, PrivateKey.read(own.private, lambda: "open"))
    check(artefact, own)
    with pytest.raises(UsageError, match="passphrase does not open"):
        PrivateKey.read(own.private, lambda: "sesame")
    with pytest.raises(UsageError, match="UPD_ZOO_PASSPHRASE"):
        PrivateKey.read(own.private, lambda: None)


def test_other_files_are_no_keys(key: KeyFiles, tmp_path: Path) -> None:
    others = (write_other_kind(tmp_path), write_key(tmp_path, "koblitz", ec.SECP256K1()))
    for other in others:
        with pytest.raises(UsageError, match=r"another kind.*P-256"):
            PrivateKey.read(other.private, lambda: None)
        with pytest.raises(UsageError, match=r"another kind.*P-256"):
            PublicKey.read(other.public)
    with pytest.raises(UsageError, match=r"holds no public key.*-pubout"):
        PublicKey.read(key.private)
    with pytest.raises(UsageError, match=r"holds no private key"):
        PrivateKey.read(key.public, lambda: None)
    with pytest.raises(NotFoundError, match=r"There is no key.*openssl"):
        PublicKey.read(tmp_path / "nowhere.pub")
