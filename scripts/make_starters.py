"""Make the models that lie in the package, from folders of open data: prepare, train, export, evaluate, package.

    python scripts/make_starters.py --idrid DIR --nih DIR --ixi DIR --ms DIR --weights FILE

What is finished in the work folder is not made again, so the same command goes on after a kill. Which method, side and
settings a starter has was chosen on validation images with planted anomalies: the recipe's profile `light` says what
was measured. Test sets are opened here, once, after that. A starter is packaged where it earned it: the interval of its
AUROC lies above chance, and no trivial baseline has an AUROC, AP_i or AP_p that is as high. The page says so of each.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from pages import card_texts
from upd_harness.cli.app import run_alone
from upd_harness.evaluation.contenders import answers, metrics_of
from upd_zoo.artefact.metrics import METRICS, figure
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import RESULTS, Result
from upd_zoo.card.results import add_results
from upd_zoo.files import megabytes, write_text
from upd_zoo.hub.packaged import FOLDER, package, packaged, place_of, write_defaults
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import load_folder
from upd_zoo.stores.places import Part, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, Side

PROFILE: Final = "light"
PAGE: Final = Path(__file__).parents[1] / "cards" / "results" / "starters.md"
CHANCE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Starter:
    """A model to make.

    Attributes:
        model: Its name.
        test_sets: What it is measured on; the first decides whether it is packaged.
        side: Of its images, in pixels.
    """

    model: str
    test_sets: tuple[str, ...]
    side: Side

    @property
    def domain(self) -> str:
        """What it is trained on."""
        return ModelId.parse(self.model).domain.id


STARTERS: Final = (
    Starter("rd.mobilenetv2_100-idrid", ("idrid-lesions", "idrid"), 256),
    Starter("patchcore.mobilenetv2_100-idrid", ("idrid-lesions", "idrid"), 192),
    Starter("padim.mobilenetv2_100-nih-cxr", ("nih-cxr",), 128),
    Starter("patchcore.mobilenetv2_100-ixi-t1", ("open-ms-t1",), 128),
)
"""The first of a modality that is packaged is taken where a user names none."""

Root = Annotated[Path | None, typer.Option(help="Folder of the release; left out: its models are not made.")]


def main(
    idrid: Root = None,
    nih: Root = None,
    ixi: Root = None,
    ms: Root = None,
    weights: Annotated[str, typer.Option(help="ImageNet weights of mobilenetv2_100: a file, or timm.")] = "timm",
    work: Annotated[Path, typer.Option(help="Where stores, runs and evaluations are kept.")] = Path("out/starters"),
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of packaged models.")] = FOLDER,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds, from 0; the model of the first is packaged.")] = 3,
    page: Annotated[Path, typer.Option(help="The page of figures.")] = PAGE,
) -> None:
    """Make the models of the package."""
    roots = {"idrid": idrid, "nih-cxr": nih, "ixi-t1": ixi}
    others = {"open-ms-t1": ms}
    starters = [each for each in STARTERS if roots[each.domain] is not None]
    found: dict[str, list[list[Result]]] = {}
    for starter in starters:
        fill(starter, work / "data", {starter.domain: roots[starter.domain], **others})
        found[starter.model] = [made(starter, seed, weights, work) for seed in range(seeds)]
    earning = [each for each in starters if earned(found[each.model][0][0])]
    for starter in earning:
        package(run_of(starter, 0, work) / "artefact", ModelId.parse(starter.model), output)
    for path, text in (each for row in packaged(output) for each in card_texts(row, output)):
        write_text(path, text)  # without what only a whole artefact brings
    first = {ModelId.parse(each.model).domain.modality.id: ModelId.parse(each.model) for each in reversed(earning)}
    write_defaults(first, output)
    views = {starter.model: list(by_view(starter, work)) for starter in starters}
    write_text(page, "\n".join(page_of(starters, found, output, views)) + "\n")
    print(page)


def run(*command: object) -> None:
    """Run a verb, and stop where it fails."""
    subprocess.run([str(Path(sys.executable).with_name("upd-zoo")), *map(str, command)], check=True)  # noqa: S603 - the commands stand in this file


def run_of(starter: Starter, seed: int, work: Path) -> Path:
    """Return the folder of a run."""
    return work / "runs" / f"{starter.model}-seed-{seed}"


def fill(starter: Starter, data: Path, roots: Mapping[str, Path | None]) -> None:
    """Prepare the stores of a starter that are not there yet."""
    targets = dict.fromkeys((starter.domain, *(name for name in starter.test_sets if name in roots)))
    for target in targets:
        part = "test" if target in starter.test_sets else "train"
        if roots[target] is not None and not store_path(data, target, part, side=starter.side).is_dir():
            run("prepare", target, "--root", roots[target], "--data", data, "--side", starter.side)


def made(starter: Starter, seed: int, weights: str, work: Path) -> list[Result]:
    """Train, export and evaluate a starter with one seed, where that was not done before, and return its results."""
    folder, data = run_of(starter, seed, work), work / "data"
    if not (folder / "artefact").is_dir():
        how = ("--profile", PROFILE, "--weights", weights, "--seed", seed, "--data", data)
        run("train", starter.model, *how, "-o", folder, *(["--continue"] if folder.is_dir() else []))
    results = []
    for test_set in starter.test_sets:
        place = work / "evaluations" / f"{starter.model}-seed-{seed}" / test_set
        if not (place / RESULTS).is_dir():
            given = ("-m", folder / "artefact", "--test-set", test_set, "--data", data)
            run("evaluate", *given, "-o", place, "--overwrite")
        results.append(read_record(place / RESULTS / f"{test_set}.json", Result))
    if not (folder / "artefact" / RESULTS).is_dir():
        add_results(folder / "artefact", results)
    return results


def earned(result: Result) -> bool:
    """Return whether a model detects: its interval lies above chance, and no baseline is as good by any metric."""
    figures = [(getattr(result.metrics, each), result.rival(each)) for each in ("auroc", "ap_image", "ap_pixel")]
    better = all(own > (rival or 0) for own, rival in figures if own is not None)
    return better and result.intervals["auroc"][0] > CHANCE


def by_view(starter: Starter, work: Path) -> Iterator[str]:
    """Yield AUROC by view of a starter's test sets that tell views: those lying down are more often ill, and darker."""
    for test_set in starter.test_sets:
        store = Store(store_path(work / "data", test_set, Part.TEST, side=starter.side))
        views = np.array([row["view"] for row in store.index])
        if not any(views):
            continue
        model = load_folder(run_of(starter, 0, work) / "artefact", device="cpu")
        found = answers(model.network, model.config, store)
        head = f"| | images (anomalous) | {' | '.join(found)} |"
        yield from ("", "AUROC by view:", "", head, "|---|" + "---|" * (len(found) + 1))
        for view in sorted({*views} - {""}):
            rows = views == view
            figures = (figure(metrics_of(maps, scores, store, rows).auroc) for maps, scores in found.values())
            yield f"| {view} | {rows.sum()} ({store.anomalous[rows].sum()}) | {' | '.join(figures)} |"


