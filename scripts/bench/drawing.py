"""How fast phantoms are drawn."""

import time

from threadpoolctl import threadpool_limits

from figures import Figure
from upd_zoo.sources.phantoms import PHANTOMS
from upd_zoo.sources.source import Request
from upd_zoo.stores.places import Part, StoreName


def phantoms(subjects: int) -> list[Figure]:
    """Measure how fast phantoms are drawn on one core, in its own time: other work on the machine does not count."""
    with threadpool_limits(1):
        return [
            _drawn("brain phantoms", "phantom-t2", subjects),
            _drawn("chest phantoms", "phantom-cxr", 20 * subjects),
            _drawn("fundus phantoms", "phantom-fundus", 20 * subjects),
        ]


def _drawn(name: str, domain: str, subjects: int) -> Figure:
    inputs = PHANTOMS.opened(Request(subjects=subjects + 1))(StoreName(domain, Part.TRAIN))
    first, *others = inputs.values()
    list(first())  # reads the templates
    began = time.process_time()
    slices = sum(len(list(draw())) for draw in others)
    return Figure(name, slices / (time.process_time() - began), "slices/s", 50)
