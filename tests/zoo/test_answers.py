"""What is answered where a model is not to be had: at once, without a network, and with commands that can be typed."""

import re
from pathlib import Path

import pytest

from upd_zoo.errors import NotFoundError, UpdZooError
from upd_zoo.hub import VARIABLE, open_hub
from upd_zoo.hub.answers import how_to_make, not_published, unknown_model
from upd_zoo.hub.catalogue import Catalogue, Row
from upd_zoo.names import ModelId
from upd_zoo.roster import known_methods
from upd_zoo.vocabulary import DOMAINS

PLACE = "hf://lab"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("upd_zoo.hub.transfer.Transfer.document", refuse)


def test_a_model_that_is_not_published_is_answered_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        open_hub(cache_dir=tmp_path).fetch(ModelId.parse("rd-brats-t2"))
    told = str(caught.value)
    assert "rd-brats-t2 is not published yet: its weights, rd-camcan-t2, learn from CamCAN, T2" in told
    assert "agreement (CamCAN data-use agreement)" in told
    assert "upd-zoo prepare camcan-t2 --root FOLDER && upd-zoo train rd-camcan-t2" in told
    assert {"rd-ixi-t2", "rd-phantom-t2"} <= set(re.findall(r"[\w-]+", caught.value.accepted))
    assert "-t1" not in told, "no relative has another contrast"
    assert "--hub hf://upd-zoo" in caught.value.next_step


def test_who_names_a_hub_asks_it_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelId.parse("rd-brats-t2")
    with pytest.raises(AssertionError, match="the network was asked"):
        open_hub("hf://upd-zoo", tmp_path).fetch(model)
    monkeypatch.setenv(VARIABLE, "hf://upd-zoo")
    with pytest.raises(AssertionError, match="the network was asked"):
        open_hub(cache_dir=tmp_path).fetch(model)


def test_what_the_packaged_catalogue_lists_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = Catalogue((Row("rd-camcan-t2"),))
    monkeypatch.setattr(Catalogue, "read", lambda path=None: published if path is None else Catalogue(()))
    with pytest.raises(AssertionError, match="the network was asked"):
        open_hub(cache_dir=tmp_path).fetch(ModelId.parse("rd-brats-t2"))


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("ending", ["", "-ccd"])
def test_every_model_has_commands_that_make_it_and_relatives_of_its_kind(domain: str, ending: str) -> None:
    name = f"rd.resnet18-{domain}{ending}"
    model, place = ModelId.parse(name), DOMAINS[domain]
    error = not_published(model, [], PLACE)
    prepare = f"upd-zoo prepare {domain}" + ("" if place.synthetic else " --root FOLDER")
    pretrain = [f"upd-zoo pretrain {name}"] if ending else []
    assert how_to_make(model) == " && ".join([prepare, *pretrain, f"upd-zoo train {name}"])
    assert how_to_make(model) in error.next_step
    offered = {ModelId.parse(found) for found in re.findall(r"(\S+) \(", error.accepted)}
    kinds = {(relative.domain.modality, relative.domain.contrast) for relative in offered}
    assert kinds == {(place.modality, place.contrast)}
    assert all(relative.ccd is model.ccd and relative.domain.access != "agreement" for relative in offered)
    assert model not in offered


def test_a_relative_that_is_published_is_to_be_pulled() -> None:
    error = not_published(ModelId.parse("rd-brats-t2"), ["rd-ixi-t2"], PLACE)
    assert "rd-ixi-t2 (IXI, T2; upd-zoo pull rd-ixi-t2)" in error.accepted


def test_a_hub_that_lacks_a_model_is_named_with_how_to_make_it() -> None:
    error = unknown_model(ModelId.parse("rd-brats-t2"), [], "/my hub")
    assert "no model is called rd-brats-t2 (whose weights are rd-camcan-t2) on /my hub" in error.problem
    assert "upd-zoo list --hub '/my hub', or upd-zoo prepare camcan-t2 --root FOLDER" in error.next_step


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vea-phantom-t2", "Did you mean vae-phantom-t2?"),
        ("vae-phantm-ixi-t2", "Did you mean vae-phantom-t2?"),
        ("nonsense-idrid", f"Accepted: {', '.join(known_methods())}."),
    ],
)
def test_a_method_that_nobody_knows_is_answered_with_what_can_be(tmp_path: Path, name: str, meant: str) -> None:
    with pytest.raises(NotFoundError, match="No method is called") as caught:
        open_hub(cache_dir=tmp_path).fetch(ModelId.parse(name))
    assert meant in str(caught.value)


def test_a_method_from_elsewhere_is_known_where_a_hub_has_a_model_of_it() -> None:
    error = unknown_model(ModelId.parse("toy-phantom-t1"), ["toy-phantom-t2"])
    assert "Did you mean toy-phantom-t2?" in str(error)


def test_an_empty_name_of_a_hub_is_still_refused() -> None:
    with pytest.raises(UpdZooError, match="has no name"):
        open_hub("")
