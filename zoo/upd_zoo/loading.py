"""One line from a name to a model that runs, or from a folder to scores."""

import warnings
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from upd_zoo.artefact.records import MANIFEST
from upd_zoo.hub import open_hub
from upd_zoo.hub.catalogue import Row
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import FILES, RECORDS, load_folder
from upd_zoo.runtime.model import Model
from upd_zoo.scores import Table, scoring


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


def list_models(pattern: str = "*", *, hub: Hub | Path | str | None = None) -> list[Row]:
    """Return the models that there are, those of this package first.

    Args:
        pattern: What their names look like, such as `*-idrid`.
        hub: As for `load`.

    Raises:
        UpdZooError: The hub is not to be had.
    """
    opened = hub if isinstance(hub, Hub) else open_hub(hub)
    return [row for row in opened.catalogue() if fnmatchcase(row.id, pattern)]


def score(path: Path | str, model: Model | Path | str | None = None, *, prepare: bool = False) -> Table:
    """Return a row for every image below a folder, or for one image; nothing is written.

    Args:
        path: A folder, searched recursively, or one file.
        model: A model, or what `load` takes; None for the packaged model of each kind of image.
        prepare: Whether a model that is named has brains found in whole heads; packaged ones have where the extra
            `prepare` is installed.

    Raises:
        UpdZooError: There is no such path, no image or no model. An image that cannot be scored raises nothing: its
            row says why.
    """
    named = load(model) if isinstance(model, Path | str) else model
    table: Table = scoring().score(Path(path), named, prepare=prepare)
    return table
