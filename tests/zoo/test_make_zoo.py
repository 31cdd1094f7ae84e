"""The whole zoo in one command, onto a hub; then a user types what the study's readers would type."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.hugging_face import FakeHub
from fake.inputs import write_volume
from fake.program import PROGRAM, Answer, finished
from fake.scripts import script
from fake.stores import write_tiny_store
from upd_harness.grid.plan import Plan, Start
from upd_zoo.vocabulary import Protocol


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


@pytest.mark.slow
def test_the_zoo_is_made_onto_a_hub_and_used_as_typed(
    make_zoo: Any, stores: Path, tmp_path: Path, fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    fake.repositories.clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = {"data": stores, "out": tmp_path / "zoo", "method": ["rd"], "domain": ["camcan-t2"], "seeds": "3"}
    options |= {"profile": "tiny", "backbone": "mobilenetv2_100", "weights": "random", "jobs": 2}
    for _ in range(2):
        make_zoo.main("hf://lab", **options)  # an exit code other than 0 would be raised
    plain = fake.repositories["rd.mobilenetv2_100-camcan-t2"]
    assert {*plain} == {"main", "seed-3", "seed-3-history"}
    assert {*fake.repositories} == {"rd.mobilenetv2_100-camcan-t2", "rd.mobilenetv2_100-camcan-t2-ccd"}
    assert len(fake.commits) == 2 * 2, "the second time, nothing is sent"
    page = (tmp_path / "zoo" / "zoo.md").read_text(encoding="utf-8")
    assert "brats-t2 (8 images): AP_i" in page
    assert "tiny profile" in page

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_"))}
    own = {"HF_ENDPOINT": constants.ENDPOINT, "UPD_ZOO_HUB": "hf://lab", "HF_HUB_CACHE": str(tmp_path / "cache")}

    def typed(*arguments: str) -> Answer:
        return finished([str(PROGRAM), *arguments], kept | own, tmp_path, 120)

    model = "rd.mobilenetv2_100-brats-t2"
    assert typed("pull", model).code == 0
    write_volume(tmp_path / "scans" / "patient.nii.gz", np.random.default_rng(0).random((32, 32, 4)).astype(np.float32))
    scored = typed("score", "scans", "-m", model)
    assert scored.code == 0, scored
    assert "tiny profile" in scored.err
    told = typed("info", model)
    assert "tiny test store, tiny profile" in told.out
    assert "on brats-t2" in told.out
    assert "the study's RD, three seeds" in plain["main"]["README.md"].decode()
    assert typed("verify", model, "--here").code == 0
