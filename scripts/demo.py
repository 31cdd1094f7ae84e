"""The demonstration: real images scored by the models of the package, then the whole chain on phantoms.

Every step is a command that can be typed. What is printed is a line for each; the commands and all that they say are in
the log.
"""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from upd_harness.cli.app import run_alone

DOMAIN: Final = "phantom-t2"
MODEL: Final = f"dae-{DOMAIN}"
"""It beats plain intensity clearly after two minutes of one core, without weights from elsewhere."""
_SUBJECTS: Final = "10"
_SOME_FAILED: Final = 3
_MARK: Final = ".demonstration"
"""File by which the folder of a demonstration is known."""
_TAIL: Final = 15


@dataclass(frozen=True)
class Step:
    """Commands that belong together.

    Attributes:
        title: What they do.
        commands: Without the name of the program.
        page: Report that they leave, below the folder of the demonstration; empty for none.
        accept: Exit codes that are right.
    """

    title: str
    commands: Sequence[Sequence[str]]
    page: str = ""
    accept: Sequence[int] = (0,)


def steps(out: Path) -> list[Step]:
    """Return what is done, in order; all of it below a folder."""
    inputs, artefact = f"{out}/inputs", f"{out}/run/artefact"
    return [
        Step(
            "real images scored by the models in the package",
            [
                ("examples", "-o", f"{out}/examples"),
                ("score", f"{out}/examples", "--exclude", "brain/*", "-o", f"{out}/examples-scored"),
            ],
            "examples-scored/report.html",
        ),
        Step("phantoms of brains drawn and prepared", [("prepare", DOMAIN, "--subjects", _SUBJECTS)]),
        Step(f"{MODEL} trained and exported", [("train", MODEL, "--profile", "quick", "-o", f"{out}/run")]),
        Step(
            "measured beside trivial baselines",
            [("evaluate", "-m", artefact, "--test-set", DOMAIN, "--into", "-o", f"{out}/evaluated")],
            "evaluated/report.html",
        ),
        Step(
            "published to a hub that is a folder, and pulled",
            [("publish", artefact, "--hub", f"{out}/hub"), ("pull", MODEL, "--hub", f"{out}/hub")],
        ),
        Step(
            "other phantoms scored, one file of them broken",
            [
                ("phantoms", DOMAIN, "-o", inputs),
                ("score", inputs, "-m", MODEL, "--hub", f"{out}/hub", "-o", f"{out}/scored"),
            ],
            "scored/report.html",
            (0, _SOME_FAILED),
        ),
    ]


def make_room(out: Path) -> None:
    """Remove an earlier demonstration from its folder, and refuse a folder that holds anything else."""
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        print(f"error: The folder {out} holds no demonstration. Accepted: a new folder.", file=sys.stderr)
        raise SystemExit(2)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def carry_out(step: Step, log: Path) -> None:
    """Run the commands of a step; stop the demonstration where one fails, with the end of what it said."""
    for command in step.commands:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"\n$ upd-zoo {shlex.join(command)}\n")
            stream.flush()
            code = subprocess.run(["upd-zoo", *command], stdout=stream, stderr=stream, check=False).returncode  # noqa: S603, S607 - the commands stand in this file, and the program beside this Python
        if code not in step.accept:
            said = log.read_text(encoding="utf-8").splitlines()[-_TAIL:]
            print("failed", *said, f"All that was said is in {log}.", sep="\n", file=sys.stderr)
            raise SystemExit(code)


def findings(out: Path) -> list[str]:
    """Return what came of the phantoms: how good the model is beside its best rival, and what ranks first."""
    (result,) = (out / "evaluated" / "results").glob("*.json")
    document = json.loads(result.read_text(encoding="utf-8"))
    own, baselines = document["metrics"], document["baselines"]
    rivals = {
        metric: max((each[metric], name) for name, each in baselines.items() if each[metric] is not None)
        for metric in ("auroc", "ap_pixel")
    }
    best = " and ".join(f"{value:.2f} ({name})" for value, name in rivals.values())
    with (out / "scored" / "results.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["status"] == "ok"]
    first = max(rows, key=lambda row: float(row["score"]))["input"]
    return [
        f"On phantoms, whose figures say nothing of patients: AUROC {own['auroc']:.2f}, AP_p {own['ap_pixel']:.2f}; "
        f"the best trivial scores {best}.",
        f"Of the phantoms that were scored, {first} ranks first.",
    ]


def main(
    out: Annotated[Path, typer.Argument(help="A new folder, or that of an earlier one.")] = Path("out/demo"),
) -> None:
    """Score real images, then run the whole chain on phantoms."""
    began = time.monotonic()
    make_room(out)
    os.environ |= {"UPD_ZOO_DATA": f"{out}/data", "XDG_CACHE_HOME": f"{out.resolve()}/cache"}
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = out / "log.txt"
    print(f"All of it goes to {out}; what the commands say, to {log}.")
    for number, step in enumerate(steps(out), start=1):
        print(f"{number}  {step.title:<50}", end="", flush=True)
        started = time.monotonic()
        carry_out(step, log)
        print(f"{time.monotonic() - started:4.0f} s  {out / step.page if step.page else ''}".rstrip(), flush=True)
    print(*findings(out), f"Done in {time.monotonic() - began:.0f} s. Open the pages in a browser.", sep="\n")


if __name__ == "__main__":
    run_alone(main)
