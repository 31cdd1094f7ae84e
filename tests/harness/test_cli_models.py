"""The commands that find, fetch, check and publish models: what they say is true, and typos get an answer."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import upd_zoo as upd_zoo_package
from fake.artefact import say_how_good, with_manifest, write_artefact
from fake.program import PROGRAM, Answer, Command, finished
from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.records import CONFIG, MANIFEST, ONNX, WEIGHTS

MODEL = "vae-phantom-t2"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def measured(artefact: Path, tmp_path: Path) -> Path:
    """An artefact that says how good it is."""
    return say_how_good(Path(shutil.copytree(artefact, tmp_path / "measured")), MODEL, "phantom-t2")


@pytest.fixture
def publish(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run the command that publishes, for a user who has set no hub."""
    own = {name: value for name, value in environment.items() if name != "UPD_ZOO_HUB"}

    def run(*arguments: str | Path, **variables: str) -> Answer:
        return finished([str(PROGRAM), "publish", *map(str, arguments)], own | variables, tmp_path)

    return run


# Names


@pytest.mark.parametrize("name", ["VAE_phantom-t2", "vae_phantom_t2", "Vae-Phantom-T2@main", "VAE-phantom-T2"])
def test_letter_case_and_underscores_get_the_right_name(upd_zoo: Command, name: str) -> None:
    answer = upd_zoo("info", name)
    assert answer.is_one_error(2)
    assert f"Did you mean {MODEL}?" in answer.err


def test_a_list_is_found_by_what_it_prints(upd_zoo: Command) -> None:
    (row,) = upd_zoo("list", "--json").json
    for name in (row["title"], row["title"].lower(), row["id"].partition("-")[0]):
        assert upd_zoo("list", "--method", name, "--json").json == [row]
    answer = upd_zoo("list", "--method", "vea")
    assert answer.is_one_error(2)
    assert "Did you mean vae" in answer.err
    assert "Did you mean phantom-t2?" in upd_zoo("list", "--domain", "Phantom_T2").err


def test_a_hub_without_a_name_is_a_usage_error(upd_zoo: Command) -> None:
    for command in (["list"], ["pull", MODEL], ["verify", MODEL]):
        assert upd_zoo(*command, "--hub", "").is_one_error(2)


def test_what_a_hub_calls_its_models_steers_no_terminal(upd_zoo: Command, artefact: Path, tmp_path: Path) -> None:
    copy = write_artefact(tmp_path / "copy", name="vae-phantom-t1")
    config = (copy / CONFIG).read_text().replace("synthetic phantoms", "\\u001b[2J\\nrd-idrid  main")
    (copy / CONFIG).write_text(config)
    shutil.copytree(copy, tmp_path / "hub" / "vae-phantom-t1" / "main")
    answer = upd_zoo("list", "--hub", tmp_path / "hub")
    assert (answer.code, len(answer.out.splitlines())) == (0, 2)
    assert "\x1b" not in answer.out


# A folder that pull printed


@pytest.mark.parametrize("format_", ["onnx", "torch", "all"])
def test_what_pull_printed_is_verified_and_the_rest_is_named(upd_zoo: Command, format_: str) -> None:
    folder = Path(upd_zoo("pull", MODEL, "--format", format_).out.strip())
    text, data = upd_zoo("verify", folder), upd_zoo("verify", folder, "--json")
    assert (text.code, data.code) == (0, 0)
    left_out = data.json["not_asked_for"]
    assert (WEIGHTS in left_out, ONNX in left_out) == (format_ == "onnx", format_ == "torch")
    assert ("not asked for" in text.out) == bool(left_out)
    assert f"{data.json['files']} files of {MODEL}" in text.out


def test_of_what_was_asked_for_nothing_may_be_missing_or_wrong(upd_zoo: Command) -> None:
    folder = Path(upd_zoo("pull", MODEL).out.strip())
    right = (folder / ONNX).read_bytes()
    (folder / ONNX).write_bytes(right[:-1] + b"?")
    assert upd_zoo("verify", folder).is_one_error(5)
    (folder / ONNX).unlink()
    answer = upd_zoo("verify", folder)
    assert answer.is_one_error(5)
    assert f"{ONNX} is missing" in answer.err


