"""What a publication would send, written to a folder instead."""

import shutil
from pathlib import Path

from upd_zoo.artefact.folder import check_file, files_of
from upd_zoo.artefact.records import FileRecord
from upd_zoo.files import replacing_folder
from upd_zoo.hub.checks import publishable
from upd_zoo.names import ModelId


def write_preview(folder: Path, model: ModelId, target: Path, *, force: bool = False) -> dict[str, FileRecord]:
    """Write the files that `Hub.publish` would send to a folder, byte by byte; no hub is asked.

    Args:
        folder: The artefact.
        model: What it would be published as.
        target: Where they are written, in place of what an earlier call wrote there.
        force: As for publishing.

    Returns:
        Size and hash of each.

    Raises:
        UsageError: It would not be published as it is, or `target` holds anything else.
        NotFoundError: `folder` is not an artefact.
        IntegrityError: A file is missing or differs from the manifest.
    """
    _, files, _ = publishable(folder, model, force=force)
    with replacing_folder(target, {*files, *files_of(target, model.canonical.name)}) as temporary:
        for name, record in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, temporary / name)
            check_file(temporary, name, record)
    return files
