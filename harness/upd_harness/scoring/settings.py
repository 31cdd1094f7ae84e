"""How a folder is scored, and what of that makes a run what it is."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from upd_harness.scoring.heads import Heads
from upd_harness.scoring.output import Mode
from upd_harness.scoring.panel import Panel
from upd_harness.scoring.parts import Shard
from upd_harness.scoring.search import Listing, list_inputs
from upd_zoo import __version__


@dataclass(frozen=True, slots=True)
class Settings:
    """How a folder is scored.

    Attributes:
        batch_size: Images per call of the network.
        workers: Threads that read and write files.
        mode: `new` refuses an output folder that is not empty, `continue` finishes it, `overwrite` starts again.
        shard: Which part of the inputs.
        heads: How scans are prepared; None where they are scored as they are.
        include: Patterns of which an input matches one.
        exclude: Patterns of which it matches none.
    """

    batch_size: int = 16
    workers: int = 2
    mode: Mode = "new"
    shard: Shard = field(default_factory=Shard)
    heads: Heads | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def listing(self, inputs: Path, output: Path, panel: Panel) -> Listing:
        """Return what is to be scored, and what is not."""
        listing = list_inputs(inputs, output, include=self.include, exclude=self.exclude)
        return replace(listing, inputs=tuple(panel.listed(listing.inputs)))

    def identity(self, panel: Panel) -> dict[str, Any]:
        """Return what must be the same in every row of a run."""
        return {
            **panel.identity,
            "batch_size": self.batch_size,
            "include": [*self.include],
            "exclude": [*self.exclude],
            "upd_zoo": __version__,
        }
