"""Data sets of brain scans, whose brains are brought into one space before they are sliced."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path

from typing_extensions import override

from upd_zoo.artefact.record import Setting
from upd_zoo.brains.external import Extractor
from upd_zoo.brains.scans import Scan
from upd_zoo.brains.shelf import read_scan, space_of
from upd_zoo.brains.template import load_template
from upd_zoo.sources.source import DownloadedSource, Inputs, Request
from upd_zoo.stores.places import StoreName


@dataclass(frozen=True, slots=True)
class BrainSource(DownloadedSource):
    """A data set of brain scans.

    Attributes:
        scans: Lists the scans of a store below a root that has passed `check`, by the name of their input.
    """

    _: KW_ONLY
    scans: Callable[[StoreName, Path], Mapping[str, Scan]]

    @override
    def settings(self, request: Request) -> dict[str, Setting]:
        extractor = Extractor.parse(request.extractor) if request.extractor else None
        return space_of(load_template(request.template), extractor).model_dump()

    @override
    def opened(self, request: Request) -> Callable[[StoreName], Inputs]:
        root = self.root_of(request)
        load_template(request.template)
        extractor = Extractor.parse(request.extractor) if request.extractor else None
        shelf = None if request.shelf is None else request.shelf / self.id

        def inputs(store: StoreName) -> Inputs:
            found = self.scans(store, root)
            return {
                name: partial(
                    read_scan,
                    scan,
                    root,
                    request.template,
                    shelf,
                    extractor,
                    protocol=store.protocol,
                    side=store.side,
                )
                for name, scan in found.items()
            }

        return inputs
