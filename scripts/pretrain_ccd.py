"""Pre-train by CCD the network that a model starts from.

    python scripts/pretrain_ccd.py vae-phantom-t2 --profile quick --out out/pretraining/vae-phantom-t2
    python scripts/train.py vae-phantom-t2-ccd --profile quick --weights out/pretraining/vae-phantom-t2/backbone --out …

The network is as wide as the model's recipe says, in the same profile and protocol, and takes pixels as the model does;
models that agree in all this can start from the same. A run that was stopped, however hard, goes on with --continue and
ends as if it had not been. Any project can read the weights of a network that timm makes:

    timm.create_model("resnet18", num_classes=0).load_state_dict(safetensors.torch.load_file("model.safetensors"))
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.making import begin, next_command
from upd_harness.cli.terminal import Terminal, reports_errors, when_interrupted
from upd_zoo.fitting.run import RunSettings
from upd_zoo.names import ModelId
from upd_zoo.pretrain.run import BACKBONE, pretrain
from upd_zoo.recipe import FULL_PROFILE, load_recipe
from upd_zoo.stores.places import data_folder, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import Protocol


@reports_errors
def main(
    model: Annotated[str, typer.Argument(help="A name such as vae-phantom-t2, with or without -ccd.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the network will be in its folder backbone.")],
    data: Annotated[Path | None, typer.Option(help="Prepared stores.", envvar="UPD_ZOO_DATA")] = None,
    profile: Annotated[str, typer.Option(help="full (the study's budget) or quick.")] = FULL_PROFILE,
    protocol: Annotated[Protocol, typer.Option(help="study repeats its faults, sound corrects them.")] = Protocol.SOUND,
    seed: Annotated[int, typer.Option(help="Decides everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option("-d", "--device", help="auto, cpu or cuda.")] = "auto",
    weights: Annotated[str | None, typer.Option(help="To start from: random, timm, or a safetensors file.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    resume: Annotated[bool, typer.Option("--continue", help="Go on with the run in the folder.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Draw no progress bars.")] = False,
) -> None:
    """Pre-train the network that a model starts from."""
    name = replace(ModelId.parse(model), ccd=False)
    base = load_recipe(name, protocol, profile)
    store = Store(store_path(data_folder(data), name.domain.id, "train", protocol))
    terminal = Terminal(no_progress=no_progress)
    kept = "what was learnt up to the last checkpoint is kept; --continue goes on with it"
    with when_interrupted(kept), terminal.bar(f"pre-training for {name}") as advance:
        backbone = pretrain(
            base,
            store,
            out,
            RunSettings(seed, device, weights, resume),
            steps=steps,
            batch_size=batch_size,
            on_begin=lambda backbone, note: begin(terminal, backbone.id, backbone.training, note),
            on_progress=advance,
        )
    train = ["python", "scripts/train.py", f"{name.name}-ccd", "--weights", out / BACKBONE]
    terminal.say(
        next_command(*train, "--out", f"out/runs/{name.name}-ccd", "--profile", profile, "--protocol", protocol)
    )
    terminal.data(backbone.model_dump(mode="json", by_alias=True), str(out / BACKBONE))


if __name__ == "__main__":
    typer.run(main)
