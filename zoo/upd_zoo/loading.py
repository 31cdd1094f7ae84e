"""One line from a name to a model that runs."""

import warnings
from dataclasses import replace
from pathlib import Path

from upd_zoo.artefact.records import MANIFEST
from upd_zoo.hub import open_hub
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import FILES, RECORDS, load_folder
from upd_zoo.runtime.model import Model


def load(
    model: Path | str,
    *,
    hub: Hub | Path | str | None = None,
    backend: str = "onnx",
    device: str = "auto",
    threads: int | None = None,
    precision: str = "float32",
) -> Model:
    """Return a model ready to run, pulled and verified if need be.

    A hub that is out of reach is told by a warning, where what was pulled of the model before can stand in.

    Args:
        model: A name such as `rd-brats-t2` or `vae-idrid@seed-1`, or the folder of an artefact.
        hub: `hf://ORG` or a folder; None for the environment's `UPD_ZOO_HUB`, else the default hub. What `open_hub`
            returns, where a cache, a token or work without a network is to be chosen.
        backend: `onnx` (needs no torch), `torchscript` or `torch`.
        device: `auto` (CUDA where it can be used), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for one per core.
        precision: `float32`, or `bfloat16` for a faster and coarser network, through `torch` only.

    Raises:
        UpdZooError: The name is no model's, the model cannot be fetched, or its bytes are not what they should be.
    """
    if (Path(model) / MANIFEST).is_file():
        return load_folder(model, backend, device, threads, precision)
    name, opened = ModelId.parse(str(model)), hub if isinstance(hub, Hub) else open_hub(hub)
    pulled = opened.fetch(name, (*RECORDS, *FILES.get(backend, ())))
    if pulled.unasked:
        warnings.warn(f"{pulled.unasked}; what was pulled of {model} before is used", stacklevel=2)
    return replace(load_folder(pulled.folder, backend, device, threads, precision), revision=name.revision)
