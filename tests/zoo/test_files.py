"""Files and folders appear whole or not at all."""

import errno
import hashlib
import json
import math
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from upd_zoo.errors import UsageError
from upd_zoo.files import HALF_WRITTEN, replacing, replacing_folder, sha256_of, to_json, write_text

NAMES = ("old", "new", "half", "first", "second")
"""What the folders of these tests may lose."""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_file_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "new" / "image.nii.gz"
    for content in ("old", "new"):
        with replacing(target) as temporary:
            assert temporary.name.endswith(".nii.gz"), "writers choose the format by it"
            temporary.write_text(content)
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["image.nii.gz"]


def test_a_failed_file_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def fail_half_way() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["a.json"]


def test_while_a_file_is_written_the_old_one_stands(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "store"
    for name in ("old", "new"):
        with replacing_folder(target, NAMES) as temporary:
            (temporary / name).write_text(name)
    assert names_in(target) == ["new"]
    assert names_in(tmp_path) == ["store"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_file_or_folder_may_be_read_by_whom_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing_folder(tmp_path / "store", ()):
            write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o777 & ~umask
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_full_disk_met_while_copying_names_what_is_written_and_not_what_is_read(tmp_path: Path) -> None:
    def copy_to_a_full_disk(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    with pytest.raises(OSError, match="No space") as caught, replacing_folder(tmp_path / "published", ()) as temporary:
        copy_to_a_full_disk(tmp_path / "artefact", temporary / "weights")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "published"), None)


LONGEST = 255
"""Bytes of a file name on most file systems."""


@pytest.mark.parametrize("ending", ["", ".nii.gz", "." + "x" * 40, "." + "x" * 40 + ".png"])
def test_any_name_that_can_be_written_can_be_replaced(tmp_path: Path, ending: str) -> None:
    target = tmp_path / ("n" * (LONGEST - len(ending)) + ending)
    with replacing(target) as temporary:
        temporary.write_text("whole")
        assert fnmatch(temporary.name, HALF_WRITTEN)
        assert temporary.suffix in (target.suffix, "")
    assert target.read_text() == "whole"
    with replacing_folder(tmp_path / ("f" * LONGEST), ()):
        pass


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first", "the one that ended last"


@pytest.mark.parametrize("name", ["notes.txt", "below/notes.txt"])
def test_a_folder_that_holds_other_things_is_not_replaced(tmp_path: Path, name: str) -> None:
    target = tmp_path / "store"
    for path in (target / "old", target / name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(UsageError, match=rf"holds {name}, which would be lost"), replacing_folder(target, NAMES):
        raise AssertionError
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == ["notes.txt", "old"]
    assert names_in(tmp_path) == ["store"]


def test_a_file_is_no_folder_to_replace(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(UsageError, match="is a file"), replacing_folder(tmp_path / "store", NAMES):
        raise AssertionError
    assert (tmp_path / "store").read_text() == "mine"


def test_behind_a_link_the_folder_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to("disk")
    with replacing_folder(tmp_path / "store", NAMES) as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "store").is_symlink()
    assert names_in(tmp_path / "disk") == ["new"]
    assert names_in(tmp_path) == ["disk", "store"]


def test_links_to_other_folders_are_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="holds elsewhere"), replacing_folder(target, NAMES):
        raise AssertionError


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").touch()

    def fail_half_way() -> None:
        with replacing_folder(target, NAMES) as temporary:
            (temporary / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert names_in(target) == ["old"]
    assert names_in(tmp_path) == ["store"]


KILLED = """
import os, signal, sys
from pathlib import Path
from upd_zoo.files import replacing_folder
with replacing_folder(Path(sys.argv[1]), ["old"]) as temporary:
    (temporary / "half").touch()
    if sys.argv[2] == "between":
        Path(sys.argv[1]).rename(temporary.with_name(temporary.name + ".old"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["early", "between"])
def test_what_a_killed_process_left_is_swept_and_the_old_folder_comes_back(tmp_path: Path, moment: str) -> None:
    target = tmp_path / "store [1]"
    target.mkdir()
    (target / "old").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, target, moment], check=False, timeout=60)
    assert done.returncode < 0
    assert len(names_in(tmp_path)) > 1
    with replacing_folder(target, NAMES) as temporary:
        assert names_in(target) == ["old"]
        (temporary / "new").touch()
    assert names_in(target) == ["new"]
    assert names_in(tmp_path) == ["store [1]"]


def test_a_folder_that_is_being_written_elsewhere_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "store"
    with replacing_folder(target, NAMES) as first:
        (first / "first").touch()
        with replacing_folder(target, NAMES) as second:
            (second / "second").touch()
        assert names_in(first) == ["first"]
    assert names_in(target) == ["first"]
    assert names_in(tmp_path) == ["store"]


def test_text_has_the_same_bytes_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "⌈Dice⌉\n")
    assert (tmp_path / "a").read_bytes() == "⌈Dice⌉\n".encode()


def test_json_keeps_order_letters_and_every_digit() -> None:
    value = {"b": 0.1 + 0.2, "a": "⌈Dice⌉"}
    assert to_json(value, indent=None) == '{"b": 0.30000000000000004, "a": "⌈Dice⌉"}'
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_has_no_numbers_that_are_none(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": [number]})
