"""What a machine has to run models with."""

import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from upd_harness.report.run_record import versions
from upd_zoo.files import megabytes
from upd_zoo.hub import open_hub
from upd_zoo.hub.packaged import packaged
from upd_zoo.runtime.devices import cuda_devices
from upd_zoo.runtime.folder import why_not
from upd_zoo.stores.places import data_folder

_VARIABLES: Final = ("UPD_ZOO_HUB", "UPD_ZOO_DATA", "UPD_ZOO_MAX_INPUT_BYTES", "HF_HOME", "HF_HUB_CACHE")
_SWITCHES: Final = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "CUDA_VISIBLE_DEVICES")
_EXTRAS: Final = {"train": "torch", "prepare": "nilearn", "figures": "matplotlib"}


def examine(hub: str | None, cache_dir: Path | None) -> dict[str, Any]:
    """Return facts about this machine, by name; nothing is contacted."""
    opened = open_hub(hub, cache_dir)
    data = data_folder(None)
    facts: dict[str, Any] = {**versions(), "cores": os.cpu_count(), "CUDA devices": cuda_devices()}
    facts["ONNX Runtime providers"] = ", ".join(ort.get_available_providers())
    facts |= {f"CUDA through {backend}": _usable(backend, facts["CUDA devices"]) for backend in ("onnx", "torch")}
    facts |= {
        f"extra {extra}": "installed" if find_spec(module) else f"missing: pip install 'upd-zoo[{extra}]'"
        for extra, module in _EXTRAS.items()
    }
    facts["packaged models"] = ", ".join(packaged().names) or "none"
    facts |= {"hub": opened.location, "cache": str(opened.cache_folder)}
    facts |= {"data folder": f"{data} ({'exists' if data.is_dir() else 'not made yet'})"}
    facts["free disk"] = megabytes(shutil.disk_usage(Path.cwd()).free)
    facts |= {name: _without_password(os.environ[name]) for name in (*_VARIABLES, *_SWITCHES) if name in os.environ}
    return facts


def _usable(backend: str, devices: int) -> str:
    """Return whether a backend can use the first CUDA device: a driver that offers one is not enough."""
    if backend == "torch" and find_spec("torch") is None:
        return "torch is not installed"
    if not devices:
        return "no device"
    reason = why_not(backend, "cuda:0")
    return f"cannot be used: {reason}" if reason else "can be used"


def _without_password(value: str) -> str:
    """Return the value of a variable without what stands before the host of an address: a name and a password."""
    return re.sub(r"//[^/]*@", "//…@", value)
