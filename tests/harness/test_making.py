"""The commands that make models: what they say, where they stop, and that a stop costs nothing."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake.program import PROGRAM, Answer, Command, finished
from fake.scripts import script
from fake.stores import write_tiny_store
from fake.trained import GREY, trained_artefact
from upd_harness.cli.program import app
from upd_zoo.artefact.folder import inventory, verify
from upd_zoo.artefact.records import CONFIG, TORCHSCRIPT, WEIGHTS

ROOT = Path(__file__).resolve().parents[2]
TINY = ("train", "vae-phantom-t2", "--no-export", "--profile", "tiny", "--batch-size", "2", "-d", "cpu")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Prepared stores of a domain."""
    for seed, part in enumerate(("train", "validation")):
        store = tmp_path / "data" / "phantom-t2" / part
        write_tiny_store(store, 1, 24, seed=seed, name=f"phantom-t2/{part}", subjects=part)
    return tmp_path / "data"


@pytest.fixture
def verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command within this process, for speed, where no file may grow beyond `most` bytes: a disk that is full."""
    monkeypatch.chdir(tmp_path)
    for name in ("UPD_ZOO_HUB", "UPD_ZOO_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, most: int = resource.RLIM_INFINITY) -> Answer:
        capsys.readouterr()
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(SystemExit) as ended:
                app([str(argument) for argument in arguments], prog_name="upd-zoo")
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


QUICK = ("train", "vae-phantom-t2", "--profile", "quick", "--steps", "6", "--batch-size", "2", "-d", "cpu")
"""What makes a model whose artefact can be made: healthy images differ in their scores."""


def test_training_says_what_begins_ends_with_an_artefact_and_says_what_follows(
    verb: Command, data: Path, tmp_path: Path
) -> None:
    done = verb(*QUICK, "--data", data)
    assert done.code == 0, done.err
    run = Path("out", "runs", "vae-phantom-t2")
    assert done.out == f"{run}/artefact\n"
    verify(tmp_path / run / "artefact")
    first, *_, score, measure, publish = done.err.splitlines()
    assert first.startswith("vae-phantom-t2 on cpu: ")
    assert first.endswith("steps of 2 images, from 24 images of 12 subjects")
    assert score == f"next: upd-zoo score FOLDER -m {run}/artefact -o out/scores/vae-phantom-t2"
    assert measure == (
        f"next: upd-zoo evaluate -m {run}/artefact --test-set phantom-t2 --into -o out/evaluation/vae-phantom-t2 "
        f"--data {data}"
    )
    assert publish == f"next: upd-zoo publish {run}/artefact --hub out/hub"
    made = inventory(tmp_path / run / "artefact")
    again = verb("export", run, "--data", data, "--json", "-q")
    assert (again.code, again.err, again.json["artefact"]) == (0, "", f"{run}/artefact")
    assert inventory(tmp_path / run / "artefact").keys() == made.keys()


def test_a_run_without_an_artefact_is_left_where_that_is_wanted(verb: Command, data: Path, tmp_path: Path) -> None:
    done = verb(*TINY, "-o", "run", "--data", data, "--json")
    assert (done.code, done.json["run"], done.json["artefact"]) == (0, "run", None)
    assert not (tmp_path / "run" / "artefact").exists()
    assert done.err.splitlines()[-1] == f"next: upd-zoo export run --data {data}"


def test_without_images_to_calibrate_with_the_run_is_kept_and_the_rest_is_told(
    verb: Command, data: Path, tmp_path: Path
) -> None:
    validation = data / "phantom-t2" / "validation"
    validation.rename(tmp_path / "elsewhere")
    done = verb(*(each for each in TINY if each != "--no-export"), "-o", "run", "--data", data)
    assert is_one_error(done, 4), done.err
    assert done.err.splitlines()[0] == f"without the store {validation} there will be a run, and no artefact"
    assert f"upd-zoo prepare phantom-t2, then upd-zoo export run --data {data}" in done.err
    assert (tmp_path / "run" / WEIGHTS).is_file()


def test_a_run_that_is_not_there_or_not_finished_is_named_with_what_makes_it(
    verb: Command, data: Path, tmp_path: Path
) -> None:
    done = verb("export", "runs/vae-phantom-t2", "-o", "artefact", "--data", data)
    assert is_one_error(done, 4), done.err
    assert "in runs/vae-phantom-t2" in done.err
    assert "upd-zoo train vae-phantom-t2" in done.err
    assert verb(*TINY, "-o", "run", "--data", data).code == 0
    (tmp_path / "run" / WEIGHTS).unlink()
    done = verb("export", "run", "--data", data)
    assert is_one_error(done, 4), done.err
    assert "The run run is not finished" in done.err


def test_what_ccd_made_is_found_by_the_model_that_starts_from_it(verb: Command, data: Path, tmp_path: Path) -> None:
    model, *how = TINY[1:]
    how.remove("--no-export")
    asked = verb("train", f"{model}-ccd", *how, "-o", "none", "--data", data)
    assert is_one_error(asked, 2), asked.err
    assert "upd-zoo pretrain vae-phantom-t2-ccd" in asked.err
    pretrained = verb("pretrain", f"{model}-ccd", *how, "--data", data)
    assert (pretrained.code, pretrained.out) == (0, "out/pretraining/vae-phantom-t2/backbone\n"), pretrained.err
    following = shlex.split(pretrained.err.splitlines()[-1].removeprefix("next: upd-zoo "))
    assert following[:2] == ["train", "vae-phantom-t2-ccd"]
    trained = verb(*following, "--no-export", "--batch-size", "2", "-d", "cpu")
    assert trained.code == 0, trained.err
    assert "vae-phantom-t2-ccd starts from out/pretraining/vae-phantom-t2/backbone" in trained.err
    assert (tmp_path / "out/runs/vae-phantom-t2-ccd" / WEIGHTS).is_file()


_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "nilearn", "scipy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from upd_harness.cli.program import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (TINY, "train"),
        (("pretrain", "vae-phantom-t2"), "train"),
        (("export", "run"), "train"),
        (("prepare", "phantom-t2", "--data", "stores"), "prepare"),
        (("phantoms", "phantom-t2", "-o", "files"), "prepare"),
    ],
)
def test_what_the_base_install_cannot_make_names_the_extra(
    tmp_path: Path, arguments: tuple[str, ...], extra: str
) -> None:
    command = [sys.executable, "-c", _WITHOUT, *arguments]
    answer = finished(command, None, tmp_path, None)
    assert answer.is_one_error(7), answer.err
    assert f"pip install 'upd-zoo[{extra}]'" in answer.err


def test_what_is_prepared_is_told_to_people_and_to_programs(verb: Command, tmp_path: Path) -> None:
    asked = ("prepare", "phantom-cxr", "--subjects", "8", "--data", "data")
    text, document = verb(*asked), verb(*asked, "--json", "-q")
    assert (text.code, document.code, document.err) == (0, 0, ""), text.err
    assert text.err.splitlines()[-1] == "next: upd-zoo train METHOD-phantom-cxr --data data"
    for line, store in zip(text.out.splitlines(), document.json["stores"], strict=True):
        assert line.startswith(f"{store['folder']}: {store['images']} images of {store['subjects']} subjects")
        assert (tmp_path / store["folder"]).is_dir()
    assert document.json["failures"] == []


def test_phantoms_are_written_and_named(verb: Command, tmp_path: Path) -> None:
    text = verb("phantoms", "phantom-cxr", "-o", "files", "--count", "2")
    assert text.code == 0, text.err
    assert sorted(text.out.split()) == sorted(f"files/{path.name}" for path in (tmp_path / "files").iterdir())
    assert verb("phantoms", "phantom-cxr", "-o", "again", "--count", "1", "--json").json["files"]
    assert is_one_error(verb("phantoms", "idrid", "-o", "files"), 2)


def test_a_full_disk_while_training_names_the_file_and_the_run_goes_on(
    verb: Command, data: Path, tmp_path: Path
) -> None:
    full = verb(*TINY, "-o", "run", "--data", data, most=30_000)
    assert is_one_error(full), full.err
    assert "run/checkpoint.safetensors: File too large" in full.err
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert verb(*TINY, "-o", "run", "--data", data, "--continue").code == 0
    assert verb(*TINY, "-o", "whole", "--data", data).code == 0
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("size", "code"), [("300k", 1), ("20m", 0)])
def test_training_on_a_small_disk_ends_in_one_line_or_well(
    verb: Command, data: Path, small_disk: Callable[[str], Path], size: str, code: int
) -> None:
    disk = small_disk(size)
    done = verb(*TINY[:-2], "-o", disk / "run", "--data", data)
    assert done.code == code, done.err
    if code:
        assert is_one_error(done), done.err
        assert f"{disk}/run" in done.err
        assert "No space left on device" in done.err


def test_a_full_disk_while_exporting_names_the_folder_and_keeps_what_stood_there(
    verb: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = trained_artefact(tmp_path_factory, GREY)
    older = shutil.copytree(made, tmp_path / "artefact")
    before = inventory(older)
    data = tmp_path / "stores" / "phantom-t2"
    shutil.copytree(made.parent / "validation", data / "validation")
    # Weights fit below this, TorchScript, which has code beside them, does not.
    limits = ((made / WEIGHTS).stat().st_size - 1, (made / TORCHSCRIPT).stat().st_size - 20_000)
    for most in limits:
        done = verb("export", made.parent / "run", "-o", older, "--data", data.parent, most=most)
        assert is_one_error(done), done.err
        assert f"{older}: File too large" in done.err
        assert inventory(older) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artefact", "stores"]


def interrupt(*_arguments: object, **_named: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_export_leaves_the_older_artefact_and_says_so(
    verb: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained_artefact(tmp_path_factory, GREY)
    older = shutil.copytree(made, tmp_path / "artefact")
    before = inventory(older)
    shutil.copytree(made.parent / "validation", tmp_path / "stores" / "phantom-t2" / "validation")
    monkeypatch.setattr("upd_zoo.export.calibrate", interrupt)
    done = verb("export", made.parent / "run", "-o", older, "--data", tmp_path / "stores")
    assert done.code == 130, done.err
    assert done.err.splitlines()[-1] == "interrupted: nothing was written; an older artefact stands as it was"
    assert inventory(older) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artefact", "stores"]


def test_a_full_disk_while_preparing_names_the_store(verb: Command, tmp_path: Path) -> None:
    done = verb("prepare", "phantom-cxr", "--subjects", "2", "--data", "data", most=100_000)
    assert is_one_error(done), done.err
    assert "data/phantom-cxr/train: File too large. Do this: make room there, " in done.err
    assert not (tmp_path / "data" / "phantom-cxr" / "train").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "truth"),
    [
        ("train", (*TINY[1:], "--steps", "100000", "-o", "run"), "--continue goes on with it"),
        ("prepare", ("phantom-t2", "--subjects", "50", "--data", "other"), "the same command makes the others"),
    ],
)
def test_an_interrupted_command_says_what_is_true_of_it(
    data: Path, tmp_path: Path, name: str, arguments: tuple[str, ...], truth: str
) -> None:
    environment = os.environ | {"UPD_ZOO_DATA": str(data), "COLUMNS": "80"}
    with subprocess.Popen(
        [PROGRAM, name, *arguments],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        written = tmp_path / ("run/train.jsonl" if name == "train" else "other/phantom-t2")
        began = time.monotonic()
        while not written.exists() and time.monotonic() - began < 100:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("interrupted: ")
    assert truth in said


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_no_generator_takes_is_a_usage_error(verb: Command, data: Path, seed: str) -> None:
    done = verb(*TINY, "-o", "run", "--data", data, "--seed", seed)
    assert is_one_error(done, 2), done.err
    assert f"No generator takes the seed {seed}" in done.err


@pytest.mark.parametrize("name", ["train", "pretrain"])
def test_training_at_another_side_asks_for_its_stores(verb: Command, data: Path, name: str) -> None:
    done = verb(name, "vae-phantom-t2", "--profile", "tiny", "--side", "192", "-o", "run", "--data", data)
    assert is_one_error(done, 4), done.err
    assert "phantom-t2/train-192" in done.err
    assert "upd-zoo prepare phantom-t2 --side 192" in done.err


def test_images_that_were_trained_on_do_not_calibrate(verb: Command, data: Path, tmp_path: Path) -> None:
    assert verb(*TINY, "-o", "run", "--data", data).code == 0
    shutil.rmtree(data / "phantom-t2" / "validation")
    # Half of the training images again, among new ones.
    write_tiny_store(data / "phantom-t2" / "validation", 1, 12, seed=0, name="phantom-t2/validation", subjects="train")
    done = verb("export", "run", "-o", "artefact", "--data", data)
    assert is_one_error(done, 2), done.err
    assert "holds 12 images that the model was trained on, and shares 6 subjects with it" in done.err
    assert not (tmp_path / "artefact").exists()


def test_another_device_or_setting_is_named_where_a_run_goes_on(verb: Command, data: Path, tmp_path: Path) -> None:
    assert verb(*TINY, "-o", "run", "--data", data).code == 0
    config = (tmp_path / "run" / CONFIG).read_text()
    done = verb(*TINY, "-o", "run", "--data", data, "--continue", "--seed", "7")
    assert is_one_error(done, 2), done.err
    assert "training.seed was 0 and is 7" in done.err
    (tmp_path / "run" / CONFIG).write_text(config.replace('"device": "cpu"', '"device": "cuda"'))
    assert verb(*TINY, "-o", "run", "--data", data, "--continue").code == 0
    assert '"device": "cuda, cpu"' in (tmp_path / "run" / CONFIG).read_text()


def test_a_demonstration_replaces_an_earlier_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = script("demo", monkeypatch)
    demo.make_room(tmp_path / "demo")
    (tmp_path / "demo" / "hub").mkdir()
    demo.make_room(tmp_path / "demo")
    assert not (tmp_path / "demo" / "hub").exists()
    mine = tmp_path / "mine" / "hub"
    mine.mkdir(parents=True)
    with pytest.raises(SystemExit, match="2"):
        demo.make_room(tmp_path / "mine")
    assert mine.is_dir()
