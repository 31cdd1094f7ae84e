"""Signatures, against OpenSSF's own program, which knows nothing of this package: what one signs, the other checks."""

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fake.artefact import write_artefact
from fake.keys import KeyFiles, write_key
from upd_zoo.artefact.folder import ASKED, verify
from upd_zoo.artefact.records import CARD, SIGNATURE
from upd_zoo.artefact.signature import PrivateKey, PublicKey, check_signature, sign_artefact
from upd_zoo.errors import IntegrityError
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId

pytestmark = pytest.mark.slow
MODEL = ModelId.parse("vae-phantom-t1")


def model_signing(verb: str, folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("model_signing", reason="model-signing comes with the extra oracle")
    command = [sys.executable, "-m", "model_signing", verb, "key", folder, "--signature", folder / SIGNATURE, *options]
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=120)


def signed(folder: Path, key: KeyFiles) -> Path:
    sign_artefact(write_artefact(folder), PrivateKey.read(key.private, lambda: None))
    return folder


def accepted(folder: Path, key: KeyFiles) -> bool:
    return model_signing("verify", folder, "--public_key", key.public).returncode == 0


def test_openssf_accepts_what_we_sign_on_hubs_and_where_it_was_pulled(tmp_path: Path) -> None:
    key, stranger = write_key(tmp_path), write_key(tmp_path, "stranger")
    artefact = signed(tmp_path / "artefact", key)
    hub = open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(artefact, MODEL)
    pulled = hub.fetch(MODEL).folder
    assert (pulled / ASKED).is_file()
    assert accepted(tmp_path / "hub" / MODEL.name / "main", key)
    assert accepted(pulled, key)
    assert not accepted(pulled, stranger)
    (pulled / CARD).write_text("changed")
    assert not accepted(pulled, key)
    (artefact / "added").write_text("")
    assert not accepted(artefact, key)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_openssf_accepts_every_curve(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = write_key(tmp_path, curve=curve)
    assert accepted(signed(tmp_path / "artefact", key), key)


def test_we_accept_what_openssf_signs(tmp_path: Path) -> None:
    key, artefact = write_key(tmp_path), write_artefact(tmp_path / "artefact")
    assert model_signing("sign", artefact, "--private_key", key.private).returncode == 0
    check_signature(artefact, verify(artefact), PublicKey.read(key.public))
    (artefact / ".hidden").write_text("")
    with pytest.raises(IntegrityError, match="hidden"):
        check_signature(artefact, verify(artefact), PublicKey.read(key.public))
