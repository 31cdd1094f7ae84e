"""`rdf.yaml`, by which the tools of bioimage.io read an artefact: version 0.5 of their format.

Source: the model description of bioimageio.spec.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from upd_zoo.artefact.folder import record_of
from upd_zoo.artefact.proof import PROOF, Proof
from upd_zoo.artefact.records import CARD, ONNX, RDF, TORCHSCRIPT, Config
from upd_zoo.card.writing import terms_of
from upd_zoo.files import write_text
from upd_zoo.runtime.parity import TOLERANCE

_FORMAT: Final = "0.5.4"
_SPDX: Final = {"apache-2.0": "Apache-2.0", "cc-by-sa-3.0": "CC-BY-SA-3.0"}
_STUDY: Final = {
    "text": "Lagogiannis et al., Unsupervised Pathology Detection: A Deep Dive Into the State of the Art, 2024",
    "doi": "10.1109/TMI.2023.3298093",
}


def write_rdf(folder: Path, config: Config, proof: Proof, opset: int, torch_version: str) -> None:
    """Write the description of an artefact whose graphs and proof lie in its folder.

    Args:
        folder: Of the artefact.
        config: What the model is.
        proof: What lies in its folder.
        opset: Of its ONNX graph.
        torch_version: Which wrote its TorchScript.
    """
    image, anomaly_map, score = PROOF
    size, spdx = (config.input.height, config.input.width), _SPDX.get(terms_of(config.images).hub)
    weights: dict[str, Any] = {
        "onnx": {**_file(folder, ONNX), "opset_version": opset, "parent": "torchscript"},
        "torchscript": {**_file(folder, TORCHSCRIPT), "pytorch_version": torch_version.partition("+")[0]},
    }
    channels = [f"channel{number}" for number in range(config.input.channels)]
    document: dict[str, Any] = {
        "format_version": _FORMAT,
        "type": "model",
        "name": config.id.replace(".", " "),
        "description": f"{config.title}: where {config.images.title} differs from what is healthy. Research only.",
        "authors": [{"name": "The upd-zoo developers"}],
        "cite": [_STUDY],
        "documentation": CARD,
        "tags": ["anomaly-detection", "medical-imaging", config.images.modality.id, config.method],
        "inputs": [_tensor(folder, "image", image, [_batch(), _channels(channels), *_space(size)])],
        "outputs": [
            _tensor(folder, "anomaly_map", anomaly_map, [_batch(), _channels(["anomaly"]), *_space(size)]),
            _tensor(folder, "score", score, [_batch()]),
        ],
        "weights": weights,
        "config": {"bioimageio": {"reproducibility_tolerance": [_tolerance(proof)]}},
    }
    document |= {"license": spdx} if spdx else {}
    write_text(folder / RDF, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _tolerance(proof: Proof) -> dict[str, float]:
    """Return how far a runtime may be off: as far as our own formats may, of what the smaller output spans."""
    spans = (float(np.abs(each).max()) for each in (proof.maps, proof.scores))
    return {"relative_tolerance": TOLERANCE, "absolute_tolerance": TOLERANCE * min(spans)}


def _batch() -> dict[str, Any]:
    return {"type": "batch"}


def _channels(names: list[str]) -> dict[str, Any]:
    return {"type": "channel", "channel_names": names}


def _space(size: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"type": "space", "id": axis, "size": length} for axis, length in zip("yx", size, strict=True)]


def _tensor(folder: Path, name: str, test: str, axes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": name, "axes": axes, "test_tensor": _file(folder, test), "data": {"type": "float32"}}


def _file(folder: Path, name: str) -> dict[str, str]:
    return {"source": name, "sha256": record_of(folder / name).sha256}
