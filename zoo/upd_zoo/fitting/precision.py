"""In which numbers a training computes products and convolutions."""

from contextlib import AbstractContextManager
from typing import Final

import torch

from upd_zoo.errors import UsageError

FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"


def precision_on(device: str, wanted: str) -> str:
    """Return the numbers that a device computes in: those that are wanted, or `float32` where it has no such unit.

    Args:
        device: `cpu` or `cuda`.
        wanted: `float32`, or `bfloat16` for half the bits: sums, losses and weights stay in float32.

    Raises:
        UsageError: Nothing is trained in such numbers.
    """
    if wanted not in (FLOAT32, BFLOAT16):
        raise UsageError(f"nothing is trained in {wanted}", f"{FLOAT32} or {BFLOAT16}")
    return wanted if wanted == FLOAT32 or _has_bfloat16(device) else FLOAT32


def computing_in(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return a context in which products and convolutions are computed in these numbers."""
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != FLOAT32)


def _has_bfloat16(device: str) -> bool:
    """Return whether a device multiplies such numbers by itself: emulated, they would be slower than float32."""
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
