"""What a model scores, put into its artefact, where its card and whoever lists models find it."""

import os
import shutil
from pathlib import Path

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.provenance import renew_manifest
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, MANIFEST, RESULTS, SIGNATURE, Config, Manifest, Result
from upd_zoo.card.writing import write_card
from upd_zoo.errors import UsageError
from upd_zoo.files import replacing_folder


def add_results(folder: Path, results: list[Result]) -> Manifest:
    """Put results into an artefact, in place of earlier ones of the same test sets, and write its card anew.

    The artefact is replaced as a whole, or stays as it was. A signature, which was one of other files, goes.

    Args:
        folder: A whole artefact.
        results: Of this model.

    Raises:
        IntegrityError: A file of the artefact is missing or changed.
        UsageError: A result is of another model.
    """
    manifest = verify(folder)
    for result in results:
        if result.model != manifest.id:
            raise UsageError(f"the result on {result.test_set} is of {result.model}", f"one of {manifest.id}")
    config, calibration = read_record(folder / CONFIG, Config), read_record(folder / CALIBRATION, Calibration)
    with replacing_folder(folder, {MANIFEST, SIGNATURE, *manifest.files}) as temporary:
        for name in (MANIFEST, *manifest.files):
            _share(folder / name, temporary / name)
        for result in results:
            write_record(temporary / RESULTS / f"{result.test_set}.json", result)
        write_card(temporary, config, calibration, manifest.parity)
        return renew_manifest(temporary, manifest)


def _share(source: Path, target: Path) -> None:
    """Give a file a second name where the file system can, else copy it; what is written anew gets bytes of its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
