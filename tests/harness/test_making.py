"""The commands that make models: what they say, where they stop, and that a stop costs nothing."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer

from fake.program import Answer, Command
from fake.stores import write_tiny_store
from fake.trained import GREY, trained_artefact
from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.records import CONFIG, TORCHSCRIPT, WEIGHTS

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = ("vae-phantom-t2", "--profile", "tiny", "--batch-size", "2", "-d", "cpu")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prepared stores of a domain."""
    for seed, part in enumerate(("train", "validation")):
        store = tmp_path / "data" / "phantom-t2" / part
        write_tiny_store(store, 1, 24, seed=seed, name=f"phantom-t2/{part}", subjects=part)
    return tmp_path / "data"


def load(name: str) -> Any:
    """Return a script as a module."""
    spec = spec_from_file_location(name, SCRIPTS / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a script within this process, for speed, where no file may grow beyond `most` bytes: a disk that is full."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object, most: int = resource.RLIM_INFINITY) -> Answer:
        app = typer.Typer()
        app.command()(load(name).main)
        capsys.readouterr()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(SystemExit) as ended:
                app([str(argument) for argument in arguments], prog_name=name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Give a disk of its own, of some size."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        disk = tmp_path / f"disk-{size}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)]
        if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607 - the system's own


def is_one_error(done: Answer, code: int = 1) -> bool:
    """Return whether the last line is an error and no line belongs to a traceback."""
    lines = done.err.splitlines()
    return done.code == code and lines[-1].startswith("error: ") and "Traceback" not in done.err


def test_training_says_what_begins_and_what_follows(script: Command, data: Path) -> None:
    done = script("train.py", *TINY, "--profile", "quick", "--steps", "6", "--out", "run", "--data", data)
    assert done.code == 0, done.err
    first, *_, last = done.err.splitlines()
    assert first.startswith("vae-phantom-t2 on cpu: ")
    assert first.endswith("steps of 2 images, from 24 images of 12 subjects")
    assert last == f"next: python scripts/export.py run --out out/artefacts/vae-phantom-t2 --data {data}"
    exported = script("export.py", "run", "--out", "artefact", "--data", data)
    assert exported.code == 0, exported.err
    assert exported.err.splitlines()[-2:] == [
        "next: python scripts/publish.py artefact --hub out/hub",
        "next: upd-zoo score FOLDER -m artefact -o out/scores/vae-phantom-t2",
    ]


def test_a_run_that_is_not_there_is_named_with_what_makes_it(script: Command, data: Path) -> None:
    done = script("export.py", "runs/vae-phantom-t2", "--out", "artefact", "--data", data)
    assert is_one_error(done, 4), done.err
    assert "in runs/vae-phantom-t2" in done.err
    assert "make train MODEL=vae-phantom-t2" in done.err


def test_a_full_disk_while_training_names_the_file_and_the_run_goes_on(
    script: Command, data: Path, tmp_path: Path
) -> None:
    full = script("train.py", *TINY, "--out", "run", "--data", data, most=30_000)
    assert is_one_error(full), full.err
    assert "run/checkpoint.safetensors: File too large" in full.err
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert script("train.py", *TINY, "--out", "run", "--data", data, "--continue").code == 0
    assert script("train.py", *TINY, "--out", "whole", "--data", data).code == 0
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("size", "code"), [("300k", 1), ("20m", 0)])
def test_training_on_a_small_disk_ends_in_one_line_or_well(
    script: Command, data: Path, small_disk: Callable[[str], Path], size: str, code: int
) -> None:
    disk = small_disk(size)
    done = script("train.py", *TINY[:-2], "--out", disk / "run", "--data", data)
    assert done.code == code, done.err
    if code:
        assert is_one_error(done), done.err
        assert f"{disk}/run" in done.err
        assert "No space left on device" in done.err


