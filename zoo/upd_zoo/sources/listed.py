"""Which data sets there are readers for.

To add one, write a file with a source (see `upd_zoo.sources.source`) and list it here.
"""

from typing import Final

from upd_zoo.errors import NotFoundError, closest
from upd_zoo.sources.atlas import ATLAS
from upd_zoo.sources.brats import BRATS
from upd_zoo.sources.camcan import CAMCAN
from upd_zoo.sources.chexpert import CHEXPERT
from upd_zoo.sources.ddr import DDR
from upd_zoo.sources.idrid import IDRID
from upd_zoo.sources.ixi import IXI
from upd_zoo.sources.msd_brats import MSD_BRATS
from upd_zoo.sources.nih import NIH
from upd_zoo.sources.open_ms import OPEN_MS
from upd_zoo.sources.phantoms import PHANTOMS
from upd_zoo.sources.source import Source

SOURCES: Final[tuple[Source, ...]] = (
    PHANTOMS,
    IDRID,
    NIH,
    CHEXPERT,
    DDR,
    CAMCAN,
    BRATS,
    ATLAS,
    IXI,
    MSD_BRATS,
    OPEN_MS,
)


def source_of(target: str) -> Source:
    """Return the source that fills the stores of a domain or test set.

    Raises:
        NotFoundError: No source serves it.
    """
    for source in SOURCES:
        if target in source.serves:
            return source
    served = {name for source in SOURCES for name in source.serves}
    raise NotFoundError(f"no reader fills the stores of '{target}'", closest(target, served))
