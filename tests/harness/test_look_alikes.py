"""From the raw folders of the study's data sets to rows of its tables, by the commands that a user types.

The images are look-alikes in the layouts that the archives unpack to, and the models the smallest: what is promised is
that each command leads to the next, and that every cell of a row is measured, and judged or said why not.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fake.atlas import write_atlas
from fake.brats import write_brats
from fake.camcan import write_camcan
from fake.chexpert import SMALL, release_of, write_chexpert
from fake.ddr import SPLITS, write_ddr
from fake.heads import head
from fake.program import PROGRAM, Answer, finished

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ONE_OF_EACH_PART = ("sub-CC110000", "sub-CC110001")
"""Subjects of CamCAN whom its split puts into train and into validation."""
STORES = {
    "camcan-t1": "camcan",
    "camcan-t2": "camcan",
    "brats-t1": "brats",
    "brats-t2": "brats",
    "atlas": "atlas",
    "chexpert": SMALL,
    "ddr": "ddr",
}
"""What is prepared, and from which folder."""
MODELS = (
    "--profile",
    "tiny",
    "--backbone",
    "test_resnet",
    "--weights",
    "random",
    "--threads",
    "1",
    "--method",
    "padim",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw data sets, in which commands are typed."""
    home = tmp_path_factory.mktemp("home")
    write_camcan(home / "camcan", {name: head(seed) for seed, name in enumerate(ONE_OF_EACH_PART)})
    write_brats(home / "brats")
    write_atlas(home / "atlas")
    write_chexpert(home / SMALL, release_of({"Female": 60, "Male": 60}, {"Female": 15, "Male": 15}))
    outlined = dict.fromkeys(SPLITS, (("EX", "HE"), ("MA",), ("SE", "MA")))
    write_ddr(home / "ddr", dict.fromkeys(SPLITS, (0, 0, 0, 2, 0, 0, 5, 1) * 4), outlined)
    for target, root in STORES.items():
        answer = typed(home, "prepare", target, "--root", root)
        assert answer.code == 0, answer.err
        assert f"data/{target}/" in answer.out
    return home


def typed(home: Path, *words: str) -> Answer:
    """Return what the program answers in a folder, without a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "UPD_ZOO_", "COLUMNS"))}
    own = {"XDG_CACHE_HOME": str(home / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    return finished([str(PROGRAM), *words, "--data", "data"], kept | own, home, None)


def reproduced(home: Path, item: str, *words: str) -> tuple[Answer, dict[str, Any]]:
    """Return what the program answers, and the document that it wrote."""
    answer = typed(home, "reproduce", item, "-o", "out", *MODELS, *words)
    document: dict[str, Any] = json.loads((home / "out" / f"{item}.json").read_text(encoding="utf-8"))
    assert (document["material"], document["profile"]) == ("study", "tiny")
    return answer, document


def is_measured(cell: dict[str, Any]) -> bool:
    return None not in (cell["printed"], cell["ours"], cell["trivial"], cell["sampling_error"])


def test_a_row_of_table_ii_is_measured_and_the_others_say_what_is_missing(home: Path) -> None:
    answer, document = reproduced(home, "table-ii", "--train", "--seed", "10")
    assert answer.code == 0, answer.err
    assert {cell["column"] for cell in document["cells"]} == {"brats-t1", "brats-t2", "atlas", "ddr"}
    assert len(document["cells"]) == 16
    assert all(is_measured(cell) for cell in document["cells"])
    assert {cell["reason"] for cell in document["cells"]} == {"one seed does not tell its spread"}
    told = "THE STUDY'S OWN DATA SETS, BUT MODELS OF THE TINY PROFILE, NOT OF ITS BUDGET, AND FEWER THAN HALF"
    assert answer.out.startswith(told)
    assert answer.out.count("tiny profile") == 4
    assert "random backbone" in answer.out
    assert answer.out.count("Not judged: padim: one seed does not tell its spread") == 4
    _, again = reproduced(home, "table-ii", "--method", "vae", "--seed", "10")
    reasons = {cell["method"]: cell["reason"] for cell in again["cells"] if cell["verdict"] == "not run"}
    assert [*reasons] == ["vae"]
    assert "add --train" in reasons["vae"]


def test_a_row_of_table_iii_of_a_dozen_films_of_noise_reproduces_nothing(home: Path) -> None:
    answer, document = reproduced(home, "table-iii", "--train", "--seed", "10", "--seed", "20")
    verdicts = [cell["verdict"] for cell in document["cells"]]
    assert len(verdicts) == 6
    assert all(is_measured(cell) and cell["tolerance"] > 0 for cell in document["cells"])
    assert {*verdicts} <= {"outside", "not judged"}
    assert answer.code == (8 if "outside" in verdicts else 0), answer.err


def test_a_row_of_table_v_starts_from_ccd(home: Path) -> None:
    answer, document = reproduced(home, "table-v", "--train", "--seed", "10")
    assert answer.code == 0, answer.err
    assert len(document["cells"]) == 6
    assert all(is_measured(cell) for cell in document["cells"])
    assert {model["model"] for cell in document["cells"] for model in cell["models"]} == {
        "padim.test_resnet-chexpert-ccd"
    }
