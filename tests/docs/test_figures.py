"""What the README says of the packaged models is what was measured."""

from collections.abc import Iterator
from pathlib import Path

from upd_zoo.artefact.metrics import figure
from upd_zoo.artefact.records import Result
from upd_zoo.hub.packaged import FOLDER, packaged, results_of
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import TEST_SETS

LARGEST = 40_000_000
"""Bytes that all models of the package may take (cards/decisions/0029)."""
README = Path(__file__).resolve().parents[2] / "README.md"


def expected_rows() -> Iterator[str]:
    """Yield the row of each packaged model and test set, as the README's table shall show it."""
    for row in packaged().rows:
        yield from (line_of(each) for each in results_of(ModelId.parse(row.id)).values())


def line_of(result: Result) -> str:
    low, high = result.intervals["auroc"]
    tested = f"{TEST_SETS[result.test_set].title}: {result.images}, {result.anomalous} diseased"
    auroc = f"{figure(result.metrics.auroc)} ({low:.3f} to {high:.3f}) | {figure(result.rival('auroc'))}"
    pixels = f"{figure(result.metrics.ap_pixel)} | {figure(result.rival('ap_pixel'))}"
    return f"| `{result.model}` | {tested} | {auroc} | {pixels} |"


def test_the_readme_gives_the_figures_of_every_packaged_model_and_no_others() -> None:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert sorted(lines) == sorted(expected_rows())


def test_the_models_of_the_package_stay_small() -> None:
    assert 0 < sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= LARGEST
