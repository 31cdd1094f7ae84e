"""Train one model on a prepared store.

    python scripts/train.py vae-phantom-t2 --profile quick --out out/runs/vae-phantom-t2
    python scripts/train.py rd.mobilenetv2_100-idrid --weights mobilenetv2_100.safetensors --out out/runs/rd-idrid

A run that was stopped, however hard, goes on with --continue and ends as if it had not been.
"""

from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.making import begin, next_command
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_zoo.fitting.run import RunSettings
from upd_zoo.names import ModelId
from upd_zoo.recipe import FULL_PROFILE, load_recipe
from upd_zoo.stores.places import data_folder, store_path
from upd_zoo.stores.store import Store
from upd_zoo.training import train
from upd_zoo.vocabulary import Protocol


@reports_errors
def main(
    model: Annotated[str, typer.Argument(help="A name such as vae-phantom-t2.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    profile: Annotated[str, typer.Option(help="full (the study's budget) or quick.")] = FULL_PROFILE,
    protocol: Annotated[Protocol, typer.Option(help="study repeats its quirks, sound corrects them.")] = Protocol.SOUND,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu or cuda.")] = "auto",
    weights: Annotated[str | None, typer.Option(help="Of a backbone: random, timm, or a safetensors file.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--continue", help="Go on with the run in the folder.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")] = False,
) -> None:
    """Train one model."""
    name = ModelId.parse(model)
    recipe = load_recipe(name, protocol, profile, steps, batch_size)
    store = Store(store_path(data_folder(data), name.domain.id, "train", protocol))
    terminal = Terminal(no_progress=no_progress)
    kept = "what was learnt up to the last checkpoint is kept; --continue goes on with it"
    with when_interrupted(kept), terminal.bar(f"training {name}") as advance:
        config = train(
            name,
            recipe,
            store,
            out,
            RunSettings(seed, device, weights, resume),
            on_begin=lambda config, note: begin(terminal, name.name, config.training, note),
            on_progress=advance,
        )
    export = ["python", "scripts/export.py", out, "--out", f"out/artefacts/{name.name}"]
    terminal.say(next_command(*export, *(["--data", data] if data else [])))
    terminal.data(config.model_dump(mode="json", by_alias=True), str(out))


if __name__ == "__main__":
    typer.run(main)
