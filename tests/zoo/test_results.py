"""Results in an artefact: on its card, in its manifest, of its own model alone; and which of them earn a place."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fake.keys import write_key
from fake.results import made_result
from fake.scripts import script
from fake.trained import GREY, trained_artefact
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import CARD, SIGNATURE, Metrics, Result
from upd_zoo.artefact.signature import PrivateKey, sign_artefact
from upd_zoo.card.results import add_results
from upd_zoo.errors import UsageError


def result(model: str = GREY, auroc: float = 0.8, low: float = 0.7, rival: float = 0.6) -> Result:
    own = Metrics(ap_image=auroc, auroc=auroc, ap_pixel=auroc, dice=0.5)
    base = Metrics(ap_image=rival, auroc=rival, ap_pixel=rival, dice=0.4)
    return made_result(model, metrics=own, intervals={"auroc": (low, 0.9)}, baselines={"intensity": base})


@pytest.fixture
def artefact(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained_artefact(tmp_path_factory, GREY), tmp_path / "artefact"))


@pytest.fixture
def starters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script that makes the models of the package."""
    return script("make_starters", monkeypatch)


def test_results_stand_on_the_card_and_are_vouched_for(artefact: Path) -> None:
    assert "Not evaluated yet" in (artefact / CARD).read_text()
    add_results(artefact, [result(auroc=0.8125)])
    assert "Not evaluated yet" not in (artefact / CARD).read_text()
    assert "0.812" in (artefact / CARD).read_text()
    assert "results/phantom-t2.json" in verify(artefact).files


def test_a_result_takes_the_signature_away_which_was_one_without_it(artefact: Path, tmp_path: Path) -> None:
    key = write_key(tmp_path)
    assert sign_artefact(artefact, PrivateKey.read(key.private, lambda: None)).signed_by is not None
    assert add_results(artefact, [result()]).signed_by is None
    assert not (artefact / SIGNATURE).exists()
    assert verify(artefact).signed_by is None


def test_results_of_another_model_are_refused(artefact: Path) -> None:
    before = verify(artefact)
    with pytest.raises(UsageError, match="is of rd-idrid"):
        add_results(artefact, [result("rd-idrid")])
    assert verify(artefact) == before


@pytest.mark.parametrize(
    ("found", "earned"),
    [(result(), True), (result(low=0.49), False), (result(rival=0.8), False), (result(auroc=0.5, low=0.4), False)],
    ids=["better", "may be chance", "a baseline is as good", "chance"],
)
def test_a_place_in_the_package_is_earned(starters: Any, found: Result, earned: bool) -> None:
    assert starters.earned(found) is earned


def test_the_page_says_what_was_not_earned(starters: Any, tmp_path: Path) -> None:
    starter = starters.Starter("rd.mobilenetv2_100-phantom-t2", ("phantom-t2",), 128)
    lines = "\n".join(starters.page_of([starter], {starter.model: [[result(low=0.4)]]}, tmp_path, {}))
    assert "Not in the package" in lines
    assert "| seed 0 |" in lines
    assert "| intensity | 0.600" in lines
