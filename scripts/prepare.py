"""Fill the prepared stores of a domain, or of one test set, that training and evaluation read.

    python scripts/prepare.py phantom-t2
    python scripts/prepare.py idrid --root path/to/IDRiD
    python scripts/prepare.py ddr --root path/to/DDR-dataset --protocol study

Standard output names the stores; progress and failures go to standard error. Exit code 3: some inputs could not be
used, the rest is written. A run that is repeated makes again only what is missing or was made otherwise.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from upd_zoo.data.source import StoreName
from upd_zoo.data.sources import Progress, data_folder, prepare
from upd_zoo.errors import InputError, UpdZooError
from upd_zoo.vocabulary import DOMAINS, Protocol, get_domain, get_test_set

_TALK = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    domain: Annotated[str, typer.Argument(help="A domain, such as phantom-t2 or idrid, or one test set.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the data set in its original layout.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the prepared stores; or set UPD_ZOO_DATA.")] = None,
    seed: Annotated[int, typer.Option(help="Which population of phantoms.")] = 0,
    subjects: Annotated[int | None, typer.Option(help="Phantoms to train on; the other parts scale with it.")] = None,
    protocol: Annotated[Protocol, typer.Option(help="study: its own splits, where it has them.")] = Protocol.SOUND,
    force: Annotated[bool, typer.Option("--force", help="Make again what stands.")] = False,
) -> None:
    """Fill the train and validation stores of a domain and the stores of its test sets."""
    try:
        target = get_domain(domain) if domain in DOMAINS else get_test_set(domain)
        folder = data_folder(data)
        with _bars() as bars:
            done = prepare(
                target,
                folder,
                root,
                seed=seed,
                subjects=subjects,
                protocol=protocol,
                force=force,
                on_progress=_Shown(bars).show,
            )
    except UpdZooError as error:
        _TALK.print(f"error: {error}", markup=False)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    for facts in done.stores:
        typer.echo(
            f"{folder / facts.name}: {facts.images} images of {facts.subjects} subjects, {facts.anomalous} anomalous"
        )
    for failure in done.failures:
        _TALK.print(f"left out of {failure.store}: {failure.input}: {failure.error}", markup=False)
    if done.failures:
        raise typer.Exit(InputError.exit_code)


def _bars() -> Bars:
    return Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=_TALK)


class _Shown:
    """One bar for each store."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[StoreName, TaskID] = {}

    def show(self, progress: Progress) -> None:
        """Show how far a store is."""
        if progress.store not in self.tasks:
            self.tasks[progress.store] = self.bars.add_task(str(progress.store), total=progress.inputs)
        self.bars.update(self.tasks[progress.store], completed=progress.done)


if __name__ == "__main__":
    typer.run(main)