def test_a_full_disk_while_exporting_names_the_folder_and_keeps_what_stood_there(
    script: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = trained_artefact(tmp_path_factory, GREY)
    older = shutil.copytree(made, tmp_path / "artefact")
    before = inventory(older)
    data = tmp_path / "stores" / "phantom-t2"
    shutil.copytree(made.parent / "validation", data / "validation")
    # Weights fit below this, TorchScript, which has code beside them, does not.
    limits = ((made / WEIGHTS).stat().st_size - 1, (made / TORCHSCRIPT).stat().st_size - 20_000)
    for most in limits:
        done = script("export.py", made.parent / "run", "--out", older, "--data", data.parent, most=most)
        assert is_one_error(done), done.err
        assert f"{older}: File too large" in done.err
        assert inventory(older) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artefact", "stores"]


def interrupt(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_export_leaves_the_older_artefact_and_says_so(
    script: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained_artefact(tmp_path_factory, GREY)
    older = shutil.copytree(made, tmp_path / "artefact")
    before = inventory(older)
    shutil.copytree(made.parent / "validation", tmp_path / "stores" / "phantom-t2" / "validation")
    monkeypatch.setattr("upd_zoo.export.calibrate", interrupt)
    done = script("export.py", made.parent / "run", "--out", older, "--data", tmp_path / "stores")
    assert done.code == 130, done.err
    assert done.err.splitlines()[-1] == "interrupted: nothing was written; an older artefact stands as it was"
    assert inventory(older) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artefact", "stores"]


def test_a_full_disk_while_preparing_names_the_store(script: Command, tmp_path: Path) -> None:
    done = script("prepare.py", "phantom-cxr", "--subjects", "2", "--data", "data", most=100_000)
    assert is_one_error(done), done.err
    assert "data/phantom-cxr/train: File too large" in done.err
    assert not (tmp_path / "data" / "phantom-cxr" / "train").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "truth"),
    [
        ("train.py", (*TINY, "--steps", "100000", "--out", "run"), "--continue goes on with it"),
        ("prepare.py", ("phantom-t2", "--subjects", "50", "--data", "other"), "the same command makes the others"),
    ],
)
def test_an_interrupted_command_says_what_is_true_of_it(
    data: Path, tmp_path: Path, name: str, arguments: tuple[str, ...], truth: str
) -> None:
    environment = os.environ | {"UPD_ZOO_DATA": str(data), "COLUMNS": "80"}
    with subprocess.Popen(
        [sys.executable, SCRIPTS / name, *arguments],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        written = tmp_path / ("run/train.jsonl" if name == "train.py" else "other/phantom-t2")
        began = time.monotonic()
        while not written.exists() and time.monotonic() - began < 100:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert truth in said


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_no_generator_takes_is_a_usage_error(script: Command, data: Path, seed: str) -> None:
    done = script("train.py", *TINY, "--out", "run", "--data", data, "--seed", seed)
    assert is_one_error(done, 2), done.err
    assert f"No generator takes the seed {seed}" in done.err


def test_images_that_were_trained_on_do_not_calibrate(script: Command, data: Path, tmp_path: Path) -> None:
    assert script("train.py", *TINY, "--out", "run", "--data", data).code == 0
    shutil.rmtree(data / "phantom-t2" / "validation")
    # Half of the training images again, among new ones.
    write_tiny_store(data / "phantom-t2" / "validation", 1, 12, seed=0, name="phantom-t2/validation", subjects="train")
    done = script("export.py", "run", "--out", "artefact", "--data", data)
    assert is_one_error(done, 2), done.err
    assert "holds 12 images that the model was trained on, and shares 6 subjects with it" in done.err
    assert not (tmp_path / "artefact").exists()


def test_another_device_or_setting_is_named_where_a_run_goes_on(script: Command, data: Path, tmp_path: Path) -> None:
    assert script("train.py", *TINY, "--out", "run", "--data", data).code == 0
    config = (tmp_path / "run" / CONFIG).read_text()
    done = script("train.py", *TINY, "--out", "run", "--data", data, "--continue", "--seed", "7")
    assert is_one_error(done, 2), done.err
    assert "training.seed was 0 and is 7" in done.err
    (tmp_path / "run" / CONFIG).write_text(config.replace('"device": "cpu"', '"device": "cuda"'))
    assert script("train.py", *TINY, "--out", "run", "--data", data, "--continue").code == 0
    assert '"device": "cuda, cpu"' in (tmp_path / "run" / CONFIG).read_text()


def test_a_demonstration_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    demo = load("demo.py")
    demo.make_room(tmp_path / "demo")
    (tmp_path / "demo" / "hub").mkdir()
    demo.make_room(tmp_path / "demo")
    assert not (tmp_path / "demo" / "hub").exists()
    mine = tmp_path / "mine" / "hub"
    mine.mkdir(parents=True)
    with pytest.raises(SystemExit, match="2"):
        demo.make_room(tmp_path / "mine")
    assert mine.is_dir()
