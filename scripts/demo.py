"""The whole chain on phantoms: prepare, train, publish, pull, score, evaluate; one model per modality.

Every step is a command that can be typed; each is shown before it runs.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.app import run_alone

MODELS = {
    "vae-phantom-t2": ("10", "study", []),
    "vae-phantom-cxr": ("160", "study", []),
    "rd.mobilenetv2_100-phantom-fundus": ("160", "sound", ["--weights", "random", "--steps", "40"]),
}
"""Models of the demonstration, on how many phantom subjects each is trained, under which protocol, and how.

After so few steps a VAE redraws no texture, which the study's residual forgives. ImageNet weights need a network; the
demonstration goes without, and its labels say so.
"""
_SOME_FAILED = 3
_MARK = ".demonstration"
"""File by which the folder of a demonstration is known."""


def run(*command: str, accept: tuple[int, ...] = (0,)) -> None:
    """Show a command and run it; stop the demonstration where it fails."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - the commands stand in this file
    if code not in accept:
        raise SystemExit(code)


def make_room(out: Path) -> None:
    """Remove an earlier demonstration from its folder, and refuse a folder that holds anything else."""
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        print(f"error: The folder {out} holds no demonstration. Accepted: a new folder.", file=sys.stderr)
        raise SystemExit(2)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def demonstrate(model: str, subjects: str, protocol: str, options: list[str], out: Path) -> None:
    """Take one model from nothing to its reports."""
    domain = model.split("-", 1)[1]
    how = ("--protocol", protocol)
    run("upd-zoo", "prepare", domain, "--subjects", subjects, *how)
    run("upd-zoo", "train", model, "--profile", "quick", *how, *options, "-o", f"{out}/runs/{model}")
    run("upd-zoo", "publish", f"{out}/runs/{model}/artefact", "--hub", f"{out}/hub")
    run("upd-zoo", "pull", model)
    run("upd-zoo", "phantoms", domain, "-o", f"{out}/inputs/{domain}")
    scored = ("-m", model, "-o", f"{out}/scores/{domain}")
    run("upd-zoo", "score", f"{out}/inputs/{domain}", *scored, accept=(_SOME_FAILED,))
    run("upd-zoo", "evaluate", "-m", model, "-o", f"{out}/evaluation/{domain}")


def main(
    out: Annotated[Path, typer.Argument(help="A new folder, or that of an earlier one.")] = Path("out/demo"),
) -> None:
    """Run the whole chain on phantoms."""
    began = time.monotonic()
    make_room(out)
    os.environ |= {
        "UPD_ZOO_DATA": f"{out}/data",
        "UPD_ZOO_HUB": f"{out}/hub",
        "XDG_CACHE_HOME": f"{out.resolve()}/cache",
    }
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for model, (subjects, protocol, options) in MODELS.items():
        demonstrate(model, subjects, protocol, options, out)
    run("upd-zoo", "list")
    print(
        f"\nDone in {time.monotonic() - began:.0f} s, on synthetic phantoms: "
        "no number here says anything about patients."
    )
    print("One file in each folder of inputs is broken on purpose. Open in a browser:")
    for kind in ("scores", "evaluation"):
        for report in sorted((out / kind).glob("*/report.html")):
            print(f"  {report}")


if __name__ == "__main__":
    run_alone(main)
