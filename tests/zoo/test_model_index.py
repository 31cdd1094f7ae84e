"""Figures on the cards of an organisation: shown as far as they can be figures, in one call."""

from typing import Any

import pytest

from fake.hugging_face import FakeHub
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, RESULTS, Config, Result
from upd_zoo.hub.catalogue import Figure, Measured
from upd_zoo.hub.hub import Hub
from upd_zoo.hub.model_index import LABEL, labels_in, measured_in
from upd_zoo.hub.packaged import FOLDER

NAME = "rd.mobilenetv2_100-idrid"


def test_a_list_shows_what_the_cards_of_an_organisation_say(remote: Hub, fake: FakeHub) -> None:
    packaged = FOLDER / NAME / "main"
    fake.put(packaged, NAME)
    fake.requests.clear()
    row, other = remote.catalogue()
    assert len(fake.requests) == 1
    labels = read_record(packaged / CONFIG, Config).labels
    assert (row.id, row.labels, other.results) == (NAME, (*labels, LABEL), {})
    for path in (packaged / RESULTS).glob("*.json"):
        result = read_record(path, Result)
        shown = row.results[result.test_set]
        assert shown.images == result.images
        assert shown.figures["auroc"].value == pytest.approx(result.metrics.auroc, abs=5e-5)
        assert shown.figures["auroc"].interval == pytest.approx(result.intervals["auroc"], abs=5e-5)


def index(test_set: object = "idrid", name: object = "IDRiD, 8 images", **metric: object) -> dict[str, Any]:
    metrics = [{"type": "auroc", "value": 0.5} | metric]
    return {"model-index": [{"results": [{"dataset": {"type": test_set, "name": name}, "metrics": metrics}]}]}


def test_a_figure_may_lie_in_the_data_of_the_card() -> None:
    right = {"idrid": Measured(8, None, {"auroc": Figure(0.5)})}
    assert measured_in(index()) == measured_in({"cardData": index()}) == right


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"cardData": []},
        {"model-index": {}},
        {"model-index": [[]]},
        {"model-index": [{"results": [{"dataset": 1, "metrics": {}}]}]},
        index(value=1.5),
        index(value="0.9"),
        index(value=True),
        index(value=float("nan")),
        index(type="my-own"),
        index(type=["auroc"]),
        index(test_set="\x1b[2J"),
        index(test_set=None),
        index(name="IDRiD"),
        index(name="IDRiD, 99999999999999 images"),
    ],
)
def test_what_can_be_no_figure_is_not_shown(entry: dict[str, Any]) -> None:
    assert measured_in(entry) == {}


@pytest.mark.parametrize("labels", [None, "tiny", {"a": 1}, [1, None], [""], ["\x1b[2J"], ["l" * 121], [["tiny"]]])
def test_what_can_be_no_label_is_not_shown(labels: object) -> None:
    assert labels_in({"cardData": {"labels": labels}}) == labels_in({"cardData": labels}) == ()


def test_of_too_many_labels_a_few_are_shown() -> None:
    labels = labels_in({"cardData": {"labels": ["tiny profile", "\n", *["more"] * 99]}})
    assert labels == ("tiny profile", *["more"] * 19)


@pytest.mark.parametrize("args", [None, [], {}, {"interval": [0.1]}, {"interval": [0.1, 7]}, {"interval": "ab"}])
def test_what_can_be_no_interval_is_left_out(args: object) -> None:
    assert measured_in(index(args=args))["idrid"].figures["auroc"] == Figure(0.5)
