"""The models in the package: small, of open images, better than what knows nothing, and right on the examples."""

from pathlib import Path

import pytest

import upd_zoo
from upd_zoo.hub.packaged import FOLDER, defaults, packaged, place_of
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import Access

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "cards" / "examples"
MOST_BYTES = 40 << 20
MODELS = [ModelId.parse(row.id) for row in packaged()]


def test_they_are_few_and_small() -> None:
    assert 3 <= len(MODELS) <= 5
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_each_learnt_from_open_images_and_beats_what_knows_nothing(model: ModelId) -> None:
    assert model.domain.access is Access.OPEN
    folder = place_of(model)
    assert model.domain.licence in (folder / "DATA_LICENSE.md").read_text(encoding="utf-8")
    assert model.domain.attribution in (folder / "DATA_LICENSE.md").read_text(encoding="utf-8")
    results = packaged().get(model).results
    assert results
    for measured in results.values():
        auroc = measured.figures["auroc"]
        assert auroc.interval is not None
        assert auroc.interval[0] > 0.5
        assert auroc.value > (auroc.trivial or 1)


def test_their_figures_stand_on_the_page() -> None:
    page = (ROOT / "cards" / "results" / "starters.md").read_text(encoding="utf-8")
    for model in MODELS:
        assert f"## {model}" in page
        for measured in packaged().get(model).results.values():
            assert f"{measured.figures['auroc'].value:.3f}" in page


def test_diseased_eyes_rank_above_healthy_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("UPD_ZOO_HUB", raising=False)
    monkeypatch.chdir(tmp_path)
    found = {row.input: row for row in upd_zoo.score(EXAMPLES / "fundus")}
    assert {row.model for row in found.values()} == {str(defaults()["fundus"])}
    scores = {name: row.score or 0.0 for name, row in found.items()}
    healthy = [score for name, score in scores.items() if name.startswith("healthy")]
    assert all(score > max(healthy) for name, score in scores.items() if name.startswith("diseased"))
    assert [name for name, row in found.items() if row.is_anomalous] == ["diseased-1.jpg", "diseased-2.jpg"]


def test_an_image_of_a_kind_without_a_model_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = upd_zoo.score(EXAMPLES / "brain" / "healthy-1.nii.gz")
    assert row.score is None
    assert "there is no model of brain scans in the package" in str(row.error)
