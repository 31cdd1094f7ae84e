"""What a source of images is: where it comes from, which stores it fills, and how one of its inputs becomes samples.

A source is a record and a function. A reader of a new data set is one file with a `FolderSource`, and one line in
`upd_zoo.sources.listed`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TypeAlias

from typing_extensions import override

from upd_zoo.artefact.record import Setting
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.stores.places import StoreName
from upd_zoo.stores.store import Sample

Inputs: TypeAlias = Mapping[str, Callable[[], Iterable[Sample]]]
"""The inputs of one store, in order: the name of each, and what reads it or raises `InputError`.

The name of a file is its path relative to the data set's folder.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """How a store is to be filled, as far as a source leaves it open.

    Attributes:
        root: Folder of the data set; None for phantoms, which are made on this machine.
        seed: Which population of phantoms, 0 or more.
        subjects: Phantoms to train on; the other parts keep their proportion to it. None for the default.
        template: Brain that brain scans are aligned with; None for the default.
        extractor: Program that finds brains in whole heads, `hd-bet` or a command (`upd_zoo.brains.external`); empty to
            find them here.
        shelf: Folder where what took long is kept, so that a stopped preparation goes on; None to keep nothing.
    """

    root: Path | None = None
    seed: int = 0
    subjects: int | None = None
    template: Path | None = None
    extractor: str = ""
    shelf: Path | None = None


@dataclass(frozen=True, slots=True)
class Source(ABC):
    """Where the images of some domains and test sets come from.

    Attributes:
        id: Its name in provenance.
        title: The data set as its authors call it.
        serves: Identifiers of the domains and test sets that it fills.
        label: What a reader of any number computed on its images must be told.
        generator: Version of the reader, raised whenever the same input gives other samples.
    """

    id: str
    title: str
    serves: tuple[str, ...]
    label: str
    _: KW_ONLY
    generator: int = 1

    def settings(self, request: Request) -> dict[str, Setting]:  # noqa: ARG002 - sources with settings use it
        """Return what of a request decides about the samples, for provenance, beyond seed and protocol."""
        return {}

    def refuse_what_brains_take(self, request: Request) -> None:
        """Refuse the options of sources of brain scans.

        Raises:
            UsageError: One is set.
        """
        if request.template is not None or request.extractor:
            raise UsageError(f"{self.title} needs no brain extraction", "", "leave out --template and --extractor")

    @abstractmethod
    def opened(self, request: Request) -> Callable[[StoreName], Inputs]:
        """Return what lists the inputs of each store, after checking that the request can be met.

        Raises:
            UsageError: The request names what this source does not take, or lacks what it needs.
            NotFoundError: The data set is not where the request says.
        """


@dataclass(frozen=True, slots=True)
class SyntheticSource(Source):
    """A source that makes its images.

    Attributes:
        draw: Lists the inputs of a store for a seed and a number of subjects (None for the default).
    """

    _: KW_ONLY
    draw: Callable[[StoreName, int, int | None], Inputs]

    @override
    def opened(self, request: Request) -> Callable[[StoreName], Inputs]:
        if request.root is not None:
            raise UsageError(f"{self.title} are drawn here and need no folder", "", "leave out --root")
        self.refuse_what_brains_take(request)
        if request.seed < 0:
            raise UsageError(f"the seed {request.seed} chooses no phantoms", "a whole number from 0")
        return lambda store: self.draw(store, request.seed, request.subjects)


@dataclass(frozen=True, slots=True)
class DownloadedSource(Source):
    """A source that reads a data set in its original layout.

    Attributes:
        origin: Where to get it.
        expected: Patterns, relative to the root, of which each must match something.
    """

    _: KW_ONLY
    origin: str
    expected: tuple[str, ...]

    def check(self, root: Path) -> None:
        """Make sure that the data set is in `root`.

        Raises:
            NotFoundError: Something of its layout is missing; the message says what, and where to get it.
        """
        if not root.is_dir():
            raise NotFoundError(f"there is no folder {root}", f"the folder of {self.title}", self.origin)
        missing = [pattern for pattern in self.expected if not any(root.glob(pattern))]
        if missing:
            raise NotFoundError(
                f"the folder {root} is not that of {self.title}: it lacks {_quoted(missing)}",
                f"the original layout, with {_quoted(self.expected)}",
                self.origin,
            )

    def root_of(self, request: Request) -> Path:
        """Return the folder of a request, after checking that the data set is in it.

        Raises:
            UsageError: The request names what this source does not take, or no folder.
            NotFoundError: Something of the layout is missing.
        """
        if request.seed or request.subjects is not None:
            raise UsageError(f"{self.title} has its own subjects in a fixed split", "", "leave out --seed, --subjects")
        if request.root is None:
            raise UsageError(f"the folder of {self.title} is not given", "--root FOLDER", self.origin)
        self.check(request.root)
        return request.root


@dataclass(frozen=True, slots=True)
class FolderSource(DownloadedSource):
    """A data set whose images are framed as they are.

    Attributes:
        find: Lists the inputs of a store below a root that has passed `check`.
    """

    _: KW_ONLY
    find: Callable[[StoreName, Path], Inputs]

    @override
    def opened(self, request: Request) -> Callable[[StoreName], Inputs]:
        root = self.root_of(request)
        self.refuse_what_brains_take(request)
        return lambda store: self.find(store, root)


def _quoted(patterns: Iterable[str]) -> str:
    return ", ".join(f"'{pattern}'" for pattern in patterns)
