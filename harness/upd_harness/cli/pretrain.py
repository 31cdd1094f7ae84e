"""The command `upd-zoo pretrain`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from upd_harness.cli.making import KEPT, Fitting, heard, needs_train, next_command, options, pretraining_folder
from upd_harness.cli.options import command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.names import ModelId


@command
def pretrain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name such as vae-phantom-t2, with or without -ccd.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run; default: out/pretraining/MODEL.")
    ] = None,
    *,
    fitting: Fitting,
    terminal: Terminal,
) -> None:
    """Pre-train by CCD the network that a model starts from.

    The network is written to the run's folder backbone. It has the widths, profile, protocol and pixel range of the
    model's recipe; models that agree in all of these can start from the same network. A run that was stopped, even
    killed, goes on with --continue and ends as if it had not been.
    """
    with needs_train("Pre-training"):
        from upd_zoo.pretrain.run import BACKBONE
        from upd_zoo.pretrain.run import pretrain as pretrain_network
    from upd_zoo.recipe import FULL_PROFILE, load_recipe
    from upd_zoo.stores.places import data_folder, store_path
    from upd_zoo.stores.store import Store

    name = replace(ModelId.parse(model), ccd=False)
    run = pretraining_folder(name) if output is None else output
    base = load_recipe(name, fitting.protocol, fitting.profile or FULL_PROFILE, side=fitting.side)
    store = Store(store_path(data_folder(fitting.data), name.domain.id, "train", fitting.protocol, base.side))
    with when_interrupted(KEPT), terminal.bar(f"pre-training for {name}") as advance:
        how = heard(terminal, f"the network of {name.name}", advance) | {"steps": fitting.steps}
        backbone = pretrain_network(base, store, run, fitting.settings(), batch_size=fitting.batch_size, **how)
    own = options(profile=fitting.profile, protocol=fitting.protocol, side=fitting.side, data=fitting.data)
    weights = [] if output is None else options(weights=run / BACKBONE)
    terminal.say(next_command("upd-zoo", "train", f"{name.name}-ccd", *weights, *own))
    record = backbone.model_dump(mode="json", by_alias=True)
    terminal.data({"run": str(run), "backbone": str(run / BACKBONE), "config": record}, str(run / BACKBONE))
