"""The program: one line and the right exit code whatever goes wrong, data on stdout, talk on stderr."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fake.inputs import head, rows_of, write_broken, write_picture, write_volume
from fake.program import PROGRAM, Command, finished
from upd_zoo.artefact.records import CARD, CONFIG, MANIFEST, ONNX, WEIGHTS

MODEL = "vae-phantom-t2"
_CODES = (
    "0 done",
    "1 error",
    "2 usage",
    "3 some inputs failed",
    "4 not found",
    "5 integrity",
    "6 offline",
    "7 optional dependency missing",
    "8 outside tolerance",
    "130 interrupted",
)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in range(3):
        write_volume(tmp_path / "scans" / f"{number}.nii.gz", head(number))
    return tmp_path / "scans"


@pytest.fixture
def spoilt_hub(hub: Path, tmp_path: Path) -> Path:
    """A hub whose model has one wrong bit."""
    folder = tmp_path / "spoilt"
    shutil.copytree(hub, folder)
    (path,) = folder.rglob("model.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return folder


# Talk and data


def test_help_tells_every_command_and_exit_code(program: Command) -> None:
    answer = program("--help", COLUMNS="200")
    assert answer.code == 0
    for command in ("list", "info", "pull", "verify", "score", "evaluate", "doctor"):
        assert f" {command} " in answer.out
    told = " ".join(answer.out.split())
    assert all(code in told for code in _CODES)


@pytest.mark.parametrize(
    "arguments", [["score"], ["nonsense"], ["list", "--nonsense"], ["score", "x", "--workers", "0"]]
)
def test_what_is_no_command_is_a_usage_error(program: Command, arguments: list[str]) -> None:
    answer = program(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "Traceback" not in answer.err


def test_the_models_of_a_hub_are_listed(program: Command) -> None:
    text, data = program("list"), program("list", "--json")
    assert (text.code, data.code) == (0, 0)
    assert MODEL in text.out
    assert "tiny test store" in text.out
    (row,) = data.json
    assert (row["id"], row["revision"], data.err) == (MODEL, "main", "")


def test_an_empty_hub_lists_nothing_and_says_so(upd_zoo: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    text, data = (upd_zoo("list", "--hub", tmp_path / "empty", *option) for option in ([], ["--json"]))
    assert (text.code, text.out, data.json) == (0, "", [])
    assert "empty holds no model yet" in text.err
    assert "upd-zoo train makes one, upd-zoo publish puts it there" in text.err
    assert "empty holds no such model" in upd_zoo("list", "--hub", tmp_path / "empty", "--method", "vae").err


def test_a_list_is_filtered_by_domain_or_test_set(upd_zoo: Command) -> None:
    assert [row["id"] for row in upd_zoo("list", "--domain", "phantom-t2", "--json").json] == [MODEL]
    assert upd_zoo("list", "--domain", "idrid", "--json").json == []
    assert upd_zoo("list", "--domain", "fantom-t2").is_one_error(2)


def test_a_model_is_described(upd_zoo: Command, artefact: Path) -> None:
    text, data = upd_zoo("info", MODEL), upd_zoo("info", artefact, "--json")
    assert (text.code, data.code) == (0, 0)
    assert "subject threshold" in text.out
    assert data.json["config"]["id"] == data.json["manifest"]["id"] == MODEL


def test_a_machine_is_described(upd_zoo: Command, hub: Path) -> None:
    answer = upd_zoo("doctor", "--json")
    assert answer.code == 0
    assert answer.json["hub"] == str(hub)
    assert {"extra train", "extra prepare", "extra figures"} <= answer.json.keys()


def test_the_cache_of_each_kind_of_hub_is_named(upd_zoo: Command, hub: Path, tmp_path: Path) -> None:
    assert upd_zoo("doctor", "--json", "--cache-dir", tmp_path / "own").json["cache"] == str(tmp_path / "own")
    assert upd_zoo("doctor", "--json", "--cache-dir", "own", "--hub", "hf://someone").json["cache"] == "own"
    pulled = Path(upd_zoo("pull", MODEL).out.strip())
    assert pulled.is_relative_to(upd_zoo("doctor", "--json").json["cache"])


# Models


def test_pulling_prints_the_folder_of_what_was_asked_for(upd_zoo: Command) -> None:
    answer = upd_zoo("pull", MODEL)
    assert answer.code == 0
    folder = Path(answer.out.strip())
    assert (folder / ONNX).is_file()
    assert (folder / CARD).is_file()
    assert not (folder / WEIGHTS).exists()
    assert (Path(upd_zoo("pull", "--format", "all", MODEL, "--json").json["folder"]) / WEIGHTS).is_file()


def test_an_unknown_model_is_not_found_and_the_closest_is_offered(upd_zoo: Command) -> None:
    answer = upd_zoo("pull", "vea-phantom-t2")
    assert answer.is_one_error(4)
    assert f"Did you mean {MODEL}?" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["pull", "vae-nowhere"], 2),
        (["pull", f"{MODEL}@seed-9"], 4),
        (["pull", MODEL, "--revision", "seed-9"], 4),
        (["pull", f"{MODEL}@main", "--revision", "main"], 2),
        (["pull", MODEL, "--format", "pickle"], 2),
        (["pull", MODEL, "--hub", "nowhere"], 4),
        (["pull", MODEL, "--hub", "ftp://nowhere"], 2),
        (["info", "rd-idrid"], 4),
        (["verify", "rd-idrid"], 4),
    ],
)
def test_what_cannot_be_pulled_is_one_error(upd_zoo: Command, arguments: list[str], code: int) -> None:
    assert upd_zoo(*arguments).is_one_error(code)


@pytest.mark.parametrize("arguments", [["pull", MODEL], ["list"], ["info", MODEL]])
def test_an_unreachable_hub_is_offline(environment: dict[str, str], arguments: list[str]) -> None:
    without_waiting = "import time; time.sleep = lambda seconds: None; from upd_harness.cli.program import main; main()"
    answer = finished([sys.executable, "-c", without_waiting, *arguments, "-q", "--hub", "hf://lab"], environment)
    assert answer.is_one_error(6), answer


def test_a_model_that_nobody_published_is_told_without_a_connection_too(upd_zoo: Command) -> None:
    answer = upd_zoo("pull", "rd-brats-t2", "-q", "--hub", "hf://upd-zoo")
    assert answer.is_one_error(6), answer
    assert "the catalogue of this version does not list rd-camcan-t2" in answer.err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_what_is_not_in_the_cache_is_not_there_offline(program: Command, how: str) -> None:
    answer = (
        program("pull", MODEL, "--hub", "hf://lab", "--offline")
        if how == "option"
        else program("pull", MODEL, "--hub", "hf://lab", HF_HUB_OFFLINE="1")
    )
    assert answer.is_one_error(6)
    assert "cache" in answer.err


def test_wrong_bytes_on_the_hub_are_never_kept(upd_zoo: Command, spoilt_hub: Path, scans: Path, tmp_path: Path) -> None:
    cache = ("--hub", spoilt_hub, "--cache-dir", tmp_path / "own")
    assert upd_zoo("pull", MODEL, *cache).is_one_error(5)
    assert upd_zoo("score", scans, "-m", MODEL, "-o", tmp_path / "out", *cache).is_one_error(5)
    assert not list((tmp_path / "own").rglob("model.onnx"))
    assert not (tmp_path / "out").exists()


def test_wrong_bytes_in_the_cache_are_fetched_again(upd_zoo: Command) -> None:
    folder = Path(upd_zoo("pull", MODEL).out.strip())
    right = (folder / ONNX).read_bytes()
    (folder / ONNX).write_bytes(right[:-1] + b"?")
    assert upd_zoo("pull", MODEL).code == 0
    assert (folder / ONNX).read_bytes() == right


def test_a_changed_artefact_is_not_used(upd_zoo: Command, artefact: Path, scans: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact, tmp_path / "copy")
    (tmp_path / "copy" / CONFIG).write_text((artefact / CONFIG).read_text() + " ")
    assert upd_zoo("verify", tmp_path / "copy").is_one_error(5)
    assert upd_zoo("score", scans, "-m", tmp_path / "copy", "-o", tmp_path / "out").is_one_error(5)


def test_a_whole_model_is_verified(upd_zoo: Command, artefact: Path) -> None:
    text, data = upd_zoo("verify", MODEL), upd_zoo("verify", artefact, "--json")
    assert (text.code, data.code) == (0, 0)
    assert {row["format"] for row in data.json["parity"]} == {"onnx", "torchscript", "safetensors"}


def test_a_model_that_admits_a_difference_is_outside_tolerance(
    upd_zoo: Command, artefact: Path, tmp_path: Path
) -> None:
    shutil.copytree(artefact, tmp_path / "copy")
    manifest = json.loads((artefact / MANIFEST).read_text())
    manifest["parity"][0]["map_difference"] = 0.5
    (tmp_path / "copy" / MANIFEST).write_text(json.dumps(manifest))
    answer = upd_zoo("verify", tmp_path / "copy", "--json")
    assert answer.code == 8
    assert answer.json["parity"][0]["map_difference"] == 0.5
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")


def test_a_run_stands_for_its_artefact(upd_zoo: Command, artefact: Path, scans: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact, "run/artefact")
    assert f"{MODEL}\n" in upd_zoo("info", "run").out
    assert upd_zoo("score", scans / "0.nii.gz", "-m", "run", "-o", "out").code == 0
    (row,) = rows_of(tmp_path / "out")
    assert row["model"]["revision"] == "local"


# Scoring


def test_a_folder_is_scored(upd_zoo: Command, scans: Path, tmp_path: Path) -> None:
    answer = upd_zoo("score", scans, "-m", MODEL, "-o", "out")
    assert answer.code == 0
    assert "3 scored" in answer.out
    assert "tiny test store" in answer.err, "the labels are told"
    assert [row["input"] for row in rows_of(tmp_path / "out")] == ["0.nii.gz", "1.nii.gz", "2.nii.gz"]


def test_scoring_with_json_says_nothing_else_on_stdout(program: Command, scans: Path, tmp_path: Path) -> None:
    answer = program("score", scans, "-m", MODEL, "-o", tmp_path / "out", "--json", "-q")
    assert (answer.code, answer.err) == (0, "")
    assert (answer.json["ok"], answer.json["report"]) == (3, str(tmp_path / "out" / "report.html"))


def test_some_broken_inputs_are_three_and_so_are_all(upd_zoo: Command, scans: Path, tmp_path: Path) -> None:
    write_broken(tmp_path / "broken")
    shutil.copytree(tmp_path / "broken", scans, symlinks=True, dirs_exist_ok=True)
    some = upd_zoo("score", scans, "-m", MODEL, "-o", "some", "--json")
    every = upd_zoo("score", tmp_path / "broken", "-m", MODEL, "-o", "every", "--json")
    assert (some.code, some.json["ok"], some.json["failed"]) == (3, 3, 8)
    assert (every.code, every.json["ok"], every.json["failed"]) == (3, 0, 8)
    assert "Traceback" not in some.err + every.err
    assert Path(tmp_path / every.json["report"]).is_file()


def test_an_image_of_another_kind_is_three(
    upd_zoo: Command, colour_artefact: Path, scans: Path, tmp_path: Path
) -> None:
    eye = write_picture(tmp_path / "eyes" / "eye.jpg", 0)
    assert upd_zoo("score", eye, "-m", MODEL, "-o", "a").code == 3
    assert upd_zoo("score", scans, "-m", colour_artefact, "-o", "b").code == 3
    assert upd_zoo("score", eye, "-m", colour_artefact, "-o", "c").code == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["nowhere", "-m", MODEL], 4),
        (["empty", "-m", MODEL], 4),
        (["scans", "-m", "vea-phantom-t2"], 4),
        (["scans", "-m", MODEL, "--continue", "--overwrite"], 2),
        (["scans", "-m", MODEL, "--num-parts", "2", "--part-id", "2"], 2),
        (["scans", "-m", MODEL, "--num-parts", "2", "--part-id", "two"], 2),
        (["scans", "-m", MODEL, "--num-parts", "2", "--part-id", "all"], 2),
        (["scans", "-m", MODEL, "--num-parts", "2", "--part-id", "all", "--continue"], 2),
        (["scans", "-m", MODEL, "--exclude", "*.nii.gz"], 4),
        (["scans", "-m", MODEL, "--backend", "pickle"], 2),
        (["scans", "-m", MODEL, "--precision", "bfloat16"], 2),
        (["scans", "-m", MODEL, "--precision", "float7", "--backend", "torch"], 2),
        (["scans", "-m", MODEL, "-d", "abacus"], 2),
        (["scans", "-m", MODEL, "-d", "cuda:99"], 2),
    ],
)
def test_what_cannot_be_scored_is_one_error_and_no_output(
    upd_zoo: Command, scans: Path, tmp_path: Path, options: list[str], code: int
) -> None:
    (tmp_path / "empty").mkdir()
    answer = upd_zoo("score", *options, "-o", "out", "-q")
    assert answer.is_one_error(code), answer
    assert not (tmp_path / "out").exists()


def test_a_full_folder_a_limit_and_a_second_run(upd_zoo: Command, scans: Path, tmp_path: Path) -> None:
    command = ("score", scans, "-m", MODEL, "-o", "out", "-q")
    assert upd_zoo(*command, UPD_ZOO_MAX_INPUT_BYTES="lots").is_one_error(2)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert upd_zoo(*command, UPD_ZOO_MAX_INPUT_BYTES="100").code == 3
    assert upd_zoo(*command).is_one_error(2)
    assert "3 scored" in upd_zoo(*command, "--continue").out
    assert upd_zoo(*command, "--continue", "--json").json["reused"] == 3
    assert upd_zoo(*command, "--overwrite", "--json").json["reused"] == 0


def test_parts_of_a_run_are_put_together(upd_zoo: Command, scans: Path, tmp_path: Path) -> None:
    for number in ("0", "1"):
        command = ("score", scans, "-m", MODEL, "-o", "out", "--num-parts", "2", "--part-id", number)
        assert upd_zoo(*command).code == 0
    answer = upd_zoo(*command[:6], "--num-parts", "2", "--part-id", "all", "--json")
    assert (answer.json["ok"], answer.json["inputs"]) == (3, 3)
    assert len(rows_of(tmp_path / "out")) == 3
    assert upd_zoo(*command[:6], "--continue", "--json").json["reused"] == 3


def test_a_full_disk_is_one_error_and_the_run_can_go_on(
    environment: dict[str, str], upd_zoo: Command, scans: Path, tmp_path: Path
) -> None:
    upd_zoo("pull", MODEL)
    command = ["score", str(scans), "-m", MODEL, "-o", "out", "-q"]

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    answer = finished([str(PROGRAM), *command], environment, tmp_path, preexec_fn=fill_disk)
    assert answer.is_one_error(1)
    assert "The results cannot be written" in answer.err
    assert "--continue" in answer.err
    assert not list((tmp_path / "out").rglob("*.tmp.*"))
    assert upd_zoo(*command, "--continue").code == 0
    assert len(rows_of(tmp_path / "out")) == 3


_UNTIL_INTERRUPTED = """
import os, sys, signal
from upd_harness.scoring.writing import Writer
plain = Writer.row
def slow(self, opened, *rest):
    row = plain(self, opened, *rest)
    if opened.source.name == "1.nii.gz":
        os.kill(os.getpid(), signal.SIGINT)
    return row
