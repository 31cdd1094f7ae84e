"""What the README says of the packaged models is what was measured."""

from collections.abc import Iterator
from pathlib import Path

from upd_zoo.artefact.metrics import figure
from upd_zoo.hub.catalogue import Figure, Measured
from upd_zoo.hub.packaged import FOLDER, packaged
from upd_zoo.vocabulary import TEST_SETS

LARGEST = 40_000_000
"""Bytes that all models of the package may take (cards/decisions/0029)."""
README = Path(__file__).resolve().parents[2] / "README.md"


def expected_rows() -> Iterator[str]:
    """Yield the row of each packaged model and test set, as the README's table shall show it."""
    for row in packaged().rows:
        yield from (line_of(row.id, test_set, measured) for test_set, measured in row.results.items())


def line_of(model: str, test_set: str, measured: Measured) -> str:
    tested = f"{TEST_SETS[test_set].title}: {measured.images}, {measured.anomalous} diseased"
    figures = (shown(measured.figures.get(metric)) for metric in ("auroc", "ap_pixel"))
    return f"| `{model}` | {tested} | {' | '.join(figures)} |"


def shown(found: Figure | None) -> str:
    if found is None:
        return f"{figure(None)} | {figure(None)}"
    bounds = "" if found.interval is None else f" ({found.interval[0]:.3f} to {found.interval[1]:.3f})"
    return f"{figure(found.value)}{bounds} | {figure(found.trivial)}"


def test_the_readme_gives_the_figures_of_every_packaged_model_and_no_others() -> None:
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert sorted(lines) == sorted(expected_rows())


def test_the_models_of_the_package_stay_small() -> None:
    assert 0 < sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= LARGEST
