"""One line from a name to a model that runs, or from a folder to scores."""

import warnings
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from upd_zoo.artefact.records import MANIFEST, WEIGHTS
from upd_zoo.hub import open_hub
from upd_zoo.hub.catalogue import Row
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId
from upd_zoo.runtime.folder import FILES, RECORDS, load_folder, module_in
from upd_zoo.runtime.model import Model
from upd_zoo.scores import Table, scoring

if TYPE_CHECKING:
    from upd_zoo.detector import Detector


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
    folder, revision = _folder_of(model, hub, (*RECORDS, *FILES.get(backend, ())))
    return replace(load_folder(folder, backend, device, threads, precision), revision=revision)


def load_module(model: Path | str, *, hub: Hub | Path | str | None = None, device: str = "cpu") -> "Detector":
    """Return a model as a torch module: its method's layers with their weights, in evaluation mode.

    It takes images (B, C, H, W) float32 in [0, 1], C, H and W as `load(...).config.input` says, on its device, and
    returns a named pair: `anomaly_map` (B, 1, H, W) and `score` (B,), float32, higher is more anomalous. All between,
    such as centring, normalising, smoothing and the tissue mask, is part of the module. The shapes and the range are
    not checked.

    `module.method` holds the layers, and learns on by `training_step(module.pixels(images))["loss"]`, from which
    gradients reach every parameter whose `requires_grad` is on. A backbone that only describes images has it off, and
    stays in evaluation mode. Memories and statistics, such as PatchCore's and PaDiM's, are buffers that `method.fit`
    fills; these two have no loss. From a map, gradients reach the images.

    Args:
        model: As for `load`.
        hub: As for `load`.
        device: `cpu`, `cuda` or `cuda:N`; `auto` for CUDA where it can be used.

    Raises:
        MissingExtraError: torch is not installed.
        NotFoundError: There is no such model, or it brings no weights: models in the package bring their graph alone.
        UpdZooError: The name is no model's, the model cannot be fetched, the device cannot be used, or the bytes of the
            weights are not what they should be. Only safetensors are read, and nothing that is pickled.
    """
    folder, _ = _folder_of(model, hub, (*RECORDS, WEIGHTS))
    return module_in(folder, device)


def _folder_of(model: Path | str, hub: Hub | Path | str | None, names: tuple[str, ...]) -> tuple[Path, str]:
    """Return the folder of a model, holding these files of it, and the revision asked for: none of a folder itself."""
    if (Path(model) / MANIFEST).is_file():
        return Path(model), ""
    name, opened = ModelId.parse(str(model)), hub if isinstance(hub, Hub) else open_hub(hub)
    pulled = opened.fetch(name, names)
    if pulled.unasked:
        warnings.warn(f"{pulled.unasked}; what was pulled of {model} before is used", stacklevel=3)
    return pulled.folder, name.revision


def list_models(pattern: str = "*", *, hub: Hub | Path | str | None = None) -> list[Row]:
    """Return the models that there are, those of this package first.

    Args:
        pattern: What their names look like, such as `*-idrid*`: `*` stands for anything, `?` for one character.
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
