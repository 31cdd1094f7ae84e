"""Brains that another program finds, and what is said of one that does not."""

import shlex
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fake.heads import Head, head, save
from upd_zoo.brains.external import KNOWN, Extractor
from upd_zoo.brains.scans import Scan, prepare_scan
from upd_zoo.brains.shapes import dice
from upd_zoo.brains.template import load_template
from upd_zoo.errors import InputError, InputErrorCode, UsageError
from upd_zoo.images.nifti import Volume
from upd_zoo.sources.preparation import prepare
from upd_zoo.sources.source import Request
from upd_zoo.vocabulary import DOMAINS

KNOWS = """#!{python}
import argparse
import nibabel, numpy
parser = argparse.ArgumentParser()
for option in ("-i", "-o", "-device"):
    parser.add_argument(option, required=True)
parser.add_argument("--disable_tta", action="store_true", required=True)
asked = parser.parse_args()
head, truth = nibabel.load(asked.i), nibabel.load({truth!r})
brain = numpy.asanyarray(head.dataobj) * (numpy.asanyarray(truth.dataobj) > 0)
nibabel.save(nibabel.Nifti1Image(brain, head.affine), asked.o)
"""
COPIES = "import shutil, sys; shutil.copy(sys.argv[3], sys.argv[2])"
FAILS = "import sys; print('no weights here', file=sys.stderr); sys.exit(7)"


@pytest.fixture(scope="module")
def someone() -> Head:
    return head(3)


@pytest.fixture
def hd_bet(someone: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a head, and a program on the PATH that is called like HD-BET and knows its brain."""
    save(tmp_path / "head.nii.gz", someone.data, someone.affine)
    save(tmp_path / "truth.nii.gz", someone.brain, someone.affine, "RAS")
    program = tmp_path / "bin" / "hd-bet"
    program.parent.mkdir()
    program.write_text(KNOWS.format(python=sys.executable, truth=str(tmp_path / "truth.nii.gz")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return tmp_path


@pytest.mark.slow
def test_a_program_on_the_path_finds_the_brain(someone: Head, hd_bet: Path) -> None:
    extractor = Extractor.parse("hd-bet")
    assert extractor.name == "hd-bet"
    brain = prepare_scan(Scan("someone", "head.nii.gz"), hd_bet, load_template(), extractor)
    assert dice(brain.found.mask, someone.brain) > 0.995
    assert brain.found.evidence.doubts() == []
    assert dice(brain.inside, load_template().mask) > 0.95


@pytest.mark.slow
def test_a_brain_without_skull_needs_no_program(someone: Head, hd_bet: Path) -> None:
    save(hd_bet / "brain.nii.gz", np.where(someone.brain, someone.data, 0), someone.affine)
    scan = Scan("someone", "brain.nii.gz", stripped=True)
    assert prepare_scan(scan, hd_bet, load_template(), Extractor((str(hd_bet / "none"),))).found.attempts == 1


def script(folder: Path, program: str, *more: str) -> Extractor:
    (folder / "program.py").write_text(program)
    return Extractor.parse(shlex.join([sys.executable, str(folder / "program.py"), "{head}", "{brain}", *more]))


def test_a_program_that_fails_is_quoted(someone: Head, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ended with 7 and wrote no brain; it said: no weights here") as caught:
        script(tmp_path, FAILS).extract(Volume(someone.data, someone.affine))
    assert caught.value.code is InputErrorCode.UNREADABLE


def test_a_program_that_writes_nothing_has_failed(someone: Head, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ended with 0 and wrote no brain"):
        script(tmp_path, "").extract(Volume(someone.data, someone.affine))


@pytest.mark.parametrize(
    ("content", "code"), [("grid", InputErrorCode.GEOMETRY), ("rubbish", InputErrorCode.TRUNCATED)]
)
def test_what_a_program_writes_is_distrusted(someone: Head, tmp_path: Path, content: str, code: InputErrorCode) -> None:
    if content == "grid":
        nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), someone.affine), tmp_path / "a.nii.gz")
    else:
        (tmp_path / "a.nii.gz").write_bytes(b"rubbish")
    with pytest.raises(InputError) as caught:
        script(tmp_path, COPIES, str(tmp_path / "a.nii.gz")).extract(Volume(someone.data, someone.affine))
    assert caught.value.code is code


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hd-bet -i {head}", "does not say where the program reads and writes"),
        ("hd-bet -o {brain}", "does not say where the program reads and writes"),
        ("no-such-program {head} {brain}", "There is no program no-such-program on the PATH"),
        ("hd-bet", "There is no program hd-bet on the PATH"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_anything_is_read(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=problem):
        Extractor.parse(text)
    (tmp_path / "IXI002-Guys-0828-T1.nii.gz").touch()
    with pytest.raises(UsageError, match=problem):
        prepare(DOMAINS["ixi-t1"], tmp_path / "data", Request(tmp_path, extractor=text))


def test_known_programs_say_where_they_read_and_write() -> None:
    assert all("{head}" in command and "{brain}" in command for command in KNOWN.values())


@pytest.mark.parametrize("option", [{"template": Path("brain.nii")}, {"extractor": "hd-bet"}], ids=str)
def test_images_of_no_brains_take_no_options_for_brains(option: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --template and --extractor"):
        prepare(DOMAINS["phantom-cxr"], tmp_path, Request(**option))  # type: ignore[arg-type]
