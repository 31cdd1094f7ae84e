"""What must be computed in float32 although the networks around it compute in coarser numbers."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocasting; it leaves no trace in a graph that is traced where there is none."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
