"""What a table or figure is asked to be made of: which images, under which protocol, with which models."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upd_harness.evaluation.published import published
from upd_harness.grid.plan import Choice, Plan, Start, Task, tasks_of
from upd_harness.reproduce.material import BANNERS, Material
from upd_zoo.errors import NotFoundError
from upd_zoo.recipe import FULL_PROFILE
from upd_zoo.stores.places import store_path
from upd_zoo.stores.store import Facts, Store
from upd_zoo.vocabulary import TEST_SETS, Protocol, TestSet

if TYPE_CHECKING:  # importing what asks a hub takes longer than --help may
    from upd_harness.engines.engine import Engine
    from upd_zoo.hub.hub import Hub


@dataclass(frozen=True, slots=True)
class Habit:
    """What is usual with a material, where nothing else is asked for.

    Attributes:
        profile: Budget of the recipes.
        seeds: Of the trainings.
        backbone: timm's name of the network of methods that take one; None for the study's own.
        weights: What backbones start from; None for what the recipe says.
    """

    profile: str
    seeds: Sequence[int]
    backbone: str | None
    weights: str | None


_LIGHT: Final = Habit("quick", (0,), "mobilenetv2_100", "packaged")
HABITS: Final[Mapping[Material, Habit]] = {
    Material.STUDY: Habit(FULL_PROFILE, (10, 20, 30), None, None),
    Material.OPEN: _LIGHT,
    Material.PHANTOM: _LIGHT,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What a table or figure is made of.

    Attributes:
        plan: Where stores and models lie, and how models are made: `plan.out` is the folder of a grid, in which
            finished models are looked for and missing ones are made.
        material: Whose images.
        methods: Ids; empty for all that the study has.
        seeds: Of the trainings, one at least.
        backbone: timm's name of the network of methods that take one; None for the study's own.
        engine: What makes the models that are missing; None where none are made.
        hub: Where models are looked for that are not in the folder; None for nowhere.
        only: Test sets of the study to which a figure is kept; empty for all that it shows.
    """

    plan: Plan
    material: Material = Material.PHANTOM
    methods: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    backbone: str | None = None
    engine: "Engine | None" = None
    hub: "Hub | None" = None
    only: Sequence[str] = ()

    @property
    def data(self) -> Path:
        """Folder of the prepared stores."""
        return self.plan.data

    @property
    def protocol(self) -> Protocol:
        """Under which stores are read and models made."""
        return self.plan.protocol

    @property
    def banner(self) -> str:
        """What must stand above everything made by this order."""
        whose, profile = BANNERS[self.material], self.plan.profile
        if self.material is not Material.STUDY:
            return whose
        less = [] if profile == FULL_PROFILE else [f"MODELS OF THE {profile.upper()} PROFILE, NOT OF ITS BUDGET"]
        if parts := self._parts():
            less.append(f"FEWER THAN HALF OF THE IMAGES OF {', '.join(parts).upper()}")
        return f"{whose}, BUT {', AND '.join(less)}" if less else whose

    def _parts(self) -> list[str]:
        """Return what is prepared of the study's data, but with fewer than half of the images of its Table I."""
        parts = []
        for name, entry in published("table-i").items():
            target, part = name.split("/")
            facts = facts_at(store_path(self.data, target, part, self.protocol))
            if facts is not None and 2 * facts.images < entry["images"]:
                parts.append(target)
        return list(dict.fromkeys(parts))

    def tests(self, column: str) -> list[TestSet]:
        """Return the test sets that stand for one of the study: those with a store, or the first where none has.

        Args:
            column: Test set of the study.
        """
        known = stand_ins(self.material, column)
        return [each for each in known if self.has_store(each)] or known[:1]

    def has_store(self, test_set: TestSet) -> bool:
        """Return whether the images of a test set are prepared, of the side that the plan asks for or any other."""
        path = store_path(self.data, test_set.id, "test", self.protocol)
        return any(path.parent.glob(f"{path.name}*/"))

    def task(self, method: str, domain: str, seed: int, *, ccd: bool = False, fraction: float = 1.0) -> Task:
        """Return the task of a grid that makes one model.

        Args:
            method: Its id.
            domain: What it is trained on.
            seed: Of its training.
            ccd: Whether it starts from CCD pre-training.
            fraction: Share of the training subjects.
        """
        starts = (Start.CCD,) if ccd else ()
        (task,) = tasks_of(Choice((method,), (domain,), starts, (seed,), self.backbone, (fraction,)))
        return task


def facts_at(folder: Path) -> Facts | None:
    """Return what a store says of itself; None where none is prepared."""
    try:
        return Store(folder).facts
    except NotFoundError:
        return None


def columns() -> list[str]:
    """Return the test sets of the study."""
    return [*_stand_ins()[Material.PHANTOM]]


def stand_ins(material: Material, column: str) -> list[TestSet]:
    """Return the test sets that stand for one of the study, whether they are prepared or not."""
    if material is Material.STUDY:
        return [TEST_SETS[column]]
    return [TEST_SETS[name] for name in _stand_ins()[material][column]]


@cache
def _stand_ins() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((files("upd_harness") / "reproduce" / "stand_ins.toml").read_text(encoding="utf-8"))


def usual_material(data: Path, protocol: Protocol, among: Iterable[str]) -> Material:
    """Return the study's own where the images of one of its test sets are prepared, else phantoms.

    Args:
        data: Folder of the prepared stores.
        protocol: Under which they are read.
        among: Test sets of the study.
    """
    own = (store_path(data, column, "test", protocol) for column in among)
    return Material.STUDY if any(path.is_dir() for path in own) else Material.PHANTOM
