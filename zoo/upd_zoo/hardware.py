"""What this machine is called: its processor and its accelerators, as their makers write it; needs no torch."""

import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """Return the name of the processor; empty where the system does not tell it."""
    return _line_of(Path("/proc/cpuinfo"), "model name") or platform.processor()


def accelerators() -> list[str]:
    """Return the names of the graphics cards that the driver of NVIDIA lists."""
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [name for name in (_line_of(card, "Model") for card in cards) if name]


def described(device: str) -> str:
    """Return what computes on a device, in words.

    Args:
        device: `cpu` or `cuda`.
    """
    cards = f"{', '.join(accelerators())}; " if device == "cuda" else ""
    return f"{cards}{os.cpu_count()} x {processor() or platform.machine()}"


def _line_of(path: Path, name: str) -> str:
    """Return what a file of the kernel says under a name; nothing where there is no such file or line."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1].strip() if found else ""
