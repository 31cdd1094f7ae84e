"""Which models a table is made of: those of a hub are taken, but not beside others of another budget."""

from dataclasses import replace
from pathlib import Path

import pytest

from fake.artefact import write_artefact
from fake.orders import order_of
from upd_harness.engines.local import LocalEngine
from upd_harness.reproduce.models import find
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, Config
from upd_zoo.errors import NotFoundError
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import Protocol


def test_beside_models_that_are_made_one_of_another_budget_counts_as_missing(tmp_path: Path) -> None:
    artefact, hub = write_artefact(tmp_path / "made"), open_hub(tmp_path / "hub", tmp_path / "cache")
    hub.publish(artefact, ModelId.parse("vae-phantom-t1"))
    order = order_of(tmp_path, Protocol.STUDY, hub=hub)
    task, budget = order.task("vae", "phantom-t1", 0), read_record(artefact / CONFIG, Config).training.profile
    assert order.plan.profile != budget
    assert find(task, order).origin.startswith(str(tmp_path / "hub"))
    making = replace(order, engine=LocalEngine(1))
    with pytest.raises(NotFoundError, match="is not made"):
        find(task, making)
    alike = replace(making, plan=replace(order.plan, profile=budget))
    assert find(task, alike).origin.startswith(str(tmp_path / "hub"))
