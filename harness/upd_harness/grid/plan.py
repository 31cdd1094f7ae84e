"""What a grid is made of: one task for every method, domain, start, seed and share of the training set.

Nothing here needs torch: a plan can be read before anything is installed that carries it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Final

from upd_zoo.errors import UsageError
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.roster import known_methods
from upd_zoo.vocabulary import TEST_SETS, Protocol, TestSet, get_domain

PHANTOMS: Final = ("phantom-t2", "phantom-cxr", "phantom-fundus")
"""The domains of a grid that names none: one of each modality, and always to be had."""
ARTEFACT: Final = "artefact"
EVALUATION: Final = "evaluation"
"""Folders within that of a task: what was exported, and an evaluation for each test set."""
FINISHED: Final = "times.json"
"""The file that a task writes last: how many seconds each of its stages took."""


class Start(StrEnum):
    """What the network starts from that describes images."""

    RANDOM = "random"
    IMAGENET = "imagenet"
    CCD = "ccd"


@dataclass(frozen=True, slots=True)
class Plan:
    """What all tasks of a grid have in common.

    Attributes:
        out: Folder of the grid.
        data: Folder of the prepared stores.
        profile: Budget of the recipes.
        protocol: Of the recipes.
        weights: What backbones start from, unless the start of a task says otherwise; None for what the recipe says.
        steps: Of every phase, instead of the recipe's.
        threads: CPU threads of one task; None leaves torch's own choice.
        side: Height and width of images in pixels; None for what the recipes say.
        any_code: Whether what other versions of the code have made counts as made.
    """

    out: Path
    data: Path
    profile: str
    protocol: Protocol
    weights: str | None
    steps: int | None
    threads: int | None
    side: int | None = None
    any_code: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Of which models a grid is made; whatever is empty takes all that is usual.

    Attributes:
        methods: Ids; else all methods.
        domains: Ids; else the phantoms.
        starts: Each makes every model anew; else once, as the weights of the plan say.
        seeds: Else 0.
        backbone: timm's name of the network of methods that take one; None for the study's own.
        fractions: Of the training subjects, in [0, 1], 0 for a single one; else all.
    """

    methods: Sequence[str] = ()
    domains: Sequence[str] = ()
    starts: Sequence[Start] = ()
    seeds: Sequence[int] = ()
    backbone: str | None = None
    fractions: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One model of one seed: to be trained, exported and evaluated.

    Attributes:
        model: Its name.
        seed: Of its training.
        start: What its network starts from; whatever the plan says where it is empty.
        fraction: Which share of the subjects it is trained on, in as many steps as on all; 0 is a single subject.
    """

    model: str
    seed: int
    start: Start | None = None
    fraction: float = 1.0

    @property
    def row(self) -> str:
        """Its row of the tables: the model, and its start and its share where that is not said by the model's name."""
        start = f"+{self.start}" if self.start is Start.RANDOM else ""
        return f"{self.model}{start}{fraction_suffix(self.fraction)}"

    @property
    def name(self) -> str:
        """Its folder within that of the grid."""
        return f"{self.row}@seed-{self.seed}"

    def tests(self) -> list[TestSet]:
        """Return the test sets of its domain."""
        domain = ModelId.parse(self.model).domain.id
        return [test_set for test_set in TEST_SETS.values() if test_set.domain == domain]


def fraction_suffix(fraction: float) -> str:
    """Return what tells the name of a folder that a share of the subjects was trained on; nothing for all."""
    return "" if fraction == 1 else f"+fraction-{fraction:g}"


def tasks_of(choice: Choice) -> list[Task]:
    """Return the tasks of a grid in the order in which they are made, none twice.

    Raises:
        NotFoundError: There is no such method, or no such domain.
        UsageError: A method takes no networks that CCD pre-trains, or no such backbone.
    """
    methods, domains = choice.methods or known_methods(), choice.domains or PHANTOMS
    models = product(domains, methods, choice.starts or (None,))
    return list(
        dict.fromkeys(
            Task(_model(method, domain, start, choice.backbone).name, seed, start, fraction)
            for domain, method, start in models
            for fraction in choice.fractions or (1.0,)
            for seed in choice.seeds or (0,)
        )
    )


def _model(method: str, domain: str, start: Start | None, backbone: str | None) -> ModelId:
    plain = ModelId(method, None, get_domain(domain).id, ccd=start is Start.CCD)
    return replace(plain, backbone=backbone) if "backbone" in load_recipe(plain).settings else plain


def part_of(tasks: Sequence[Task], part: int, parts: int) -> list[Task]:
    """Return the tasks of one of several processes that share a grid: every so-manyth, from its own number on.

    Args:
        tasks: Of the grid, whose order decides.
        part: Which, from 0.
        parts: How many there are.

    Raises:
        UsageError: There is no such part.
    """
    if part >= parts:
        raise UsageError(
            f"there is no part {part} of {parts}", f"0 to {parts - 1}, for parts are counted from 0", "add --num-parts"
        )
    return list(tasks[part::parts])
