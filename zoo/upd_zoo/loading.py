"""One line from a name to a model that runs."""

import warnings
from pathlib import Path

from upd_zoo.artefact.records import MANIFEST
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import FILES, RECORDS, load_folder
from upd_zoo.runtime.model import Model


def load(
    model: str,
    *,
    hub: str | None = None,
    backend: str = "onnx",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
    cache_dir: Path | None = None,
    offline: bool | None = None,
    token: str | None = None,
) -> Model:
    """Return a model ready to run, pulled and verified if need be.

    Args:
        model: A name such as `rd-brats-t2` or `vae-idrid@seed-1`, or the folder of an artefact.
        hub: `hf://ORG` or a folder; None for the environment's `UPD_ZOO_HUB`, else the default hub.
        backend: `onnx` (needs no torch), `torchscript` or `torch`.
        device: `auto` (CUDA where it can be used), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for one per core.
        precision: `float32`, or `bfloat16` for a faster and coarser network, through `torch` only.
        cache_dir: Where fetched files are kept.
        offline: Use cached files only. Otherwise a hub that cannot be reached is reported by a warning.
        token: Access token of the Hugging Face Hub.

    Raises:
        UpdZooError: The name is no model's, the model cannot be fetched, or its bytes are not what they should be.
    """
    if (Path(model) / MANIFEST).is_file():
        return load_folder(Path(model), backend, device, threads, precision)
    names = (*RECORDS, *FILES.get(backend, ()))
    pulled = open_hub(hub, cache_dir, offline, token).fetch(ModelId.parse(model), names)
    if pulled.unasked:
        warnings.warn(f"{pulled.unasked}; what was pulled of {model} before is used", stacklevel=2)
    return load_folder(pulled.folder, backend, device, threads, precision)
