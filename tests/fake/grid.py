"""Stand-ins for the tasks of a grid; a process of its own can import them."""

import os
import signal

from fake.results import made_result
from upd_harness.grid.plan import Plan, Task
from upd_zoo.artefact.records import Metrics, Result
from upd_zoo.errors import NotFoundError


def quick(task: Task, plan: Plan, patience: float) -> dict[str, float]:
    """End at once; what has the seed 1 fails, what has the seed 2 is killed, what has the seed 3 has a fault."""
    if task.seed == 1:
        raise NotFoundError("there is no store", "a prepared one")
    if task.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if task.seed == 3:
        raise AssertionError("a fault")
    return {"train": 1.5}


def no_network(task: Task, plan: Plan, patience: float) -> dict[str, float]:
    """Stand for a pre-training that fails."""
    raise NotFoundError("there is no network")


def result(seed: int, auroc: float | None, *, model: str = "vae-phantom-t2", labels: tuple[str, ...] = ()) -> Result:
    """Return a made result of 8 images, 3 of them anomalous, whose metrics are a half but for the one that is given."""
    metrics = Metrics(ap_image=0.5, auroc=auroc, ap_pixel=0.5, dice=0.5)
    return made_result(
        model,
        revision=f"seed-{seed}",
        seed=seed,
        anomalous=3,
        metrics=metrics,
        baselines={"random": Metrics(ap_image=0.375, auroc=0.5, ap_pixel=None, dice=None)},
        labels=["synthetic phantoms", *labels],
    )