def test_a_whole_artefact_is_verified_whole(upd_zoo: Command, artefact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / WEIGHTS).unlink()
    assert upd_zoo("verify", copy).is_one_error(5)


def test_a_pointer_of_git_lfs_is_called_one(upd_zoo: Command, artefact: Path, hub: Path, tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    copy, carried = shutil.copytree(artefact, tmp_path / "copy"), shutil.copytree(hub, tmp_path / "hub")
    (copy / ONNX).write_text(pointer)
    (carried / MODEL / "main" / ONNX).write_text(pointer)
    for command in (["verify", copy], ["pull", MODEL, "--hub", carried, "--cache-dir", tmp_path / "own"]):
        answer = upd_zoo(*command)
        assert answer.is_one_error(5)
        assert "is a pointer of Git LFS" in answer.err
        assert "git lfs pull" in answer.err


# A hub that is gone


def test_a_hub_that_is_gone_leaves_what_was_pulled(upd_zoo: Command, hub: Path, tmp_path: Path) -> None:
    carried = shutil.copytree(hub, tmp_path / "hub")
    folder = upd_zoo("pull", MODEL, "--hub", carried).out
    shutil.rmtree(carried)
    offline = upd_zoo("pull", MODEL, "--hub", carried, "--offline")
    assert (offline.code, offline.out) == (0, folder)
    assert "is used" not in offline.err
    unasked = upd_zoo("pull", MODEL, "--hub", carried)
    assert (unasked.code, unasked.out) == (0, folder)
    assert "is not there; what was pulled" in unasked.err
    missing = upd_zoo("pull", MODEL, "--hub", carried, "--format", "torch")
    assert missing.is_one_error(4)


def test_a_program_is_warned_that_a_hub_is_gone(
    environment: dict[str, str], hub: Path, artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    carried = shutil.copytree(hub, tmp_path / "hub")
    first = upd_zoo_package.load(MODEL, hub=str(carried), device="cpu", threads=1)
    shutil.rmtree(carried)
    with pytest.warns(UserWarning, match="is not there; what was pulled of vae-phantom-t2 before is used"):
        again = upd_zoo_package.load(MODEL, hub=str(carried), device="cpu", threads=1)
    assert again.config == first.config


_INTERRUPTED = """
import signal
import upd_zoo.hub.folder
upd_zoo.hub.folder.FolderHub._inside = lambda *arguments: signal.raise_signal(signal.SIGINT)
from upd_harness.cli.program import main
main()
"""


def test_an_interrupted_pull_says_what_is_true_of_a_pull(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, "pull", MODEL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == (
        "interrupted: what has arrived stays in the cache; the same command goes on where it stopped\n"
    )


# Publishing


def test_nothing_is_published_where_no_hub_is_named(publish: Command, artefact: Path, tmp_path: Path) -> None:
    for options in ([], ["--hub", ""], ["--hub", " "]):
        answer = publish(artefact, *options)
        assert answer.is_one_error(2)
        assert "hf://ORG or a folder" in answer.err
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "publish", f"MODEL={MODEL}"],  # noqa: S607 - the user's make
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "HUB"},
    )
    assert "--hub" not in done.stdout.splitlines()[-1]


def test_a_publication_says_who_will_see_it_and_what_it_replaced(publish: Command, measured: Path) -> None:
    first, again = (publish(measured, "--hub", "hub") for _ in range(2))
    assert first.out == f"{MODEL} is on hub\n"
    assert first.err.startswith(f"publishing {MODEL} to hub, visible to whoever can read the folder hub\n")
    assert again.out == f"{MODEL} is on hub, as it was before\n"
    assert publish(measured, "--hub", "hub", "--revision", "../x").code == 2


def test_a_model_that_was_not_measured_is_published_by_force_alone(publish: Command, artefact: Path) -> None:
    refused = publish(artefact, "--hub", "hub")
    assert refused.code == 2
    remedy = f"upd-zoo evaluate -m {artefact} --test-set phantom-t2 --into -o out/evaluation/{MODEL}; or add --force"
    assert remedy in refused.err
    assert publish(artefact, "--hub", "hub", "--force").code == 0


