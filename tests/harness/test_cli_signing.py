"""Signing and checking signatures as a user types it."""

import shutil
import sys
from pathlib import Path

import pytest

from fake.artefact import say_how_good
from fake.keys import KeyFiles, write_key
from fake.program import Command
from upd_zoo.artefact.records import CARD, ONNX, SIGNATURE
from upd_zoo.files import sha256_of

MODEL = "vae-phantom-t2"


@pytest.fixture
def key(tmp_path: Path) -> KeyFiles:
    return write_key(tmp_path)


@pytest.fixture
def own(artefact: Path, tmp_path: Path) -> Path:
    """An artefact that may be signed."""
    return say_how_good(Path(shutil.copytree(artefact, tmp_path / "own")), MODEL, "phantom-t2")


def test_a_signed_model_is_published_pulled_and_checked(upd_zoo: Command, own: Path, key: KeyFiles) -> None:
    name, ours = sha256_of(key.public), ("--hub", "hub")
    told = upd_zoo("publish", own, *ours, "--sign", key.private)
    assert f"signed by the key {name}" in told.err
    again = upd_zoo("publish", own, *ours, "--sign", key.private, "--json")
    assert (again.json["unchanged"], again.json["signed_by"]) == (True, name)
    folder = Path(upd_zoo("pull", MODEL, *ours).out.strip())
    assert (folder / SIGNATURE).is_file()
    for model in ((MODEL, *ours), (folder,), (own,)):
        assert f"signed by the key {name}, and nothing else" in upd_zoo("verify", *model, "--key", key.public).out
    answer = upd_zoo("verify", folder, "--json").json
    assert (answer["signed_by"], answer["signature_checked"]) == (name, False)
    assert f"by the key {name}" in upd_zoo("info", MODEL, *ours).out
    (folder / "added").write_text("")
    assert upd_zoo("verify", folder, "--key", key.public).is_one_error(5)
    (folder / "added").unlink()
    (folder / ONNX).write_bytes(b"another graph")
    assert upd_zoo("verify", folder, "--key", key.public).is_one_error(5)


def test_who_is_not_the_signer_is_told_in_a_line(upd_zoo: Command, own: Path, key: KeyFiles, tmp_path: Path) -> None:
    unsigned = upd_zoo("verify", MODEL, "--key", key.public)
    assert unsigned.is_one_error(5)
    assert "is not signed" in unsigned.err
    assert "upd-zoo publish ARTEFACT --sign KEY" in unsigned.err
    assert "not signed" in upd_zoo("verify", MODEL).out
    assert upd_zoo("publish", own, "--hub", "hub", "--sign", key.private).code == 0
    stranger = write_key(tmp_path, "stranger")
    assert upd_zoo("verify", own, "--key", stranger.public).is_one_error(5)
    assert upd_zoo("verify", own, "--key", stranger.public, "--here").is_one_error(5)
    assert upd_zoo("verify", own, "--key", key.private).is_one_error(2)
    assert upd_zoo("verify", own, "--key", "nowhere.pub").is_one_error(4)


def test_a_key_that_is_encrypted_is_opened_by_the_environment(upd_zoo: Command, own: Path, tmp_path: Path) -> None:
    locked, opened = write_key(tmp_path, word="sesame"), {"UPD_ZOO_PASSPHRASE": "sesame"}
    signing = ("publish", own, "--hub", "hub", "--sign", locked.private)
    assert "UPD_ZOO_PASSPHRASE" in upd_zoo(*signing).err
    assert not (own / SIGNATURE).exists()
    assert upd_zoo(*signing, **opened).code == 0
    assert upd_zoo("verify", own, "--key", locked.public).code == 0


def test_a_stale_signature_is_not_published(upd_zoo: Command, own: Path, key: KeyFiles) -> None:
    assert upd_zoo("publish", own, "--hub", "hub", "--sign", key.private).code == 0
    told = upd_zoo("evaluate", "-m", own, "-o", "out", "--test-set", "phantom-t2", "--into")
    assert f"the signature by the key {sha256_of(key.public)} was one of the artefact without this result" in told.err
    refused = upd_zoo("publish", own, "--hub", "hub")
    assert "--sign KEY" in refused.err
    assert refused.code == 2
    assert upd_zoo("publish", own, "--hub", "hub", "--sign", key.private).code == 0
    assert upd_zoo("verify", MODEL, "--hub", "hub", "--key", key.public).code == 0


def test_without_the_extra_it_is_said_which_one_is_missing(
    upd_zoo: Command, own: Path, key: KeyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "upd_zoo.artefact.signature", None)
    for command in (("publish", own, "--hub", "hub", "--sign", key.private), ("verify", own, "--key", key.public)):
        answer = upd_zoo(*command)
        assert answer.code == 7
        assert "pip install 'upd-zoo[sign]'" in answer.err
    assert (own / CARD).is_file()
    assert upd_zoo("publish", own, "--hub", "hub").code == 0
