"""The whole zoo in one command, onto a hub; then a user types what the study's readers would type."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

from fake.brats import write_brats
from fake.camcan import write_camcan
from fake.heads import head
from fake.hugging_face import FakeHub
from fake.keys import write_key
from fake.program import PROGRAM, Answer, finished
from fake.scripts import SCRIPTS, script
from fake.stores import write_tiny_store
from upd_harness.grid.plan import Plan, Start
from upd_zoo.errors import NotFoundError
from upd_zoo.vocabulary import Protocol

ONE_OF_EACH_PART = ("sub-CC110000", "sub-CC110001")
"""Subjects of CamCAN whom its split puts into train and into validation."""


def write_slices(scan: Path, folder: Path) -> None:
    """Write some slices of a scan as pictures."""
    folder.mkdir()
    data = np.asanyarray(nib.load(scan).dataobj)
    for number in (40, 50):
        grey = (255 * data[:, :, number].T / data.max()).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"slice-{number}.png")


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """Stores of healthy T2 scans that a model learns from, and of tumours that it is tested on."""
    for place, options in {
        "camcan-t2/train": {"images": 8, "seed": 1},
        "camcan-t2/validation": {"images": 8, "seed": 2, "subjects": "other"},
        "brats-t2/test": {"images": 8, "seed": 3, "subjects": "patient", "masks": True, "anomalous": 4},
    }.items():
        write_tiny_store(tmp_path / "data" / place, name=place, **options)  # type: ignore[arg-type]
    return tmp_path / "data"


@pytest.fixture
def make_zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("make_zoo", monkeypatch)


def test_what_cannot_be_made_is_told_with_its_reason(make_zoo: Any, stores: Path, tmp_path: Path) -> None:
    plan = Plan(tmp_path / "out", stores, "tiny", Protocol.SOUND, "random", None, None)
    found = make_zoo.wanted(plan, ["rd", "cutpaste", "patchcore"], ["camcan-t2", "ddr"], [0, 1], "mobilenetv2_100")
    assert "upd-zoo prepare ddr" in found.lacking.pop("everything of ddr")
    made = {(task.model, task.start) for task in found.tasks}
    assert ("rd.mobilenetv2_100-camcan-t2", None) in made
    assert ("rd.mobilenetv2_100-camcan-t2-ccd", Start.CCD) in made
    assert {task.seed for task in found.tasks} == {0, 1}
    assert len(found.tasks) == 2 * (2 * 3 - len(found.lacking))
    page = "\n".join(make_zoo.page_of([], {"everything of ddr": "no | store"}, "hub"))
    assert "| everything of ddr | no / store |" in page


def test_a_key_that_cannot_sign_is_told_before_anything_is_made(
    make_zoo: Any, stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"data": stores, "out": tmp_path / "zoo", "method": ["vae"], "domain": ["camcan-t2"]}
    with pytest.raises(SystemExit) as ended:
        make_zoo.main(str(tmp_path / "hub"), **options, key=tmp_path / "nowhere.pem")
    assert ended.value.code == NotFoundError.exit_code
    assert "nowhere.pem" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


@pytest.fixture
def typed(tmp_path: Path, fake: FakeHub) -> Any:
    """What a program answers in a folder, beside a hub that is a local server."""
    fake.repositories.clear()
    own = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_", "COLUMNS"))}

    def typed(*words: str | Path, **variables: str) -> Answer:
        command = [sys.executable, *words] if Path(words[0]).suffix == ".py" else [PROGRAM, *words]
        return finished([*map(str, command)], kept | own | variables, tmp_path, None)

    return typed


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_from_raw_folders_the_zoo_is_made_onto_a_hub_and_used_as_typed(
    typed: Any, fake: FakeHub, tmp_path: Path
) -> None:
    """The folders are look-alikes of CamCAN and BraTS, and the network is small: its labels say so."""
    write_camcan(tmp_path / "camcan", {name: head(seed) for seed, name in enumerate(ONE_OF_EACH_PART)})
    write_brats(tmp_path / "brats", (1,))
    key = write_key(tmp_path)
    for target, root in {"camcan-t2": "camcan", "brats-t2": "brats"}.items():
        prepared = typed("prepare", target, "--root", root)
        assert prepared.code == 0, prepared.err
    assert " images of 1 subject, " in prepared.out
    made = [SCRIPTS / "make_zoo.py", "--method", "rd", "--domain", "camcan-t2", "--profile", "tiny"]
    made += ["--backbone", "mobilenetv2_100", "--weights", "random", "--seeds", "3", "--jobs", "2"]
    for _ in range(2):
        answer = typed(*made, "--hub", "hf://lab", "--sign", key.private)
        assert answer.code == 0, answer.err
        assert "2 models to make" in answer.err
        assert "visible to the members of lab and nobody else" in answer.err
    plain = fake.repositories["rd.mobilenetv2_100-camcan-t2"]
    assert {*plain} == {"main", "seed-3", "seed-3-history"}
    assert {*fake.repositories} == {"rd.mobilenetv2_100-camcan-t2", "rd.mobilenetv2_100-camcan-t2-ccd"}
    assert len(fake.commits) == 2 * 2, "the second time, nothing is sent"
    page = (tmp_path / "out" / "zoo" / "zoo.md").read_text(encoding="utf-8")
    assert "images): AP_i" in page
    card = plain["main"]["README.md"].decode()
    assert "the study's RD, three seeds" in card
    assert "weights random," in card

    model, called = "rd.mobilenetv2_100-brats-t2", "rd.mobilenetv2_100-camcan-t2, which rd.mobilenetv2_100-brats-t2"
    labels = "CamCAN, tiny profile, random backbone, calibrated on 1 healthy subject"
    hub = {"UPD_ZOO_HUB": "hf://lab"}
    pulled = typed("pull", model, **hub)
    assert f"{called} stands for [{labels}]" in pulled.err
    (case,) = tmp_path.glob("brats/*/*_001/*_t2.nii")
    (tmp_path / "brains").mkdir()
    shutil.copy(case, tmp_path / "brains")
    write_slices(case, tmp_path / "slices")
    for folder in ("slices", "brains"):
        scored = typed("score", folder, "-m", model, **hub)
        assert scored.code == 0, scored.err
        assert f"{called} stands for [{labels}]" in scored.err
        assert ", 0 failed" in scored.out
    told = typed("info", model, **hub)
    assert labels in told.out
    assert f"{called} stands for" in told.out
    assert "on brats-t2" in told.out
    assert " images of 1 subject\n" in told.out
    listed = typed("list", "--hub", "hf://lab")
    assert "brats-t2 (" in listed.out
    assert labels in listed.out
    assert typed("verify", model, "--here", **hub).code == 0
    assert "and nothing else" in typed("verify", model, "--key", key.public, **hub).out
