"""A whole artefact of a few bytes per file, and a forged one."""

import json
from pathlib import Path

from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import (
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
)
from upd_zoo.vocabulary import BRAIN_MRI, DOMAINS, Pretrain, Protocol, Scale


def config_of(domain: str, name: str = "") -> Config:
    """Return the configuration of a VAE of a domain that nobody trained."""
    modality = DOMAINS[domain].modality
    return Config(
        id=name or f"vae-{domain}",
        method="vae",
        title="VAE",
        domain=domain,
        pretrain=Pretrain.NONE,
        protocol=Protocol.STUDY,
        settings={},
        input=PixelConvention(channels=modality.channels),
        framing=modality.framing,
        centred=True,
        foreground=modality.foreground,
        score_rule=modality.score_rule,
        weights_origin=None,
        scale=Scale.MAXIMUM if modality is BRAIN_MRI else None,
        training=Training(
            profile="smoke", seed=0, phases={}, batch_size=1, images=1, subjects=1, store="0" * 64, device="cpu"
        ),
        labels=["synthetic phantoms"],
    )


def write_artefact(folder: Path, onnx: bytes = b"graph", name: str = "vae-phantom-t1") -> Path:
    """Write a whole artefact of a few bytes per file."""
    for path, content in ((CARD, b"# VAE\n"), (WEIGHTS, b"weights!"), (ONNX, onnx), (TORCHSCRIPT, b"")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    write_record(folder / CONFIG, config_of("phantom-t1", name))
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
