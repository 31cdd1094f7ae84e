"""Train, export and evaluate many models in one command, and lay them beside each other as a table and as pictures.

    python scripts/compare.py out/compare
    python scripts/compare.py out/idrid --domain idrid --method rd --method vae --seed 0 --seed 1 --seed 2 \
        --backbone mobilenetv2_100 --weights weights.safetensors

    python scripts/compare.py out/starts --method fae --method padim --method cflow-ad --method rd --domain phantom-t2 \
        --start random --start imagenet --start ccd --weights weights.safetensors --page cards/results/starts.md

With `--start` every model is made once for each start of its network; its name then ends in `+random`, or in `-ccd`.
Every model has a folder of its own; what is finished is not made again, so a stopped comparison goes on where it stood.
`table.md` and `table.json` hold mean and spread over the seeds beside the trivial baselines; `<test set>.png` shows a
diseased and a healthy image as every method draws and maps them. The prepared stores must be there: see
`upd-zoo prepare`. Models that fail are named at the end; exit code 3.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from sheet import Line, panel, sheet
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_harness.report.overlay import colour_range, overlay
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, RESULTS, Config, Metrics, Result
from upd_zoo.errors import InputError, UpdZooError
from upd_zoo.files import replacing, write_json, write_text
from upd_zoo.fitting.run import RunSettings
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.stores.places import data_folder, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TEST_SETS, Protocol, TestSet, get_domain

Array = npt.NDArray[np.float32]

SCHEMA: Final = "upd-zoo/comparison/1"
PHANTOMS: Final = ("phantom-t2", "phantom-cxr", "phantom-fundus")
TIMES: Final = "times.json"
_COLUMNS: Final = {"AP_i": "ap_image", "AUROC": "auroc", "AP_p": "ap_pixel", "best Dice": "dice"}
_PANELS: Final = ("image", "drawn", "map", "truth")
_SOME_FAILED: Final = InputError.exit_code


class Start(StrEnum):
    """What the network starts from that describes images."""

    RANDOM = "random"
    IMAGENET = "imagenet"
    CCD = "ccd"


@dataclass(frozen=True, slots=True)
class Plan:
    """What every model of a comparison has in common.

    Attributes:
        out: Folder of the comparison.
        data: Folder of the prepared stores.
        threads: CPU threads of one model; None leaves torch's own choice.
    """

    out: Path
    data: Path
    profile: str
    protocol: Protocol
    weights: str | None
    steps: int | None
    threads: int | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One model of one seed.

    Attributes:
        start: What its network starts from; whatever the plan says where it is empty.
    """

    model: str
    seed: int
    start: str = ""

    @property
    def row(self) -> str:
        """Its row of the tables: the model, and the start where its name does not say it."""
        return f"{self.model}+{self.start}" if self.start == Start.RANDOM else self.model

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.row}@seed-{self.seed}"

    def tests(self) -> list[TestSet]:
        """Return the test sets of its domain."""
        domain = ModelId.parse(self.model).domain.id
        return [test_set for test_set in TEST_SETS.values() if test_set.domain == domain]


def make(cell: Cell, plan: Plan) -> dict[str, float]:
    """Train, export and evaluate one model; return the seconds of each, and write its folder."""
    import torch

    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    folder, model = plan.out / cell.name, ModelId.parse(cell.model)
    if (folder / TIMES).is_file():
        return {}
    recipe = load_recipe(model, plan.protocol, plan.profile, plan.steps if _learns(model) else None)
    seconds: dict[str, float] = {}

    def timed(stage: str, action: Callable[[], object]) -> None:
        began = time.monotonic()
        action()
        seconds[stage] = round(time.monotonic() - began, 1)

    timed("train", lambda: _train(cell, plan, recipe, folder))
    timed("export", lambda: _export(model, plan, folder))
    timed("evaluate", lambda: _evaluate(cell, plan, folder))
    write_json(folder / TIMES, seconds)
    return seconds


def _learns(model: ModelId) -> bool:
    return bool(load_recipe(model).phases)


