"""What a model scores, put into its artefact, where its card and whoever lists models find it."""

from pathlib import Path

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.provenance import renew_manifest
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, RESULTS, Config, Manifest, Result
from upd_zoo.card.writing import write_card
from upd_zoo.errors import UsageError


def add_results(folder: Path, results: list[Result]) -> Manifest:
    """Put results into an artefact, in place of earlier ones of the same test sets, and write its card anew.

    Args:
        folder: A whole artefact, changed in place.
        results: Of this model.

    Raises:
        IntegrityError: A file of the artefact is missing or changed.
        UsageError: A result is of another model.
    """
    manifest = verify(folder)
    for result in results:
        if result.model != manifest.id:
            raise UsageError(f"the result on {result.test_set} is of {result.model}", f"one of {manifest.id}")
        write_record(folder / RESULTS / f"{result.test_set}.json", result)
    config, calibration = read_record(folder / CONFIG, Config), read_record(folder / CALIBRATION, Calibration)
    write_card(folder, config, calibration, manifest.parity)
    return renew_manifest(folder, manifest)