def page_of(
    starters: list[Starter],
    found: Mapping[str, list[list[Result]]],
    output: Path,
    views: Mapping[str, list[str]],
) -> Iterator[str]:
    """Yield the lines of the page of figures."""
    yield "# Models in the package"
    yield ""
    yield "Written by `scripts/make_starters.py`: what each scores on images that nothing was learnt from or chosen by,"
    yield "beside trivial baselines. Intervals of 95 % are over subjects; other seeds tell how far training decides."
    for starter in starters:
        yield from ("", f"## {starter.model}", "")
        own = found[starter.model]
        folder = place_of(ModelId.parse(starter.model), output)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        yield f"In the package, {megabytes(size)}." if earned(own[0][0]) else _REFUSED
        for number, test_set in enumerate(starter.test_sets):
            yield from _table(test_set, [each[number] for each in own])
        yield from views.get(starter.model, [])


_REFUSED: Final = (
    "Not in the package: a baseline is as good by some metric, or the interval of its AUROC reaches chance."
)


def _table(test_set: str, results: list[Result]) -> Iterator[str]:
    first = results[0]
    yield from ("", f"{TEST_SETS[test_set].title}: {first.images} images, {first.anomalous} anomalous.", "")
    yield "| | " + " | ".join(metric.title for metric in METRICS) + " |"
    yield "|---|" + "---|" * len(METRICS)
    for result in results:
        cells = (_with_interval(result, metric.id) for metric in METRICS)
        yield f"| seed {result.seed} | " + " | ".join(cells) + " |"
    for name, base in first.baselines.items():
        yield f"| {name} | " + " | ".join(figure(getattr(base, metric.id)) for metric in METRICS) + " |"


def _with_interval(result: Result, metric: str) -> str:
    text = figure(getattr(result.metrics, metric))
    if metric not in result.intervals:
        return text
    low, high = result.intervals[metric]
    return f"{text} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    run_alone(main)