def _train(cell: Cell, plan: Plan, recipe: Recipe, folder: Path) -> None:
    from upd_zoo.training import train

    model = ModelId.parse(cell.model)
    store = Store(store_path(plan.data, model.domain.id, "train", plan.protocol))
    train(
        model,
        recipe,
        store,
        folder / "run",
        RunSettings(seed=cell.seed, weights=_weights(cell, plan, recipe), resume=True),
    )


def _weights(cell: Cell, plan: Plan, recipe: Recipe) -> str | None:
    """Return what a model is told to start from."""
    if cell.start == Start.CCD:
        return str(_pretraining(cell, plan) / "backbone")
    if "backbone" not in recipe.settings:
        return None
    return "random" if cell.start == Start.RANDOM else plan.weights


def _pretraining(cell: Cell, plan: Plan) -> Path:
    """Return the folder of the pre-training that a model starts from, which it may share with others."""
    from upd_zoo.pretrain.run import encoder_of

    base = _base(cell, plan)
    centred = "-centred" if base.centred else ""
    return plan.out / f"ccd.{encoder_of(base).name}-{base.domain.id}{centred}@seed-{cell.seed}"


def _base(cell: Cell, plan: Plan) -> Recipe:
    return load_recipe(replace(ModelId.parse(cell.model), ccd=False), plan.protocol, plan.profile)


def pretrain_for(cell: Cell, plan: Plan) -> dict[str, float]:
    """Pre-train the network that a model starts from; return the seconds."""
    import torch

    from upd_zoo.pretrain.run import BACKBONE, pretrain

    if plan.threads is not None:
        torch.set_num_threads(plan.threads)
    began, run, base = time.monotonic(), _pretraining(cell, plan), _base(cell, plan)
    if (run / BACKBONE).is_dir():
        return {}
    store = Store(store_path(plan.data, base.domain.id, "train", plan.protocol))
    weights = plan.weights if "backbone" in base.settings else None
    pretrain(base, store, run, RunSettings(seed=cell.seed, weights=weights, resume=True), steps=plan.steps)
    return {"pretrain": round(time.monotonic() - began, 1)}


def _export(model: ModelId, plan: Plan, folder: Path) -> None:
    from upd_zoo.export import export_artefact

    validation = Store(store_path(plan.data, model.domain.id, "validation", plan.protocol))
    export_artefact(folder / "run", validation, folder / "artefact")


def _evaluate(cell: Cell, plan: Plan, folder: Path) -> None:
    from upd_harness.evaluation.run import evaluate
    from upd_zoo.runtime.folder import load_folder

    model = load_folder(folder / "artefact", device="cpu", threads=plan.threads)
    for test_set in cell.tests():
        store = Store(store_path(plan.data, test_set.id, "test", plan.protocol))
        evaluate(model, test_set, store, folder / "evaluation" / test_set.id, revision=f"seed-{cell.seed}")


def results_of(cells: Iterable[Cell], out: Path) -> dict[str, dict[str, list[Result]]]:
    """Return the results that are there, by test set and model, one per seed."""
    found: dict[str, dict[str, list[Result]]] = {}
    for cell in cells:
        for test_set in cell.tests():
            path = out / cell.name / "evaluation" / test_set.id / RESULTS / f"{test_set.id}.json"
            if path.is_file():
                found.setdefault(test_set.id, {}).setdefault(cell.row, []).append(read_record(path, Result))
    return found


