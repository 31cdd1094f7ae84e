"""The files of an artefact are those of its manifest, or it is said which are not, and why."""

from pathlib import Path
from typing import Any

import pytest

from fake.artefact import with_manifest, write_artefact
from upd_zoo.artefact.folder import ASKED, Asked, expected, inventory, verify
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CARD, CONFIG, LEGAL, MANIFEST, ONNX, TORCHSCRIPT, WEIGHTS, Manifest
from upd_zoo.errors import IntegrityError, NotFoundError

EVERY = [*LEGAL, CARD, CONFIG, WEIGHTS, ONNX, TORCHSCRIPT, "results/phantom-stroke.json"]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def test_an_untouched_artefact_verifies(artefact: Path) -> None:
    assert [*verify(artefact).files] == sorted(EVERY)


def test_the_inventory_leaves_out_the_manifest_and_what_is_hidden(artefact: Path) -> None:
    (artefact / "onnx" / MANIFEST).write_bytes(b"")
    for hidden in (ASKED, "onnx/.123.tmp."):
        (artefact / hidden).write_bytes(b"")
    found = inventory(artefact)
    assert [*found] == sorted([*EVERY, "onnx/manifest.json"])
    assert found[ONNX].bytes == 5


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, append, Path.unlink, replace_by_folder])
def test_damage_is_found(damage: Any, artefact: Path) -> None:
    damage(artefact / ONNX)
    with pytest.raises(IntegrityError, match=r"onnx/model\.onnx"):
        verify(artefact)
    with pytest.raises(IntegrityError):
        verify(artefact, [ONNX])


def test_only_the_named_files_are_needed(artefact: Path) -> None:
    (artefact / ONNX).unlink()
    assert verify(artefact, [CONFIG, CARD]) == read_record(artefact / MANIFEST, Manifest)


def test_a_file_outside_the_manifest_is_not_found(artefact: Path) -> None:
    (artefact / "other").touch()
    with pytest.raises(NotFoundError, match="has no other"):
        verify(artefact, ["other"])


def test_a_folder_without_manifest_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"manifest\.json"):
        verify(tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, ONNX, CONFIG])
def test_a_pointer_of_git_lfs_is_called_one(artefact: Path, name: str) -> None:
    (artefact / name).write_bytes(POINTER)
    with pytest.raises(IntegrityError, match=f"{name} is a pointer of Git LFS.*git lfs pull"):
        verify(artefact)


def test_a_configuration_of_another_model_than_its_manifest_is_refused(artefact: Path, tmp_path: Path) -> None:
    other = write_artefact(tmp_path / "other", name="rd-phantom-t1")
    (artefact / CONFIG).write_bytes((other / CONFIG).read_bytes())
    with pytest.raises(IntegrityError, match=r"config\.json is that of 'rd-phantom-t1'"):
        verify(with_manifest(artefact))


# What was pulled


@pytest.fixture
def pulled(artefact: Path) -> Path:
    """A folder into which configuration and graph were pulled, and nothing else."""
    for name in set(EVERY) - {CONFIG, ONNX}:
        (artefact / name).unlink()
    write_record(artefact / ASKED, Asked(files=[CONFIG, ONNX]))
    return artefact


def test_of_what_was_pulled_that_is_expected_which_was_asked_for(pulled: Path) -> None:
    assert expected(pulled, verify(pulled)) == [CONFIG, ONNX]


def test_a_file_that_was_asked_for_must_be_there(pulled: Path) -> None:
    (pulled / ONNX).unlink()
    with pytest.raises(IntegrityError, match="onnx is missing"):
        verify(pulled)


def test_a_file_that_was_not_asked_for_may_be_there_and_must_be_right(pulled: Path) -> None:
    (pulled / WEIGHTS).write_bytes(b"weights!")
    assert expected(pulled, verify(pulled)) == [CONFIG, WEIGHTS, ONNX]
    (pulled / WEIGHTS).write_bytes(b"weights?")
    with pytest.raises(IntegrityError, match="SHA-256"):
        verify(pulled)


def test_without_a_record_of_what_was_asked_for_everything_is_expected(pulled: Path) -> None:
    (pulled / ASKED).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        verify(pulled)
