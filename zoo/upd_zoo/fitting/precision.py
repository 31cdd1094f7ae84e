"""In which numbers a training computes products and convolutions."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Take numbers below float32's range for 0 while the block runs, in this thread and in those that begin in it.

    Gradients of a network that has learnt little are full of them, and some processors are slow with them: two cores of
    an Intel Xeon took 0.7 s instead of 0.14 s a step of DAE's quick profile. What is evaluated must tell them apart.
    """
    before = float(torch.tensor(1e-30) * 1e-10) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _has_bfloat16(device: str) -> bool:
    """Return whether a device multiplies such numbers by itself: emulated, they would be slower than float32."""
    if device == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported())
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