def spread(metrics: Sequence[Metrics], field: str) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (n − 1) of a metric over seeds; None where it is not defined."""
    values = [value for value in (getattr(row, field) for row in metrics) if value is not None]
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _cell_text(metrics: Sequence[Metrics], field: str) -> str:
    mean, deviation = spread(metrics, field)
    if mean is None:
        return "n/a"
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def as_markdown(found: Mapping[str, Mapping[str, Sequence[Result]]], plan: Plan, *, pictures: bool = True) -> str:
    """Return the tables of all test sets, each under the labels that its reader must know."""
    lines = ["# Comparison", "", f"Profile `{plan.profile}`, protocol `{plan.protocol}`.", ""]
    if any(Start.RANDOM in model for models in found.values() for model in models):
        lines += ["Networks start from ImageNet weights; `+random`: from drawn ones; `-ccd`: from CCD.", ""]
    for test_set, models in found.items():
        rows = [row for results in models.values() for row in results]
        labels = [label for label in rows[0].labels if all(label in row.labels for row in rows)]
        seeds = sorted({row.seed for row in rows})
        first = rows[0]
        lines += [
            f"## {TEST_SETS[test_set].title}", "",
            f"{', '.join(labels)}. {first.images} images, {first.anomalous} anomalous, of {first.subjects} subjects; "
            f"seeds {', '.join(map(str, seeds))}{'; mean ± standard deviation' if len(seeds) > 1 else ''}.", "",
            f"| model | {' | '.join(_COLUMNS)} |", f"|---|{'---|' * len(_COLUMNS)}",
        ]  # fmt: skip
        for model, results in models.items():
            own = [label for label in results[0].labels if label not in labels]
            name = f"`{model}` ({', '.join(own)})" if own else f"`{model}`"
            lines.append(_row(name, [row.metrics for row in results]))
        lines += [_row(name, [first.baselines[name]]) for name in first.baselines]
        lines += ["", *([f"![{test_set}]({test_set}.png)", ""] if pictures else [])]
    return "\n".join(lines)


def _row(name: str, metrics: Sequence[Metrics]) -> str:
    return f"| {name} | {' | '.join(_cell_text(metrics, field) for field in _COLUMNS.values())} |"


def shown_rows(store: Store) -> list[int]:
    """Return which images a picture shows: the diseased one with the median lesion, and the healthy one most like it.

    Most like it is the one of another subject with the most nearly equal number of pixels that are not black.
    """
    lesions = store.masks[:].reshape(len(store), -1).sum(axis=1) if store.masks is not None else store.anomalous
    sick = sorted(np.flatnonzero(lesions), key=lambda row: (lesions[row], row))
    healthy = np.flatnonzero(~store.anomalous)
    if not sick or not len(healthy):
        return [int(row) for row in (*sick[:1], *healthy[:1])]
    middle = sick[len(sick) // 2]
    subjects = np.array(store.subjects)
    others = healthy[subjects[healthy] != subjects[middle]]
    shown = [int((np.asarray(store.images[row]) > 0).any(axis=0).sum()) for row in (middle, *others)]
    nearest = others[np.argmin(np.abs(np.array(shown[1:]) - shown[0]))] if len(others) else healthy[0]
    return [int(middle), int(nearest)]


def draw(cells: Iterable[Cell], test_set: TestSet, plan: Plan) -> Image.Image:
    """Return a picture: one line per model; for each shown image the image, its redrawing, its map and the truth."""
    store = Store(store_path(plan.data, test_set.id, "test", plan.protocol))
    rows = shown_rows(store)
    images = np.array(store.images[rows])
    masks = list(store.masks[rows]) if store.masks is not None else [None] * len(rows)
    return sheet(_PANELS, [_line(plan.out / cell.name / "artefact", images, masks) for cell in cells])


def _line(artefact: Path, images: Array, masks: Sequence[Any]) -> Line:
    """Return the panels of a model, image after image."""
    import torch

    from upd_zoo.runtime.eager import load_detector

    config = read_record(artefact / CONFIG, Config)
    low, high = colour_range(read_record(artefact / CALIBRATION, Calibration))
    detector = load_detector(artefact)
    with torch.no_grad():
        pixels = torch.from_numpy(images)
        maps = detector(pixels).anomaly_map.numpy()[:, 0]
        drawn = detector.method.reconstruct(detector.pixels(pixels))
    redrawn = [None] * len(images) if drawn is None else list(drawn.numpy() / (2 if config.centred else 1))
    panels: list[Image.Image] = []
    for image, other, anomaly_map, mask in zip(images, redrawn, maps, masks, strict=True):
        shown = np.zeros_like(image) if other is None else other + (0.5 if config.centred else 0)
        panels += [panel(image), panel(shown), overlay(image, anomaly_map, low, high), panel(image, mask)]
    return Line(config.title, panels)


def _cells(
    methods: Sequence[str], domains: Sequence[str], seeds: Sequence[int], backbone: str | None, starts: Sequence[str]
) -> Iterator[Cell]:
    for domain, method, start in product(domains, methods, starts):
        plain = ModelId(method, None, get_domain(domain).id, ccd=start == Start.CCD)
        takes = "backbone" in load_recipe(plain).settings
        yield from (Cell(replace(plain, backbone=backbone if takes else None).name, seed, start) for seed in seeds)


def _make_all(cells: Sequence[Cell], plan: Plan, jobs: int, terminal: Terminal) -> list[Cell]:
    """Make every model, pre-trained networks first; return those that failed."""
    shared = {_pretraining(cell, plan): cell for cell in cells if cell.start == Start.CCD}
    failed = _run_all("pre-training", pretrain_for, list(shared.values()), plan, jobs, terminal)
    return failed + _run_all("comparing", make, cells, plan, jobs, terminal)


def _run_all(
    what: str, work: Callable[..., dict[str, float]], cells: Sequence[Cell], plan: Plan, jobs: int, terminal: Terminal
) -> list[Cell]:
    """Do something for every cell, several at a time; return those that failed."""
    failed = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        tasks = {pool.submit(work, cell, plan): cell for cell in cells}
        with terminal.bar(what) as advance:
            for done, task in enumerate(as_completed(tasks), start=1):
                advance(Progress("", done, len(cells)))
                cell, error = tasks[task], task.exception()
                if isinstance(error, (UpdZooError, RuntimeError, MemoryError)):
                    failed.append(cell)
                    terminal.say(f"{cell.name}: {error}")
                elif error is not None:
                    raise error
                else:
                    terminal.say(f"{cell.name}: {', '.join(f'{what} {s} s' for what, s in task.result().items())}")
    return failed


@reports_errors
def main(
    out: Annotated[Path, typer.Argument(help="Folder of the comparison.")] = Path("out/compare"),
    domain: Annotated[list[str] | None, typer.Option(help="May be given again; else all phantoms.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="May be given again; else all.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="May be given again; else 0.")] = None,
    backbone: Annotated[str | None, typer.Option(help="timm name; else the study's own.")] = "mobilenetv2_100",
    weights: Annotated[str | None, typer.Option(help="Of backbones: random, timm, or a safetensors file.")] = "random",
    profile: Annotated[str, typer.Option(help="full, quick or tiny.")] = "quick",
    protocol: Annotated[Protocol, typer.Option(help="study or sound.")] = Protocol.SOUND,
    start: Annotated[list[Start] | None, typer.Option(help="May be given again; else as --weights says.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write the tables here too, without pictures.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of every phase, instead of the recipe's.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Models made at the same time.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each.")] = None,
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    only_tables: Annotated[bool, typer.Option("--only-tables", help="Make no model; show what is there.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")] = False,
) -> int:
    """Compare methods on domains."""
    from upd_zoo.registry import registered

    plan = Plan(out, data_folder(data), profile, protocol, weights, steps, threads)
    cells = list(_cells(method or list(registered()), domain or PHANTOMS, seed or [0], backbone, start or [""]))
    terminal = Terminal(no_progress=no_progress)
    failed = [] if only_tables else _make_all(cells, plan, jobs, terminal)
    found = results_of(cells, out)
    for test_set in found:
        first = {cell.row: cell for cell in reversed(cells) if cell.row in found[test_set]}
        with replacing(out / f"{test_set}.png") as temporary:
            draw(reversed(first.values()), TEST_SETS[test_set], plan).save(temporary, "PNG", optimize=True)
    text = as_markdown(found, plan)
    write_text(out / "table.md", text)
    if page is not None:
        write_text(page, as_markdown(found, plan, pictures=False))
    rows = [
        row.model_dump(mode="json", by_alias=True)
        for models in found.values()
        for runs in models.values()
        for row in runs
    ]
    common = {name: value for name, value in asdict(plan).items() if name not in ("out", "data")}
    weights_name = Path(weights).name if weights else None
    document = {"schema": SCHEMA, "plan": common | {"weights": weights_name}, "results": rows}
    write_json(out / "table.json", document)
    terminal.data(document, text)
    return _SOME_FAILED if failed else 0


if __name__ == "__main__":
    typer.run(main)
