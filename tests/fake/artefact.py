"""A whole artefact of a few bytes per file, and a forged one."""

import json
from pathlib import Path

from upd_zoo.artefact import (
    CARD,
    CONFIG,
    MANIFEST,
    ONNX,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    Manifest,
    PixelConvention,
    Training,
    write_record,
)
from upd_zoo.integrity import inventory
from upd_zoo.vocabulary import Foreground, Framing, Pretrain, Protocol, Scale, ScoreRule


def write_artefact(folder: Path, onnx: bytes = b"graph", name: str = "vae-phantom-t1") -> Path:
    """Write a whole artefact of a few bytes per file."""
    training = Training(
        profile="smoke", seed=0, phases={}, batch_size=1, images=1, subjects=1, store="0" * 64, device="cpu"
    )
    config = Config(
        id=name,
        method="vae",
        title="VAE",
        domain="phantom-t1",
        pretrain=Pretrain.NONE,
        protocol=Protocol.STUDY,
        settings={},
        input=PixelConvention(channels=1),
        framing=Framing.SQUARE_SLICES,
        centred=True,
        foreground=Foreground.ABOVE_MINIMUM,
        score_rule=ScoreRule.MAXIMUM,
        weights_origin=None,
        scale=Scale.MAXIMUM,
        training=training,
        labels=["synthetic phantoms"],
    )
    for path, content in ((CARD, b"# VAE\n"), (WEIGHTS, b"weights!"), (ONNX, onnx), (TORCHSCRIPT, b"")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    write_record(folder / CONFIG, config)
    return sign(folder, name)


def sign(folder: Path, name: str = "vae-phantom-t1") -> Path:
    """Write the manifest of what is in a folder."""
    manifest = Manifest(id=name, created="", source_commit=None, versions={}, parity=[], files=inventory(folder))
    write_record(folder / MANIFEST, manifest)
    return folder


def sign_with_path(folder: Path, path: str) -> None:
    """Add a file record under any path to a manifest, as only a forger would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][path] = manifest["files"][CONFIG]
    (folder / MANIFEST).write_text(json.dumps(manifest))
