"""A whole artefact of a few bytes per file, and a forged one."""

import json
from pathlib import Path

from fake.results import made_result
from upd_zoo.artefact.folder import inventory
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import (
    CARD,
    CONFIG,
    LEGAL,
    MANIFEST,
    ONNX,
    RESULTS,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    Manifest,
    Parity,
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


PARITY = Parity(
    format="onnx",
    batch=1,
    map_difference=0,
    score_difference=0,
    map_range=1,
    score_range=1,
    rank_correlation=1,
    tolerance=1e-4,
)


def write_artefact(folder: Path, onnx: bytes = b"graph", name: str = "vae-phantom-t1") -> Path:
    """Write a whole artefact of a few bytes per file, which was measured and has its licences."""
    texts = ((CARD, b"# VAE\n"), *((each, b"all rights\n") for each in LEGAL))
    for path, content in (*texts, (WEIGHTS, b"weights!"), (ONNX, onnx), (TORCHSCRIPT, b"")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    write_record(folder / CONFIG, config_of("phantom-t1", name))
    return measured(folder, name)


def measured(folder: Path, name: str = "vae-phantom-t1") -> Path:
    """Put a result into an artefact."""
    (folder / RESULTS).mkdir(exist_ok=True)
    write_record(folder / RESULTS / "phantom-stroke.json", made_result(name, "phantom-stroke"))
    return with_manifest(folder, name)


def say_how_good(folder: Path, name: str, test_set: str) -> Path:
    """Put a result into an artefact that was really made, as `evaluate --into` does."""
    (folder / RESULTS).mkdir()
    write_record(folder / RESULTS / f"{test_set}.json", made_result(name, test_set))
    manifest = read_record(folder / MANIFEST, Manifest)
    write_record(folder / MANIFEST, manifest.model_copy(update={"files": inventory(folder)}))
    return folder


def with_manifest(folder: Path, name: str = "vae-phantom-t1") -> Path:
    """Write the manifest of what is in a folder."""
    manifest = Manifest(id=name, created="", source_commit=None, versions={}, parity=[PARITY], files=inventory(folder))
    write_record(folder / MANIFEST, manifest)
    return folder


def list_anything(folder: Path, path: str) -> None:
    """Add a file record under any path to a manifest, as only a forger would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][path] = manifest["files"][CONFIG]
    (folder / MANIFEST).write_text(json.dumps(manifest))
