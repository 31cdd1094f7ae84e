"""Where work is carried out: options of one engine are not those of the other, and parts leave nothing out."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fake.program import Command
from upd_harness.engines.engine import Ended
from upd_harness.grid.plan import Task, part_of
from upd_zoo.errors import UsageError

GRID = ("--method", "vae", "--domain", "phantom-t2")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--address", "here:1"), "--address says nothing of the engine local. Do this: add --engine ray."),
        (("--engine", "ray", "--jobs", "2"), "--jobs says nothing of the engine ray. Do this: add --engine local."),
    ],
)
def test_an_option_of_another_engine_is_refused(
    upd_zoo: Command, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    answer = upd_zoo("grid", tmp_path, *GRID, *options)
    assert answer.code == 2
    assert told in answer.err


def test_without_ray_the_extra_that_brings_it_is_named(
    upd_zoo: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = upd_zoo("grid", tmp_path, *GRID, "--engine", "ray")
    assert answer.code == 7
    assert "pip install 'upd-zoo[cluster]'" in answer.err


def test_parts_share_all_tasks_and_stay_the_same() -> None:
    tasks = [Task("vae-phantom-t2", seed) for seed in range(7)]
    parts = [part_of(tasks, part, 3) for part in range(3)]
    assert sorted(task.seed for part in parts for task in part) == [*range(7)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    with pytest.raises(UsageError, match="no part 3 of 3"):
        part_of(tasks, 3, 3)


def test_a_dry_run_of_a_part_prints_its_tasks(upd_zoo: Command, tmp_path: Path) -> None:
    seeds = ("--seed", "0", "--seed", "1", "--seed", "2")
    answer = upd_zoo("grid", tmp_path, *GRID, *seeds, "--num-parts", "2", "--part-id", "1", "--dry-run")
    assert [task["seed"] for task in answer.json] == [1]


def test_a_failure_is_raised_where_its_answer_is_asked_for() -> None:
    assert Ended("item", 5, None).result() == 5
    with pytest.raises(MemoryError):
        Ended("item", None, MemoryError()).result()


def say_who_and_wait(path: Path) -> None:
    """Write the number of this process, and wait longer than any test does."""
    path.write_text(str(os.getpid()))
    time.sleep(600)


WAIT = """
import sys
from pathlib import Path
from test_engines import say_who_and_wait
from upd_harness.engines.local import apart
if __name__ == "__main__":
    apart(say_who_and_wait, Path(sys.argv[1]))
"""


def lives(number: int) -> bool:
    """Return whether a process runs; what has ended and nobody has asked for does not."""
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system keeps no record of processes")
def test_what_works_for_a_process_that_was_killed_ends_too(tmp_path: Path) -> None:
    script, told = tmp_path / "wait.py", tmp_path / "number"
    script.write_text(WAIT)
    paths = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path))}
    driver = subprocess.Popen([sys.executable, str(script), str(told)], env=os.environ | paths)
    assert until(lambda: told.exists() and told.read_text() != "")
    worker = int(told.read_text())
    assert lives(worker)
    driver.kill()
    driver.wait()
    assert until(lambda: not lives(worker))
