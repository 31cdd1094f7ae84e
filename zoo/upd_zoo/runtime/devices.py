"""Which devices a machine has, and which of them a runtime can use: a driver alone runs no network."""

import contextlib
import ctypes
import io
import warnings
from collections.abc import Callable
from typing import Final

from upd_zoo.errors import UsageError

_PROBE: Final = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f'
    b"\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)
"""The smallest ONNX graph: y = x."""


def cuda_devices() -> int:
    """Return how many CUDA devices the driver of this machine offers; 0 without a driver."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def resolve_device(device: str, why_not: Callable[[str], str]) -> tuple[str, str]:
    """Return where to run, `cpu` or `cuda:N`, and what a user should know of that choice, which is mostly nothing.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        why_not: Tells why a runtime cannot use a device that is there; nothing where it can.

    Raises:
        UsageError: There is no such device, or it was asked for by name and cannot be used.
    """
    if device == "cpu":
        return device, ""
    count = cuda_devices()
    if device == "auto":
        reason = why_not("cuda:0") if count else ""
        note = f"cuda:0 exists but cannot be used: {reason}" if reason else ""
        return ("cuda:0" if count and not reason else "cpu"), note
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise UsageError(f"no device is called '{device}'", "auto, cpu, cuda or cuda:N")
    if int(number or 0) >= count:
        raise UsageError(f"device {device} is not there: {count} CUDA devices are found", "auto or cpu")
    named = f"cuda:{number or 0}"
    reason = why_not(named)
    if reason:
        raise UsageError(f"{named} exists but cannot be used: {reason}", "auto or cpu", "see upd-zoo doctor")
    return named, ""


def why_no_onnx(device: str) -> str:
    """Return why ONNX Runtime cannot use a CUDA device, in one line; nothing where it can."""
    import onnxruntime as ort

    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # which is for data
        ort.preload_dlls()
    provider = ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2])})
    ort.set_default_logger_severity(4)  # what it would log is what is returned
    try:
        session = ort.InferenceSession(_PROBE, providers=[provider, "CPUExecutionProvider"])
    except onnx_errors() as error:
        return _first_line(str(error))
    if "CUDAExecutionProvider" in session.get_providers():
        return ""
    return _first_line(said.getvalue()) or "ONNX Runtime finds no CUDA and cuDNN that fit it"


def onnx_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a graph it cannot load; its errors share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NotImplemented", "EPFail")
    return (*(getattr(state, name) for name in names), state.RuntimeException)


def _first_line(text: str) -> str:
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), "")


def why_no_torch(device: str) -> str:
    """Return why torch cannot use a CUDA device, in one line; nothing where it can."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the same is said by the error
            torch.ones(1, device=device).add(1).item()
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return ""
