"""upd-zoo: ready models for unsupervised pathology detection.

    import upd_zoo

    table = upd_zoo.score("my-images")  # by the packaged model of each kind of image
    model = upd_zoo.load("rd-brats-t2")
    anomaly_map, score = model(images)  # images as model.config.input says

Importing this package imports neither torch nor any runtime; names are resolved when they are used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upd_zoo.errors import UpdZooError as UpdZooError
    from upd_zoo.hub import open_hub as open_hub
    from upd_zoo.loading import list_models as list_models
    from upd_zoo.loading import load as load
    from upd_zoo.loading import load_module as load_module
    from upd_zoo.loading import score as score
    from upd_zoo.names import ModelId as ModelId
    from upd_zoo.runtime.model import Model as Model

# ONNX Runtime and the Hub's library tell their makers of every run unless these stand when they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
_HOMES = {
    "Model": "upd_zoo.runtime.model",
    "ModelId": "upd_zoo.names",
    "UpdZooError": "upd_zoo.errors",
    "list_models": "upd_zoo.loading",
    "load": "upd_zoo.loading",
    "load_module": "upd_zoo.loading",
    "open_hub": "upd_zoo.hub",
    "score": "upd_zoo.loading",
}
__all__ = [
    "Model",
    "ModelId",
    "UpdZooError",
    "__version__",
    "list_models",
    "load",
    "load_module",
    "open_hub",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'upd_zoo' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
