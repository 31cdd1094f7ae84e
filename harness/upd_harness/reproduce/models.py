"""Models that a table or figure needs: found in the folder of a grid or on a hub, made where that is asked for.

A finished task of the grid comes first, then what a hub holds, its cache included. Results are read where they were
measured on the very images that are prepared now; where a model is there and its result is not, it is measured.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from upd_harness.evaluation.run import evaluate
from upd_harness.grid.identity import IDENTITY, identity_of, settle
from upd_harness.grid.plan import ARTEFACT, EVALUATION, FINISHED, Task
from upd_harness.reproduce.order import Order
from upd_zoo.artefact.folder import first_lost
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CONFIG, RESULTS, Config, Result
from upd_zoo.errors import NotFoundError, OfflineError, UpdZooError, UsageError
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report
from upd_zoo.stores.places import store_name, store_path
from upd_zoo.stores.store import Store, preparing
from upd_zoo.vocabulary import TestSet

MEASURED: Final = "measured"
"""Folder, within that of the models, of what was measured of models that a hub holds."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that is there.

    Attributes:
        folder: Of its artefact.
        origin: Where it was found: `folder`, or the address of a hub with the revision.
        config: What it is.
        evaluation: Folder of its evaluations, one for each test set.
    """

    folder: Path
    origin: str
    config: Config
    evaluation: Path


def find(task: Task, order: Order) -> Found:
    """Return the model of a task.

    Raises:
        NotFoundError: It is neither in the folder nor on the hub, or in the folder and no longer whole.
        UsageError: It was made otherwise than the order says: in the folder by anything that decides what it comes to.
        UpdZooError: The hub cannot be asked, or what it holds is broken.
    """
    own = order.plan.out / task.name
    made = (own / FINISHED).is_file()
    if made and (own / IDENTITY).is_file():
        settle(own, identity_of(task, order.plan), order.plan)
    if made and (lost := first_lost(own / ARTEFACT)):
        raise NotFoundError(
            f"{task.name} was finished, but its {lost} is missing or damaged since",
            "a whole artefact",
            f"add --train to make it again, or put it back into {own / ARTEFACT}",
        )
    found = _found(own / ARTEFACT, "folder", own / EVALUATION) if made else _pulled(task, order)
    if found.config.protocol is not order.protocol:
        raise UsageError(
            f"{task.name} was made under the protocol {found.config.protocol}",
            f"models of the protocol {order.protocol}",
            "choose another folder with --models, or the other --protocol",
        )
    return found


def _found(folder: Path, origin: str, evaluation: Path) -> Found:
    return Found(folder, origin, read_record(folder / CONFIG, Config), evaluation)


def _pulled(task: Task, order: Order) -> Found:
    """Return a model as a hub holds it: of its seed's revision, the first seed being the main one too.

    Where missing models are made, one of another budget counts as missing: seeds of one row are made alike.
    """
    revisions = [f"seed-{task.seed}", *(["main"] if task.seed == order.seeds[0] else [])]
    if order.hub is not None and task.fraction == 1:
        for revision in revisions:
            with suppress(NotFoundError, OfflineError):
                pulled = order.hub.fetch(replace(ModelId.parse(task.model), revision=revision))
                evaluation = order.plan.out / MEASURED / f"{task.model}@{revision}"
                found = _found(pulled.folder, f"{order.hub.location} at {pulled.revision}", evaluation)
                if order.engine is None or found.config.training.profile == order.plan.profile:
                    return found
    raise NotFoundError(f"{task.name} is not made", "a finished model", "add --train, or name a folder with --models")


def result_of(found: Found, test_set: TestSet, order: Order, on_progress: Report) -> Result:
    """Return what a model scores on a test set: as it was measured before on these images, or measured now.

    Where no store stands, a result that the artefact brings with it is taken.

    Raises:
        NotFoundError: The images are not prepared, and the artefact brings no result of them.
        UpdZooError: The model does not fit the images, or a file is broken.
    """
    side = found.config.input.side
    path = store_path(order.data, test_set.id, "test", order.protocol, side)
    brought, kept = found.folder / RESULTS / f"{test_set.id}.json", result_in(found.evaluation, test_set.id)
    earlier = [read_record(each, Result) for each in (kept, brought) if each.is_file()]
    if not path.is_dir():
        if earlier:
            return earlier[0]
        name = store_name(test_set.id, "test", order.protocol, side)
        raise NotFoundError(f"the store {name} is not prepared", "a prepared store", preparing(test_set.id, path.name))
    store = Store(path)
    same = [each for each in earlier if each.store == store.sha256]
    return same[0] if same else _measured(found, test_set, store, order, on_progress)


def result_in(evaluation: Path, test_set: str) -> Path:
    """Return where the evaluations of a model keep the result of a test set."""
    return evaluation / test_set / RESULTS / f"{test_set}.json"


def _measured(found: Found, test_set: TestSet, store: Store, order: Order, on_progress: Report) -> Result:
    from upd_zoo.runtime.folder import load_folder

    model = load_folder(found.folder, device="cpu", threads=order.plan.threads)
    revision = f"seed-{found.config.training.seed}"
    return evaluate(
        model, test_set, store, found.evaluation / test_set.id, revision=revision, on_progress=on_progress
    ).result


def make_missing(tasks: Iterable[Task], order: Order, on_progress: Report) -> dict[str, str]:
    """Make the models of tasks that are not there, if that is asked for; what is half made goes on where it stood.

    Returns:
        Why each that failed did so, by its name.
    """
    if order.engine is None:
        return {}
    missing = [task for task in dict.fromkeys(tasks) if not _is_there(task, order)]
    if not missing:
        return {}
    from upd_harness.grid.outcomes import carry_out

    failed = {}
    for outcome in carry_out(missing, order.plan, order.engine):
        if outcome.error:
            failed[outcome.task.name] = outcome.error
        on_progress(Progress(outcome.what, outcome.done, outcome.total, outcome.task.name))
    return failed


def _is_there(task: Task, order: Order) -> bool:
    try:
        find(task, order)
    except NotFoundError:
        return False
    except UpdZooError:  # it is there, and told of where its figures are wanted
        return True
    return True
