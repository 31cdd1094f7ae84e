"""The command `upd-zoo reproduce`."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from upd_harness.cli.engines import Where
from upd_harness.cli.making import ProtocolOption, SideOption, StepsOption
from upd_harness.cli.options import Data, Place, command
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_harness.engines.engine import Engine
from upd_harness.reproduce.material import Material
from upd_zoo.errors import InputError, MissingExtraError, ToleranceError
from upd_zoo.vocabulary import Protocol, get_test_set

if TYPE_CHECKING:  # importing what measures takes longer than --help may
    from upd_harness.reproduce.order import Order

_KEPT: Final = "models that are finished are kept; the same command goes on with the rest"


@dataclass(frozen=True, kw_only=True)
class Wanted(Place):
    """What a table or figure is made of.

    Attributes:
        data: Folder of the prepared stores; None for the default one.
        material: Whose images; None for the study's own where they are prepared, else phantoms.
        protocol: Whether the study's faults are repeated.
        models: Folder of a grid; None for one of its own for each profile and protocol.
        train: Whether what is missing is made.
        threads: CPU threads of each model; None for what torch takes.
        method: Ids of methods; None for all that the study has.
        test_set: Test sets of the study to which a figure is kept; None for all.
        seed: Of the trainings; None for what is usual with the material.
        profile: Which budget of the recipes; None for what is usual.
        backbone: Of methods that take one; None for what is usual, empty for the study's own.
        weights: What backbones start from; None for what is usual.
        steps: Of every phase, instead of the recipe's.
        side: Of images in pixels, instead of the recipe's.
        any_code: Whether what other versions of the code have made is taken.
    """

    data: Data = None
    material: Annotated[
        Material | None,
        typer.Option("--material", help="Whose images; default: study where its stores stand, else phantom."),
    ] = None
    protocol: ProtocolOption = Protocol.SOUND
    models: Annotated[
        Path | None, typer.Option("--models", help="Folder of a grid whose models are used, and made with --train.")
    ] = None
    train: Annotated[bool, typer.Option("--train", help="Make the models that are missing.")] = False
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of each model.")] = None
    method: Annotated[list[str] | None, typer.Option("--method", help="May be given again; else all.")] = None
    test_set: Annotated[
        list[str] | None,
        typer.Option("--test-set", help="Of the study, in figures 2 to 4; may be given again; else all."),
    ] = None
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="May be given again; default: 10, 20, 30; of stand-ins 0.")
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="full, quick or tiny; default: full; of stand-ins quick, of phantoms in figures 2 to 4 tiny.",
        ),
    ] = None
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="'' for the study's own, the default; of stand-ins mobilenetv2_100."),
    ] = None
    weights: Annotated[
        str | None, typer.Option("--weights", help="Of backbones: random, timm, packaged, or a file.")
    ] = None
    steps: StepsOption = None
    side: SideOption = None
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Take models that another version of the code has made.")
    ] = False

    def order(
        self, item: str, material: Material, data: Path, output: Path | None, where: Where, engine: Engine
    ) -> "Order":
        """Return it as the library takes it: what was not asked for is as is usual with a material."""
        from upd_harness.grid.plan import Plan
        from upd_harness.reproduce.items import usual_profile
        from upd_harness.reproduce.order import HABITS, Order

        habit = HABITS[material]
        profile = self.profile or usual_profile(item, material)
        models = self.models or (output or Path("out", "reproduced")) / "models" / f"{self.protocol}-{profile}"
        weights = self.weights or habit.weights
        if weights is not None and Path(weights).is_file():
            weights = str(Path(weights).absolute())
        threads = where.threads(self.threads)
        making = (profile, self.protocol, weights, self.steps, threads, self.side, self.any_code)
        plan = Plan(models.absolute(), data.absolute(), *making)
        backbone = habit.backbone if self.backbone is None else self.backbone or None
        maker = engine if self.train else None
        only = [get_test_set(name).id for name in self.test_set or ()]
        seeds = self.seed or habit.seeds
        return Order(plan, material, self.method or (), seeds, backbone, maker, self.open(), only)


@command
def reproduce(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="table-i to table-vi, fig-1 to fig-4.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for its files; default: none are written.")
    ] = None,
    *,
    wanted: Wanted,
    where: Where,
    terminal: Terminal,
) -> int:
    """Reproduce a table or figure of the study.

    What was measured here stands beside what the study printed. Exit code 3:
    a table of scores holds none of ours. Exit code 8: a figure on the study's
    own images lies outside its tolerance.
    """
    from upd_harness.reproduce.items import check_known, usual
    from upd_harness.reproduce.items import reproduce as made_again
    from upd_harness.reproduce.page import write_reproduction
    from upd_zoo.stores.places import data_folder

    check_known(item)
    if wanted.train and find_spec("torch") is None:
        raise MissingExtraError("Making models", "train")
    data = data_folder(wanted.data)
    material = wanted.material or usual(item, data, wanted.protocol)
    with when_interrupted(_KEPT), where.opened() as engine, terminal.bar(f"reproducing {item}") as advance:
        result = made_again(item, wanted.order(item, material, data, output, where, engine), advance)
    paths = write_reproduction(result, output) if output is not None else []
    if terminal.as_json and result.banner:  # text begins with it
        terminal.say(result.banner)
    terminal.data(result.document, "\n".join((result.told, *(["", *map(str, paths)] if paths else []))))
    if not result.measured:
        terminal.say(f"nothing of {item} was measured, so it holds what the study printed alone")
        return InputError.exit_code
    return ToleranceError.exit_code if result.outside else 0