Writer.row = slow
from upd_harness.cli.program import main
main()
"""


def test_an_interrupted_run_says_so_and_can_go_on(
    environment: dict[str, str], upd_zoo: Command, tmp_path: Path
) -> None:
    for number in range(12):
        write_volume(tmp_path / "scans" / f"{number:x}.nii.gz", head(number))
    command = ["score", "scans", "-m", MODEL, "-o", "out", "-q"]
    done = finished([sys.executable, "-c", _UNTIL_INTERRUPTED, *command], environment, tmp_path)
    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted: what is finished is kept; --continue goes on with it\n"
    assert len(rows_of(tmp_path / "out")) < 12
    answer = upd_zoo(*command, "--continue", "--json")
    assert (answer.code, answer.json["ok"]) == (0, 12)


_INTERRUPTED_AT_ONCE = """
import signal
import upd_zoo.hub
upd_zoo.hub.open_hub = lambda *arguments: signal.raise_signal(signal.SIGINT)
from upd_harness.cli.program import main
main()
"""


def test_an_interrupt_before_the_work_is_130_too(environment: dict[str, str]) -> None:
    answer = finished([sys.executable, "-c", _INTERRUPTED_AT_ONCE, "list"], environment)
    assert (answer.code, len(answer.err.splitlines())) == (130, 1)


def test_a_reader_that_goes_away_is_no_error(environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [str(PROGRAM), "list", "--json"]
    done = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
