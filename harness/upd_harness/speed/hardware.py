"""What machine a time was measured on, by name."""

import os
import platform
import re
from pathlib import Path
from typing import Any


def hardware() -> dict[str, Any]:
    """Return what this machine is, and how busy it is with other work; needs no torch."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return {
        "processor": _line_of(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "accelerators": [name for name in (_line_of(card, "Model") for card in cards) if name],
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _line_of(path: Path, name: str) -> str:
    """Return what a file of the kernel says under a name; nothing where there is no such file or line."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1].strip() if found else ""
