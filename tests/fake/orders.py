"""What is asked of a table or figure in a test: stand-ins unless it says otherwise."""

from pathlib import Path
from typing import Any

from upd_harness.grid.plan import Plan
from upd_harness.reproduce.order import Order
from upd_zoo.vocabulary import Protocol


def order_of(data: Path, protocol: Protocol = Protocol.SOUND, **changes: Any) -> Order:
    """Return an order from stores in a folder, its models beside them in `models`."""
    plan = Plan(data / "models", data, "tiny", protocol, "random", None, 1)
    return Order(plan, **{"backbone": "resnet18"} | changes)
