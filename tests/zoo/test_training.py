"""Training: the same seed gives the same bits, a kill costs nothing but time, and nothing is overwritten."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from typing_extensions import override

from fake.stores import write_tiny_store
from upd_zoo.artefact.provenance import PROVENANCE
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CONFIG, WEIGHTS, Config, Phase
from upd_zoo.errors import IntegrityError, UpdZooError, UsageError
from upd_zoo.files import held
from upd_zoo.fitting.batches import Batches
from upd_zoo.fitting.checkpoint import CHECKPOINT
from upd_zoo.fitting.learner import Turn
from upd_zoo.fitting.run import LOG, RunSettings, seed_everything
from upd_zoo.fitting.trainer import Trainer
from upd_zoo.method import Method
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.runtime.eager import load_detector
from upd_zoo.stores.store import Store
from upd_zoo.training import train

MODEL = ModelId.parse("vae-phantom-t2")
MAIN = Phase(steps=45, optimiser={"name": "Adam", "lr": 1e-3})
"""A checkpoint every second step, so that a kill can fall between two."""
CPU = RunSettings(device="cpu")
RECIPE = replace(
    load_recipe(MODEL, profile="quick"),
    settings={"width": 8, "bottleneck": 4, "latent": 8},  # wide enough for rounding to depend on the memory layout
    phases={"main": MAIN},
    batch_size=3,
    smoothing=1.5,
    erosion=2,
)
KILLED_AFTER = 23
TRAIN_AND_DIE = """
import os, signal, sys
from pathlib import Path
import test_training as test
def die(progress):
    if progress.done == test.KILLED_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)
test.torch.set_num_threads(int(sys.argv[3]))
test.train(test.MODEL, test.RECIPE, test.Store(Path(sys.argv[1])), Path(sys.argv[2]), test.CPU, on_progress=die)
"""


class AbortError(Exception):
    """Stands for whatever ends a process."""


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """Return a recipe whose phases take another number of steps."""
    phases = {name: phase.model_copy(update={"steps": steps}) for name, phase in recipe.phases.items()}
    return replace(recipe, phases=phases)


def weights_of(run: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(run / WEIGHTS)


def log_of(run: Path) -> list[dict[str, Any]]:
    """Return the log without its clock."""
    lines = [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "waiting")} for line in lines]


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(step: int, phase: str = "main") -> Report:
    def stop(progress: Progress) -> None:
        if (progress.what, progress.done) == (phase, step):
            raise AbortError

    return stop


def run_training(store: Store, run: Path, recipe: Recipe = RECIPE, **options: Any) -> Config:
    chosen = {key: options.pop(key) for key in ("seed", "weights", "resume") if key in options}
    return train(MODEL, recipe, store, run, RunSettings(device="cpu", **chosen), **options)


def abort_training(store: Store, run: Path, step: int) -> None:
    with pytest.raises(AbortError):
        run_training(store, run, on_progress=stop_after(step))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight images: batches of three leave a smaller one at the end of each epoch."""
    return write_tiny_store(tmp_path_factory.mktemp("training") / "store")


