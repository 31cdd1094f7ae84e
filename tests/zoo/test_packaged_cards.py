"""Cards of the packaged models: what the template makes of their records, and front matter as the Hub reads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from fake.scripts import script
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CARD, RESULTS, Result
from upd_zoo.hub.packaged import FOLDER, packaged, place_of
from upd_zoo.names import ModelId

MODELS = {row.id: row for row in packaged()}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("pages", monkeypatch)


def results_of(folder: Path) -> Iterator[Result]:
    return (read_record(path, Result) for path in sorted((folder / RESULTS).glob("*.json")))


def test_a_card_is_what_the_template_makes_of_the_records(model: str, pages: Any) -> None:
    for path, text in pages.card_texts(MODELS[model], FOLDER):
        assert path.read_text(encoding="utf-8") == text, "write it again: python scripts/pages.py cards"


def test_front_matter_is_what_the_hubs_library_reads_and_would_write(model: str) -> None:
    folder = place_of(ModelId.parse(model))
    data = ModelCard.load(folder / CARD).data
    assert data.model_name == model
    found = {(each.dataset_type, each.metric_type): each.metric_value for each in data.eval_results or ()}
    assert found == {
        (result.test_set, name): round(value, 4)
        for result in results_of(folder)
        for name, value in result.metrics
        if value is not None and name in (data.metrics or ())
    }
    again = data.to_dict()
    assert again["model-index"] == eval_results_to_model_index(model, data.eval_results or [])
    assert set(data.metrics or ()) == {name for _, name in found}
    assert {"license", "library_name", "pipeline_tag", "tags", "datasets", "metrics"} <= {*again}


def test_a_card_says_first_how_good_the_model_is_and_beside_what(model: str) -> None:
    folder = place_of(ModelId.parse(model))
    beginning = ModelCard.load(folder / CARD).text.partition("## Details")[0]
    for result in results_of(folder):
        assert f"{result.images} images, {result.anomalous} of them anomalous" in beginning
        assert f"{result.metrics.auroc:.3f} (" in beginning
        assert f"trivial score reaches {result.rival('auroc'):.3f}" in beginning
