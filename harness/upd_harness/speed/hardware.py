"""What machine a time was measured on, by name."""

import os
from typing import Any

from upd_zoo.hardware import accelerators, processor


def hardware() -> dict[str, Any]:
    """Return what this machine is, and how busy it is with other work; needs no torch."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerators": accelerators(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }
