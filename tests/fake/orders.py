"""What is asked of a table or figure in a test: stand-ins unless it says otherwise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fake.artefact import config_of, with_manifest
from fake.results import made_result
from upd_harness.grid.plan import ARTEFACT, EVALUATION, FINISHED, Plan
from upd_harness.reproduce.models import result_in
from upd_harness.reproduce.order import Order
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import CONFIG, Metrics
from upd_zoo.files import write_json
from upd_zoo.vocabulary import TEST_SETS, Protocol


def order_of(data: Path, protocol: Protocol = Protocol.SOUND, **changes: Any) -> Order:
    """Return an order from stores in a folder, its models beside them in `models`."""
    plan = Plan(data / "models", data, "tiny", protocol, "random", None, 1)
    return Order(plan, **{"backbone": "resnet18"} | changes)


def put(
    order: Order,
    method: str,
    test_set: str,
    seed: int,
    metrics: Metrics,
    *,
    ccd: bool = False,
    labels: Sequence[str] = ("made",),
) -> None:
    """Put a model that nobody trained, and its result on a test set, where a finished task of an order would lie.

    Args:
        order: In whose folder.
        method: Of the model.
        test_set: What it is said to be scored on.
        seed: Of its training.
        metrics: What it is said to have come to; the interval of each reaches 0.0196 to both sides.
        ccd: Whether it started from CCD.
        labels: What must be told of its figures.
    """
    domain = TEST_SETS[test_set].domain
    task = order.task(method, domain, seed, ccd=ccd)
    folder = order.plan.out / task.name
    made = config_of(domain, task.model).model_copy(update={"protocol": order.protocol})
    write_record(folder / ARTEFACT / CONFIG, made)
    with_manifest(folder / ARTEFACT, task.model)
    known = metrics.model_dump(exclude_none=True)
    intervals = {name: (value - 0.0196, value + 0.0196) for name, value in known.items()}
    pixels = {
        name: None if getattr(metrics, name) is None else low for name, low in (("ap_pixel", 0.02), ("dice", 0.04))
    }
    chance = {"random": Metrics(ap_image=0.3, auroc=0.5, **pixels)}
    result = made_result(
        task.model, test_set, seed=seed, metrics=metrics, intervals=intervals, baselines=chance, labels=[*labels]
    )
    write_record(result_in(folder / EVALUATION, test_set), result)
    write_json(folder / FINISHED, {"train": 1.0})