def test_a_dry_run_writes_what_would_go_up_and_publishes_nothing(
    publish: Command, measured: Path, tmp_path: Path
) -> None:
    (measured / "stray.txt").write_text("of the user")
    shown = publish(measured, "--hub", "hub", "--dry-run", "preview", "--json")
    assert shown.code == 0
    there = {name: record.bytes for name, record in inventory(tmp_path / "preview").items()}
    size = (measured / MANIFEST).stat().st_size
    assert shown.json["files"] == there | {MANIFEST: size}
    assert "stray.txt" not in there
    assert not (tmp_path / "hub").exists()
    assert publish(measured, "--dry-run", "preview").code == 0
    refused = publish(measured, "--hub", "hub", "--collection", "Brains")
    assert refused.is_one_error(2)
    assert "leave out --collection" in refused.err
    assert not (tmp_path / "hub").exists()


def test_a_run_is_no_artefact_and_the_one_within_is_named(publish: Command, artefact: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(artefact, run / "artefact")
    told = publish(run, "--hub", "hub")
    assert told.is_one_error(4)
    assert f"upd-zoo publish {run}/artefact" in told.err
    (run / "artefact").rename(tmp_path / "elsewhere")
    assert "upd-zoo train MODEL" in publish(run, "--hub", "hub").err
    shutil.copy(artefact / CONFIG, run)
    assert f"upd-zoo export {run}" in publish(run, "--hub", "hub").err


# Addresses


@pytest.mark.parametrize(
    "address", ["", "nonsense", "ftp://host", "http://", "http://[", "http://host:99999", "http://host:port"]
)
def test_an_endpoint_that_is_no_address_is_one_error(program: Command, address: str) -> None:
    for command in (["list"], ["pull", MODEL]):
        answer = program(*command, "--hub", "hf://lab", HF_ENDPOINT=address)
        assert answer.is_one_error(2), answer
        assert "HF_ENDPOINT" in answer.err


def test_a_password_in_an_address_is_shown_to_nobody(upd_zoo: Command, program: Command, tmp_path: Path) -> None:
    address = "http://user:s3cret@127.0.0.1:9"
    answers = [
        upd_zoo("doctor", HF_ENDPOINT=address),
        upd_zoo("doctor", "--json", HF_ENDPOINT=address),
        program("pull", MODEL, "--hub", "hf://lab", HF_ENDPOINT=address),
    ]
    assert "http://…@127.0.0.1:9" in answers[0].out
    assert not [answer for answer in answers if "s3cret" in answer.out + answer.err]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


# Bundles


def test_a_model_travels_as_a_user_types_it(upd_zoo: Command, tmp_path: Path) -> None:
    told = upd_zoo("bundle", "vae-phantom-t2", "-o", "models.tar")
    assert told.code == 0
    assert "upd-zoo pull models.tar" in told.err
    away = ("--hub", "away", "--cache-dir", "theirs", "--offline")
    taken = upd_zoo("pull", "models.tar", *away, "--json")
    (row,) = taken.json["models"]
    assert row["model"] == "vae-phantom-t2"
    assert upd_zoo("info", "vae-phantom-t2", *away).code == 0
    assert upd_zoo("bundle", "vae-phantom-t2", "-o", "models.zip").is_one_error(2)
    assert upd_zoo("pull", "nothing.tar", *away).is_one_error(4)


def test_a_model_proves_itself_here(upd_zoo: Command, artefact: Path, tmp_path: Path) -> None:
    told = upd_zoo("verify", MODEL, "--here", "--threads", "1")
    assert told.code == 0
    assert "0 of these images change sides" in told.out
    coarse = upd_zoo("verify", artefact, "--here", "--backend", "torch", "--precision", "bfloat16", "--json")
    assert coarse.code == 8
    assert (coarse.json["passed"], coarse.json["precision"]) == (False, "bfloat16")

    without = Path(shutil.copytree(artefact, tmp_path / "without"))
    shutil.rmtree(without / "proof")
    with_manifest(without, MODEL)
    assert "brings no images" in upd_zoo("verify", without, "--here").err
