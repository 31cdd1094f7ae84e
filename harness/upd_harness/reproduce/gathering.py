"""The models that a figure shows on a test set, and why each that is not shown is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from upd_harness.grid.plan import Task
from upd_harness.reproduce.material import Material
from upd_harness.reproduce.models import Found, find, result_of
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.result import Block
from upd_zoo.artefact.records import Result
from upd_zoo.errors import NotFoundError, UpdZooError
from upd_zoo.progress import Report
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import TestSet


@dataclass(frozen=True, slots=True)
class Present:
    """A model that is there, with its result and the images that it was measured on."""

    task: Task
    found: Found
    result: Result
    store: Store


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is there of what a figure shows, and why the rest is not, by the names of tasks."""

    present: list[Present] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(
        self, tasks: Sequence[Task], test_set: TestSet, order: Order, failed: Mapping[str, str], on_progress: Report
    ) -> None:
        """Look for models and their results on a test set.

        Args:
            tasks: That make them.
            test_set: Which.
            order: What is asked for.
            failed: Why those failed that could not be made.
            on_progress: Told how far a model is measured whose result is not there.
        """
        for task in tasks:
            try:
                found = find(task, order)
                result = result_of(found, test_set, order, on_progress)
                side = found.config.input.side
                store = Store(store_path(order.data, test_set.id, "test", order.protocol, side))
            except UpdZooError as error:
                self.missing[f"{task.name} on {test_set.id}"] = failed.get(task.name, str(error))
            else:
                self.present.append(Present(task, found, result, store))

    def check_some(self, item: str) -> None:
        """Refuse to draw nothing.

        Raises:
            NotFoundError: No model is there.
        """
        if not self.present:
            name, reason = next(iter(self.missing.items()), ("", "no test set stands for those of the study"))
            raise NotFoundError(
                f"nothing of {item} can be drawn{f', such as {name}' if name else ''}: {reason}",
                "a finished model and its test set, at least",
                f"upd-zoo reproduce {item} --material phantom --train",
            )

    def block(self) -> list[Block]:
        """Return what is missing, for people; nothing where nothing is."""
        notes = [f"{name}: {reason}" for name, reason in self.missing.items()]
        return [Block("Not shown", notes=notes)] if notes else []


def headline(order: Order, shown: str) -> str:
    """Return the title of a picture: what it shows, how its models were made, and whose images it is of."""
    budget = f"{order.plan.profile} profile, {order.protocol} protocol"
    whose = "" if order.material is Material.STUDY else f"{order.material.value.upper()}, NOT THE STUDY'S DATA\n"
    return f"{whose}{shown}\n{budget}"
