"""What every hub asks of an artefact before it hands one out or takes one in."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from upd_zoo.artefact import (
    CONFIG,
    MANIFEST,
    ONNX,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    FileRecord,
    Manifest,
    check_file,
    read_record,
    verify,
)
from upd_zoo.catalogue import Row
from upd_zoo.errors import IntegrityError, NotFoundError, UsageError
from upd_zoo.files import sha256_of
from upd_zoo.vocabulary import ModelId

FORMATS: Final = {"safetensors": WEIGHTS, "onnx": ONNX, "torchscript": TORCHSCRIPT}


def is_intact(folder: Path, name: str, record: FileRecord) -> bool:
    """Return whether a file is there with the size and SHA-256 of its record."""
    try:
        check_file(folder, name, record)
    except IntegrityError:
        return False
    return True


def selection(manifest: Manifest, model: ModelId, names: Iterable[str] | None) -> dict[str, FileRecord]:
    """Return the files to fetch with their records: `config.json`, then those asked for, each once.

    Args:
        manifest: The hub's manifest of `model`.
        model: The model asked for.
        names: Relative paths; None for every file.

    Raises:
        IntegrityError: The manifest is of another model, or lists no `config.json`.
        NotFoundError: The manifest does not list one of `names`.
    """
    if manifest.id != model.canonical.name:
        raise IntegrityError(f"the manifest of {model} is that of '{manifest.id}'", "", "tell who published it")
    if CONFIG not in manifest.files:
        raise IntegrityError(f"the manifest of {model} lists no {CONFIG}", "", "tell who published it")
    wanted = dict.fromkeys([CONFIG, *(manifest.files if names is None else names)])
    wanted.pop(MANIFEST, None)
    for name in wanted:
        if name not in manifest.files:
            raise NotFoundError(f"{model} has no {name}", ", ".join(manifest.files))
    return {name: manifest.files[name] for name in wanted}


def publishable(folder: Path, model: ModelId) -> tuple[dict[str, FileRecord], Row]:
    """Check that `folder` is a whole artefact of `model`.

    Returns:
        What to publish: every file of the manifest and the manifest itself, last; and the row for the catalogue.

    Raises:
        UsageError: The artefact is of another model.
        NotFoundError: There is no manifest or no `config.json`.
        IntegrityError: A file is missing or differs from the manifest.
    """
    manifest = verify(folder)
    config = read_record(folder / CONFIG, Config)
    name = model.canonical.name
    for part, found in ((MANIFEST, manifest.id), (CONFIG, config.id)):
        if found != name:
            raise UsageError(f"{part} is that of '{found}'", f"an artefact of '{name}'")
    return {**manifest.files, MANIFEST: record_of(folder / MANIFEST)}, _row(config, manifest, model.revision)


def record_of(path: Path) -> FileRecord:
    """Return size and SHA-256 of a file."""
    return FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)


def _row(config: Config, manifest: Manifest, revision: str) -> Row:
    return Row(
        id=config.id,
        title=config.title,
        pretrain=config.pretrain,
        protocol=config.protocol,
        profile=config.training.profile,
        labels=tuple(config.labels),
        revisions=(revision,),
        bytes={format_: manifest.files[name].bytes for format_, name in FORMATS.items() if name in manifest.files},
    )