@pytest.fixture(scope="module")
def finished(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("training") / "finished"
    run_training(store, run)
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where a new run goes."""
    return tmp_path / "run"


def test_a_run_leaves_its_five_files(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == sorted([CONFIG, LOG, CHECKPOINT, WEIGHTS, PROVENANCE])


def test_the_same_seed_gives_the_same_bits(store: Store, finished: Path, run: Path) -> None:
    torch.rand(3), np.random.default_rng().random(3)
    run_training(store, run)
    assert same(weights_of(run), weights_of(finished))
    assert log_of(run) == log_of(finished)
    assert (run / CONFIG).read_bytes() == (finished / CONFIG).read_bytes()


def test_another_seed_gives_other_weights(store: Store, finished: Path, run: Path) -> None:
    run_training(store, run, with_steps(RECIPE, 1), seed=1)
    first = log_of(finished)[0]["losses"]["loss"]
    assert log_of(run)[0]["losses"]["loss"] != first


def test_training_lowers_the_loss(finished: Path) -> None:
    losses = [line["losses"]["loss"] for line in log_of(finished)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_every_step_is_reported(store: Store, run: Path) -> None:
    seen: list[Progress] = []
    run_training(store, run, with_steps(RECIPE, 4), on_progress=seen.append)
    assert [(progress.what, progress.done, progress.total) for progress in seen] == [
        ("main", step, 4) for step in (1, 2, 3, 4)
    ]
    for progress, line in zip(seen, log_of(run), strict=True):
        assert progress.note == ", ".join(f"{name} {value:.3g}" for name, value in line["losses"].items())


def test_the_weights_are_those_of_a_detector(store: Store, finished: Path) -> None:
    anomaly_map, score = load_detector(finished)(torch.from_numpy(np.array(store.images)))
    assert anomaly_map.isfinite().all()
    assert score.shape == (8,)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(store: Store, finished: Path, run: Path) -> None:
    here = Path(__file__).parent
    killed = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_DIE, store.folder, run, str(torch.get_num_threads())],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [line["step"] for line in log_of(run)][-1] == KILLED_AFTER, "the log is ahead of the checkpoint"
    assert not (run / WEIGHTS).exists()
    run_training(store, run, resume=True)
    assert same(weights_of(run), weights_of(finished))
    assert log_of(run) == log_of(finished)


def test_a_run_that_ended_before_its_first_checkpoint_starts_again(store: Store, finished: Path, run: Path) -> None:
    abort_training(store, run, step=1)
    assert log_of(run), "something was logged"
    assert not (run / CHECKPOINT).exists()
    run_training(store, run, resume=True)
    assert same(weights_of(run), weights_of(finished))
    assert log_of(run) == log_of(finished)


@pytest.mark.parametrize("cut", [2, 25, -1])
def test_half_a_line_in_the_log_is_forgotten(store: Store, finished: Path, run: Path, cut: int) -> None:
    abort_training(store, run, step=21)
    line = (run / LOG).read_text().splitlines()[-1]
    ends_like_a_line = line.index("}") + 1
    with (run / LOG).open("a") as stream:
        stream.write(line[: ends_like_a_line if cut < 0 else cut])
    run_training(store, run, resume=True)
    assert log_of(run) == log_of(finished)


def test_a_finished_run_is_left_alone(store: Store, finished: Path, run: Path) -> None:
    shutil.copytree(finished, run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert run_training(store, run, resume=True) == read_record(finished / CONFIG, Config)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_lost_its_weights_writes_them_again(store: Store, finished: Path, run: Path) -> None:
    shutil.copytree(finished, run)
    (run / WEIGHTS).unlink()
    run_training(store, run, resume=True)
    assert same(weights_of(run), weights_of(finished))
    assert log_of(run) == log_of(finished)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "training.seed was 0 and is 1"),
        ({"recipe": with_steps(RECIPE, 46)}, "training.phases.main.steps was 45 and is 46"),
        ({"recipe": replace(RECIPE, batch_size=4)}, "training.batch_size was 3 and is 4"),
        (
            {"recipe": replace(RECIPE, settings={**RECIPE.settings, "latent": 9, "bottleneck": 5})},
            "settings.bottleneck was 4 and is 5, settings.latent was 8 and is 9",
        ),
        (
            {
                "recipe": replace(
                    RECIPE, phases={"main": MAIN.model_copy(update={"optimiser": {"name": "Adam", "lr": 2e-3}})}
                )
            },
            "training.phases.main.optimiser.lr was 0.001 and is 0.002",
        ),
    ],
)
def test_another_configuration_does_not_go_on_and_what_differs_is_named(
    store: Store, finished: Path, run: Path, change: dict[str, Any], told: str
) -> None:
    shutil.copytree(finished, run)
    with pytest.raises(UsageError, match=f"another configuration: {told}\\."):
        run_training(store, run, resume=True, **change)


def test_a_run_goes_on_on_another_device_which_is_recorded(store: Store, finished: Path, run: Path) -> None:
    shutil.copytree(finished, run)
    config = read_record(run / CONFIG, Config)
    elsewhere = config.training.model_copy(update={"device": "cuda"})
    write_record(run / CONFIG, config.model_copy(update={"training": elsewhere}))
    for _ in range(2):
        assert run_training(store, run, resume=True).training.device == "cuda, cpu"
    assert read_record(run / CONFIG, Config).training.device == "cuda, cpu"
    line = json.loads((run / LOG).read_text().splitlines()[0])
    assert (line["device"], line["threads"]) == ("cpu", torch.get_num_threads())


def test_diseased_images_are_not_learnt(run: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="holds 3 diseased images"):
        run_training(write_tiny_store(tmp_path / "store", anomalous=3), run)
    assert not run.exists()


def test_other_data_do_not_go_on(finished: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, run)
    with pytest.raises(UsageError, match="another configuration"):
        run_training(write_tiny_store(tmp_path / "other", seed=1), run, resume=True)


def test_a_run_is_not_overwritten(store: Store, run: Path) -> None:
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        run_training(store, run)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_one_process_at_a_time_trains_in_a_folder(store: Store, run: Path, finished: Path) -> None:
    run.mkdir()
    with held(run / ".lock"), pytest.raises(UsageError, match="Another process is training"):
        run_training(store, run)
    assert not any(run.iterdir())
    assert not (finished / ".lock").exists()


def test_a_file_is_no_run(store: Store, run: Path) -> None:
    run.touch()
    with pytest.raises(UsageError):
        run_training(store, run)


def test_a_checkpoint_that_is_none_is_refused(store: Store, run: Path) -> None:
    abort_training(store, run, step=5)
    (run / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(IntegrityError, match=CHECKPOINT):
        run_training(store, run, resume=True)


def test_divergence_ends_the_run(store: Store, run: Path) -> None:
    recipe = replace(RECIPE, phases={"main": Phase(steps=45, optimiser={"name": "SGD", "lr": 1e30})})
    with pytest.raises(UpdZooError, match=r"The loss is (nan|inf) at step \d"):
        run_training(store, run, recipe)
    assert not (run / WEIGHTS).exists()


def test_an_unknown_device_is_refused(store: Store, run: Path) -> None:
    with pytest.raises(UsageError, match="tpu"):
        train(MODEL, with_steps(RECIPE, 1), store, run, RunSettings(device="tpu"))


def test_the_configuration_says_how_the_model_was_made(finished: Path, store: Store) -> None:
    config = read_record(finished / CONFIG, Config)
    assert (config.id, config.settings, config.weights_origin) == ("vae-phantom-t2", RECIPE.settings, None)
    assert config.training.model_dump() == {
        "profile": "quick",
        "seed": 0,
        "phases": {"main": {"steps": 45, "optimiser": {"name": "Adam", "lr": 1e-3}, "schedule": {}, "clip": 0.0}},
        "batch_size": 3,
        "images": 8,
        "subjects": 4,
        "store": store.sha256,
        "device": "cpu",
        "fraction": 1.0,
        "precision": "float32",
    }
    assert (config.smoothing, config.erosion) == (RECIPE.smoothing, RECIPE.erosion) == (1.5, 2)
    assert config.labels == ["tiny test store", "quick profile"]


class TwoPhases(Method):
    """Learns in two phases, each with its own draws, and looks something up in between."""

    id, title = "two-phases", "Two phases"
    seen: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer("seen", torch.zeros(()))

    @override
    def fit(self, batches: Batches, trainer: Trainer) -> None:
        trainer.minimise(self, batches, phase="first")
        self.seen.fill_(7)
        trainer.minimise(self, batches, phase="second")

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight - torch.randn_like(self.weight)) ** 2).mean()}

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        return images


def fit_in_phases(store: Store, run: Path, on_progress: Report = silent, steps: int = 6) -> TwoPhases:
    run.mkdir(exist_ok=True)
    seed_everything(0)
    method = TwoPhases(1)
    phase = MAIN.model_copy(update={"steps": steps})
    trainer = Trainer(run, replace(RECIPE, phases={"first": phase, "second": phase}), "cpu", on_progress)
    method.fit(Batches(store, 3, 0, centred=False), trainer)
    return method


def test_what_is_set_between_phases_stays(store: Store, run: Path) -> None:
    assert fit_in_phases(store, run).seen == 7
    assert [line["phase"] for line in log_of(run)] == ["first"] * 6 + ["second"] * 6


@pytest.mark.parametrize(("phase", "step"), [("first", 4), ("first", 6), ("second", 1), ("second", 4)])
def test_a_run_of_two_phases_goes_on_from_either(store: Store, tmp_path: Path, phase: str, step: int) -> None:
    whole = fit_in_phases(store, tmp_path / "whole")
    with pytest.raises(AbortError):
        fit_in_phases(store, tmp_path / "run", stop_after(step, phase))
    resumed = fit_in_phases(store, tmp_path / "run")
    assert same(resumed.state_dict(), whole.state_dict())
    assert log_of(tmp_path / "run") == log_of(tmp_path / "whole")


def test_a_long_run_logs_a_few_hundred_lines_and_its_end(store: Store, run: Path) -> None:
    fit_in_phases(store, run, steps=401)
    steps = [line["step"] for line in log_of(run) if line["phase"] == "first"]
    assert steps == [*range(2, 401, 2), 401]


def test_a_phase_that_the_recipe_does_not_have_is_refused(store: Store, run: Path) -> None:
    run.mkdir()
    trainer = Trainer(run, RECIPE, "cpu")
    with pytest.raises(UsageError, match="no phase first"):
        TwoPhases(1).fit(Batches(store, 3, 0, centred=False), trainer)


class TwoSides(Method):
    """Two parts that pull the same image value in opposite directions, by turns."""

    id, title = "two-sides", "Two sides"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(channels, 1), torch.nn.Linear(channels, 1)
        self.moved: list[str] = []

    @override
    def fit(self, batches: Batches, trainer: Trainer) -> None:
        trainer.minimise(self, batches, turns=(Turn("upwards", "up"), Turn("downwards", "down")))

    def pull(self, sign: int) -> dict[str, Tensor]:
        """Record which parts may move, and return a loss that both feel."""
        self.moved += [name for name, part in self.named_children() if all(p.requires_grad for p in part.parameters())]
        both = self.up.weight.mean() + self.down.weight.mean() + self.up.bias.mean() + self.down.bias.mean()
        return {"loss": sign * both * torch.rand(()), f"height_{sign}": both}

    def upwards(self, images: Tensor) -> dict[str, Tensor]:
        """Raise everything that may move."""
        return self.pull(-1)

    def downwards(self, images: Tensor) -> dict[str, Tensor]:
        """Lower everything that may move."""
        return self.pull(1)

    @override
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        return self.pull(1)

    @override
    def anomaly_map(self, images: Tensor) -> Tensor:
        return images


def take_turns(store: Store, run: Path, on_progress: Report = silent) -> tuple[TwoSides, dict[str, Tensor]]:
    run.mkdir(exist_ok=True)
    seed_everything(0)
    method = TwoSides(1)
    start = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.fit(Batches(store, 3, 0, centred=False), Trainer(run, with_steps(RECIPE, 6), "cpu", on_progress))
    return method, start


def test_each_turn_moves_its_own_part_and_no_other(store: Store, run: Path) -> None:
    method, start = take_turns(store, run)
    assert method.moved == ["up", "down"] * 6
    for name, tensor in method.state_dict().items():
        assert (tensor > start[name]).all() if name.startswith("up") else (tensor < start[name]).all()
    assert all(parameter.requires_grad for parameter in method.parameters())
    assert {*log_of(run)[0]["losses"]} == {"loss", "height_-1", "height_1"}


def test_a_run_with_turns_goes_on_with_both_optimisers(store: Store, tmp_path: Path) -> None:
    whole, _ = take_turns(store, tmp_path / "whole")
    with pytest.raises(AbortError):
        take_turns(store, tmp_path / "run", stop_after(4))
    resumed, _ = take_turns(store, tmp_path / "run")
    assert same(resumed.state_dict(), whole.state_dict())


def test_a_schedule_slows_training_down(store: Store, tmp_path: Path) -> None:
    phase = Phase(steps=3, optimiser={"name": "SGD", "lr": 0.1}, schedule={"name": "cosine", "period": 1})
    run_training(store, tmp_path / "run", replace(RECIPE, phases={"main": phase}))
    run_training(store, tmp_path / "one", replace(RECIPE, phases={"main": phase.model_copy(update={"steps": 1})}))
    states = [weights_of(tmp_path / name) for name in ("run", "one")]
    moved = [name for name in states[0] if not torch.equal(states[0][name], states[1][name]) and "weight" in name]
    assert moved, "the third step has the full rate again"
    phase = phase.model_copy(update={"steps": 2})
    run_training(store, tmp_path / "two", replace(RECIPE, phases={"main": phase}))
    two = weights_of(tmp_path / "two")
    assert all(torch.equal(two[name], states[1][name]) for name in two if name.endswith("weight"))


def test_long_gradients_are_shortened(store: Store, tmp_path: Path) -> None:
    for clip in (0.01, 0.03):
        phase = Phase(steps=1, optimiser={"name": "SGD", "lr": 0.5}, clip=clip)
        run_training(store, tmp_path / str(clip), replace(RECIPE, phases={"main": phase}))
    short, long = (weights_of(tmp_path / str(clip)) for clip in (0.01, 0.03))
    trained = [name for name in short if "running" not in name and "num_batches" not in name]
    apart = math.sqrt(sum(float((long[name] - short[name]).double().square().sum()) for name in trained))
    assert apart == pytest.approx(0.5 * (0.03 - 0.01), rel=0.02), "one goes 0.01 along the gradient, the other 0.03"


@pytest.mark.parametrize(("share", "count"), [(1.0, 8), (0.5, 4), (0.18, 1), (0.01, 1)])
def test_a_visit_shows_every_image_once_and_in_order(store: Store, run: Path, share: float, count: int) -> None:
    run.mkdir()
    seen: list[Progress] = []
    method, trainer = TwoSides(1), Trainer(run, RECIPE, "cpu", seen.append)
    images = list(trainer.visit(method, Batches(store, 3, 0, centred=True), share=share))
    assert torch.equal(torch.cat(images), torch.from_numpy(np.array(store.images[:count])) * 2 - 1)
    assert [(progress.what, progress.done, progress.total) for progress in seen][-1] == ("statistics", count, count)
    assert max(len(batch) for batch in images) <= 3


def test_a_visitor_only_looks(store: Store, run: Path) -> None:
    run.mkdir()
    method = TwoSides(1).train()
    for images in Trainer(run, RECIPE, "cpu").visit(method, Batches(store, 3, 0, centred=False)):
        assert not method.training
        assert not method.up(images.mean((1, 2, 3))[:, None]).requires_grad
    assert torch.is_grad_enabled()
