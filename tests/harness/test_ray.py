"""Two Ray nodes on this machine: workers and drivers are killed, and figures are those of the local engine."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import yaml

from fake.program import PROGRAM
from fake.stores import write_tiny_store
from upd_zoo.artefact.records import RDF

pytest.importorskip("ray", reason="the extra 'cluster', which brings Ray, is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif("TEST_RAY" not in os.environ, reason="two nodes of Ray, five minutes: set TEST_RAY=1 to run it"),
]

SEEDS: Final = range(6)
GRID: Final = (
    *("--method", "vae", "--domain", "phantom-cxr", "--profile", "tiny", "--protocol", "study", "--threads", "1"),
    *(word for seed in SEEDS for word in ("--seed", str(seed))),
)
TIMED: Final = ("run.json", "report.html", "times.json", "train.jsonl", "model.ts", "manifest.json", ".png")
"""Files that tell the time, or where code was called from: times, logs, the manifest and pages with them."""
PATIENCE: Final = 400.0


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """Those of a user of a cluster that asks for a token."""
    return os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "OMP_NUM_THREADS": "1"}


@contextmanager
def ended(command: list[str], variables: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Give a process that does not outlive the block."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=variables, text=True, **pipes)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def nodes(variables: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Two nodes, each of one processor."""
    with ended([sys.executable, str(Path(__file__).parents[1] / "fake" / "ray_nodes.py")], variables) as process:
        yield process


@pytest.fixture(scope="module")
def address(nodes: "subprocess.Popen[str]") -> str:
    assert nodes.stdout is not None
    found = nodes.stdout.readline().strip()
    assert found, "no cluster has started"
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed, part in enumerate(("train", "validation")):
        store = folder / "phantom-cxr" / part
        write_tiny_store(store, 1, 12, seed=seed, name=f"phantom-cxr/{part}", subjects=part)
    test = folder / "phantom-cxr" / "test"
    write_tiny_store(test, 1, 18, 7, masks=True, anomalous=6, name="phantom-cxr/test", subjects="test")
    return folder


def run(variables: dict[str, str], *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=PATIENCE * 3)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def local(data: Path, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid as this machine makes it without Ray."""
    out = tmp_path_factory.mktemp("local") / "grid"
    run(variables, "grid", out, *GRID, "--data", data, "--jobs", "2")
    return out


def wait_for(what: Callable[[], object], driver: "subprocess.Popen[str]") -> None:
    """Wait until something is there, while the driver lives."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert driver.poll() is None, "the driver has ended"
        assert time.monotonic() < until, "nothing happens"
        time.sleep(0.05)


def tasks_under(nodes: "subprocess.Popen[str]") -> list[int]:
    """Return the processes in which nodes carry out tasks, newest last; whatever else runs Ray here is left alone."""
    parents, titles = {}, {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
            titles[int(status.parent.name)] = (status.parent / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
    found = [pid for pid, title in titles.items() if title.startswith("ray::_carried")]
    return sorted(pid for pid in found if nodes.pid in (parents.get(parents.get(pid, 0)), parents.get(pid)))


def figures(folder: Path) -> dict[str, bytes | object]:
    """Return what a grid or an evaluation wrote, but for `TIMED` files and for their hashes."""
    found: dict[str, bytes | object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(TIMED) and path.name != "table.json":
            name = path.relative_to(folder).as_posix()
            content = path.read_bytes()
            if path.parent.name == "results" and path.suffix == ".json":
                content = json.dumps(json.loads(content) | {"manifest": ""}).encode()
            if path.name == RDF:
                document = yaml.safe_load(content)
                assert document["weights"]["torchscript"].pop("sha256")
                content = document
            found[name] = content
    return found


def test_a_grid_whose_worker_and_driver_were_killed_goes_on_and_ends_as_the_local_one(
    nodes: "subprocess.Popen[str]", address: str, local: Path, data: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "grid"
    command: list[str | Path] = ["grid", out, *GRID, "--data", data, "--engine", "ray", "--address", address]
    with ended([str(PROGRAM), *map(str, command)], variables) as driver:
        wait_for(lambda: [*out.glob("*/run/config.json")], driver)
        worker = tasks_under(nodes)[0]
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: [*out.glob("*/times.json")], driver)
        driver.kill()
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/times.json")}
    assert 0 < len(before) < len(SEEDS)
    again = run(variables, *command)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.stderr.count("finished before") >= len(before)
    assert figures(out) == figures(local)


def test_a_sharded_evaluation_on_ray_is_that_of_one_process(
    address: str, local: Path, data: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    artefact = local / "vae-phantom-cxr@seed-0" / "artefact"
    command = ("evaluate", "-m", artefact, "--test-set", "phantom-cxr", "--data", data, "--threads", "1")
    run(variables, *command, "-o", tmp_path / "one")
    run(variables, *command, "-o", tmp_path / "ray", "--engine", "ray", "--address", address, "--shards", "4")
    assert figures(tmp_path / "one") == figures(tmp_path / "ray")


def test_another_token_is_refused_and_told(address: str, variables: dict[str, str], data: Path, tmp_path: Path) -> None:
    stranger = variables | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command: list[str | Path] = [
        PROGRAM,
        "grid",
        tmp_path,
        *GRID,
        "--data",
        data,
        "--engine",
        "ray",
        "--address",
        address,
    ]
    done = subprocess.run(command, env=stranger, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 6, done.stderr
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here" in done.stderr
