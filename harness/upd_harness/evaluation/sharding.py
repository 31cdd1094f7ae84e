"""A test set scored in shards, each in a process of its own, and put together to what one process would have counted.

A shard holds whole runs of one subject's images. Its first and last batch are filled up with its neighbours' images, so
that every image meets the same others in the network, and every sum is the same to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from upd_harness.engines.engine import Engine
from upd_harness.evaluation.contenders import Gathered, Rows, gather
from upd_harness.evaluation.tested import Tested
from upd_zoo.errors import IntegrityError
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.folder import load_folder
from upd_zoo.runtime.graph import open_graph
from upd_zoo.stores.store import Facts, Store
from upd_zoo.vocabulary import Modality, ScoreRule


class Loads(Protocol):
    """How every process comes to what is tested."""

    def load(self, sha256: str) -> Tested:
        """Return it.

        Args:
            sha256: The hash that names all of it.

        Raises:
            IntegrityError: Another one lies there.
        """


@dataclass(frozen=True, slots=True)
class Loading:
    """How every process comes to the same model.

    Attributes:
        folder: The artefact, on storage that all nodes share.
        backend: Through which library it runs.
        device: Where.
        threads: CPU threads; None for one per core.
        precision: In which arithmetic.
    """

    folder: Path
    backend: str
    device: str
    threads: int | None
    precision: str

    def load(self, sha256: str) -> Tested:
        """Return the model; see `Loads`."""
        model = load_folder(self.folder, self.backend, self.device, self.threads, self.precision)
        if model.manifest_sha256 != sha256:
            raise IntegrityError(f"{self.folder} holds another model on this node", "the same on every node")
        return Tested.of(model)


@dataclass(frozen=True, slots=True)
class GraphLoading:
    """How every process comes to the same graph of a file, for images of one size.

    Attributes:
        file: The graph, on storage that all nodes share.
        device: Where it runs.
        threads: CPU threads; None for one per core.
        facts: Of the store.
        modality: Of its images.
        rule: How a map is scored; None for the modality's rule.
    """

    file: Path
    device: str
    threads: int | None
    facts: Facts
    modality: Modality
    rule: ScoreRule | None

    def load(self, sha256: str) -> Tested:
        """Return the graph; see `Loads`."""
        graph = open_graph(self.file, self.device, self.threads)
        if graph.sha256 != sha256:
            raise IntegrityError(f"{self.file} is another graph on this node", "the same on every node")
        return Tested.by_graph(graph, self.facts, self.modality, self.rule)


@dataclass(frozen=True, slots=True)
class Sharded:
    """Scores a test set in shards; to be called as `gather` is.

    Attributes:
        loading: How every process comes to what is tested.
        engine: What carries the shards out.
        shards: How many; fewer where there are fewer subjects.
        batch_size: Images per call of the network.
    """

    loading: Loads
    engine: Engine
    shards: int
    batch_size: int

    def __call__(
        self, tested: Tested, store: Store, healthy: Path | None = None, on_progress: Report = silent
    ) -> Gathered:
        """Score every image of a store by what is tested and by each baseline; see `gather`.

        Raises:
            UpdZooError: A shard failed.
        """
        cuts = cuts_of(store.subjects, self.shards)
        folders = [each.absolute() for each in (store.folder, *([] if healthy is None else [healthy]))]
        same = tested.sha256, [(folder, Store(folder).sha256) for folder in folders]
        work = partial(_gather, self.loading, same, self.batch_size)
        found, done = {}, 0
        for ended in self.engine.each(work, cuts):
            found[ended.item] = ended.result()
            done += ended.item[1] - ended.item[0]
            on_progress(Progress("", done, len(store)))
        whole = found[cuts[0]]
        for cut in cuts[1:]:
            whole.merge(found[cut])
        return whole


def cuts_of(subjects: Sequence[str], shards: int) -> list[Rows]:
    """Return first and last row (exclusive) of shards of about one size, cut only between two subjects."""
    changes = [row for row in range(1, len(subjects)) if subjects[row] != subjects[row - 1]]
    wanted = [len(subjects) * shard / shards for shard in range(1, shards)]
    nearest = {min(changes, key=lambda row: abs(row - place)) for place in wanted} if changes else set()
    edges = [0, *sorted(nearest), len(subjects)]
    return list(pairwise(edges))


def _gather(loading: Loads, same: tuple[str, Sequence[tuple[Path, str]]], batch_size: int, rows: Rows) -> Gathered:
    sha256, known = same
    stores = [Store(folder) for folder, _ in known]
    for store, (folder, images) in zip(stores, known, strict=True):
        if store.sha256 != images:
            raise IntegrityError(f"{folder} holds another store on this node", "the same on every node")
    healthy = stores[1].folder if len(stores) > 1 else None
    return gather(loading.load(sha256), stores[0], healthy, batch_size=batch_size, rows=rows)
