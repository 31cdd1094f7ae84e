"""The command that evaluates: what it writes and shows, where its results go, and what cannot be evaluated."""

import json
import resource
import shutil
from pathlib import Path

import pytest

from fake.artefact import with_manifest
from fake.program import PROGRAM, Command, finished
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, MANIFEST, Manifest
from upd_zoo.vocabulary import Protocol

MODEL = "vae-phantom-t2"


def test_a_test_set_is_evaluated(upd_zoo: Command, tmp_path: Path) -> None:
    text = upd_zoo("evaluate", "-m", MODEL, "-o", "out")
    assert text.code == 0
    assert "AUROC" in text.out
    assert "random" in text.out
    assert upd_zoo("evaluate", "-m", MODEL, "-o", "out").is_one_error(2)
    data = upd_zoo("evaluate", "-m", MODEL, "-o", "out", "--overwrite", "--json")
    assert (data.json["test_set"], data.json["images"]) == ("phantom-t2", 12)


def test_a_full_disk_or_an_interrupt_leaves_an_earlier_evaluation_as_it_was(
    environment: dict[str, str], upd_zoo: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["evaluate", "-m", MODEL, "-o", "out", "-q"]
    assert upd_zoo(*command).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    full = finished([str(PROGRAM), *command, "--overwrite"], environment, tmp_path, preexec_fn=fill_disk)
    assert full.is_one_error(1)
    assert "out/results/phantom-t2." in full.err

    def interrupt(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("upd_harness.evaluation.contenders.gather", interrupt)
    stopped = upd_zoo(*command, "--overwrite")
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == "interrupted: nothing was written; an earlier evaluation stands as it was\n"
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_folder_needs_to_be_told_the_test_set(upd_zoo: Command, artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "a@b").mkdir()
    copy = shutil.copytree(artefact, tmp_path / "a@b" / "vae-phantom-t2")
    answer = upd_zoo("evaluate", "-m", copy, "-o", "out")
    assert answer.is_one_error(2)
    assert "--test-set" in answer.err
    told = upd_zoo("evaluate", "-m", copy, "-o", "out", "--test-set", "phantom-t2", "--json")
    assert (told.code, told.json["revision"]) == (0, "local")


def test_a_result_goes_into_the_artefact_onto_a_hub_and_is_listed(
    upd_zoo: Command, artefact: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(artefact, tmp_path / "copy" / MODEL)
    before = read_record(copy / MANIFEST, Manifest)
    told = upd_zoo("evaluate", "-m", copy, "-o", "out", "--test-set", "phantom-t2", "--into", "--json")
    assert told.code == 0
    assert f"upd-zoo publish {copy}" in told.err
    after = read_record(copy / MANIFEST, Manifest)
    assert (after.created, after.source_commit, after.versions) == (
        before.created,
        before.source_commit,
        before.versions,
    )
    assert after.changed is not None

    assert upd_zoo("publish", copy, "--hub", "theirs").code == 0
    (row,) = upd_zoo("list", "--hub", "theirs", "--json").json
    auroc = row["results"]["phantom-t2"]["figures"]["auroc"]
    assert auroc["value"] == pytest.approx(told.json["metrics"]["auroc"], abs=1e-6)
    assert "phantom-t2 (12 images): AP_i" in upd_zoo("list", "--hub", "theirs").out
    shown = upd_zoo("info", MODEL, "--hub", "theirs")
    assert f"AUROC {auroc['value']:.3f}" in shown.out
    assert upd_zoo("info", MODEL, "--hub", "theirs", "--json").json["results"]["phantom-t2"]["images"] == 12


def test_nothing_is_put_into_what_was_pulled(upd_zoo: Command, tmp_path: Path) -> None:
    refused = upd_zoo("evaluate", "-m", MODEL, "-o", "out", "--into")
    assert refused.is_one_error(2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("protocol", Protocol)
def test_a_model_is_evaluated_on_the_split_of_its_protocol(
    upd_zoo: Command, artefact: Path, tmp_path: Path, protocol: Protocol
) -> None:
    copy = shutil.copytree(artefact, tmp_path / "model")
    config = json.loads((copy / CONFIG).read_text())
    (copy / CONFIG).write_text(json.dumps(config | {"protocol": protocol}))
    with_manifest(copy, "vae-phantom-t2")
    answer = upd_zoo("evaluate", "-m", copy, "-o", "out", "--test-set", "ddr", "-q")
    assert answer.is_one_error(4)
    assert str(Path("ddr") / ("test-study." if protocol is Protocol.STUDY else "test.")) in answer.err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-m", "vae-phantom-stroke"], 4),
        (["-m", MODEL, "--test-set", "phantom-t3"], 2),
        (["-m", MODEL, "--test-set", "phantom-cxr"], 4),
        (["-m", MODEL, "--data", "nowhere"], 4),
        (["-m", "vae-ixi-t1"], 2),
    ],
)
def test_what_cannot_be_evaluated_is_one_error(upd_zoo: Command, options: list[str], code: int) -> None:
    assert upd_zoo("evaluate", *options, "-o", "out", "-q").is_one_error(code)


def test_an_evaluation_that_cannot_be_written_is_one_error(upd_zoo: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert upd_zoo("evaluate", "-m", MODEL, "-o", "file/out", "-q").is_one_error(1)
