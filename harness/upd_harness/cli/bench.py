"""The command `upd-zoo bench`."""

from typing import Annotated

import typer

from upd_harness.cli.fetching import announce, load
from upd_harness.cli.options import Origin, Running, command
from upd_harness.cli.terminal import Terminal
from upd_harness.report.text import facts


@command
def bench(
    origin: Origin,
    running: Running,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often each is timed; the fastest counts.")] = 5,
    *,
    terminal: Terminal,
) -> None:
    """Measure a model's images per second on this machine.

    Of its bare network, and as it is loaded, which checks its images and watches its network.
    """
    from upd_harness.speed.measure import as_document, measure

    model = load(origin, running, terminal)
    announce(model, origin.name, terminal)
    with terminal.bar("measuring") as advance:
        speed = measure(model, running.batch_size, repeats, advance)
    document = as_document(model, speed, running.threads)
    machine = document["machine"]
    shown = {
        "bare network": f"{speed.network:.4g} images/s",
        "loaded model": f"{speed.model:.4g} images/s",
        "ratio": f"{speed.ratio:.3f}",
        "batches": f"{speed.batch_size} images, the fastest of {speed.repeats} times",
        "device": model.device,
        "machine": ", ".join((machine["processor"], f"{machine['cores']} cores", *machine["accelerators"])),
        "load": ", ".join(map(str, machine["load"])),
    }
    terminal.data(document, facts(shown, terminal.width))
