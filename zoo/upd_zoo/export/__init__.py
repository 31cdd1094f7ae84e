"""Export: a finished run becomes an artefact that is whole on any machine.

Every format is read back from its file and compared with the model in memory before the manifest is written.
"""

import importlib.metadata
from pathlib import Path

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import files_of
from upd_zoo.artefact.graph_facts import describe, facts_of
from upd_zoo.artefact.proof import Proof, images_of
from upd_zoo.artefact.provenance import Images, hand_over, subjects_hash, versions, write_manifest
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import (
    CALIBRATION,
    CONFIG,
    DATA_TERMS,
    ONNX,
    TORCHSCRIPT,
    WEIGHTS,
    Config,
    Manifest,
    Parity,
)
from upd_zoo.card.bioimage import write_rdf
from upd_zoo.card.writing import write_card
from upd_zoo.errors import ToleranceError, UsageError
from upd_zoo.export.calibration import calibrate, calibration_labels, check_thresholds, subject_rule
from upd_zoo.export.formats import OPSET, write_onnx, write_safetensors, write_torchscript
from upd_zoo.files import replacing_folder, write_text
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.eager import as_predict, load_detector, load_script
from upd_zoo.runtime.model import Predict
from upd_zoo.runtime.onnx import onnx_predict
from upd_zoo.runtime.parity import measure
from upd_zoo.stores.store import Store

_STAGES = 5


def export_artefact(
    run: Path | str,
    validation: Store,
    folder: Path | str,
    on_progress: Report = silent,
    training: Store | None = None,
) -> Manifest:
    """Make the artefact of a finished run.

    Args:
        run: Folder that `upd_zoo.training.train` filled.
        validation: Healthy images of the domain that the run was not trained on; those of the training, where the run
            was calibrated by folds of them.
        folder: Where the artefact will be; an older one of the same model there is replaced.
        on_progress: Told of each stage as it begins.
        training: The images that the run was trained on, where they are at hand, to tell whether any are the same.

    Returns:
        The manifest.

    Raises:
        UsageError: `validation` shares images with the training, or has another number of channels, another side or
            another scale, or `folder` holds anything else.
        IntegrityError: `validation` holds diseased images.
        ToleranceError: A format differs from the eager model by more than the tolerance, or healthy scores are such
            that a threshold would flag nothing.
    """
    run, folder = Path(run), Path(folder)
    config = read_record(run / CONFIG, Config)
    by_folds = read_record(run / CALIBRATION, Calibration) if (run / CALIBRATION).is_file() else None
    if by_folds is None:
        _check_other_images(config, validation, training)
    _check_kind(config, validation)
    detector = load_detector(run)
    channels, side = config.input.channels, config.input.side
    with replacing_folder(folder, files_of(folder, config.id)) as temporary:
        write_record(temporary / CONFIG, config)
        on_progress(Progress("safetensors", 0, _STAGES))
        write_safetensors(detector, temporary / WEIGHTS)
        on_progress(Progress("TorchScript", 1, _STAGES))
        write_torchscript(detector, temporary / TORCHSCRIPT, channels, side)
        on_progress(Progress("ONNX", 2, _STAGES))
        write_onnx(detector, temporary / ONNX, channels, side)
        on_progress(Progress("parity", 3, _STAGES))
        formats, least = _read_back(temporary), detector.method.least_rank_correlation
        eager = as_predict(detector)
        parity = measure(eager, formats, validation, least, mirrored=by_folds is not None)
        _check_parity(parity)
        on_progress(Progress("calibration", 4, _STAGES))
        calibration = by_folds or _calibrated(formats["onnx"], validation, config)
        check_thresholds(calibration)
        config = config.model_copy(update={"labels": [*config.labels, *calibration_labels(calibration)]})
        write_record(temporary / CONFIG, config)
        write_record(temporary / CALIBRATION, calibration)
        images = images_of(config, calibration, validation)
        hand_over(run, temporary, Images(store=validation.sha256, subjects=subjects_hash(validation.subjects)))
        _tell(temporary, config, calibration, Proof(images, *eager(images)), parity)
        return write_manifest(temporary, config.id, parity)


def _check_kind(config: Config, validation: Store) -> None:
    """Refuse images of another kind than those that the run was trained on."""
    if validation.facts.channels != config.input.channels:
        raise UsageError(
            f"{validation.facts.name} has {validation.facts.channels} channels", f"{config.input.channels} of them"
        )
    config.check_side(validation.facts.name, validation.facts.side)
    config.check_scale(validation.facts.name, validation.facts.scale)


def _calibrated(predict: Predict, validation: Store, config: Config) -> Calibration:
    return calibrate(predict, validation, config.foreground, subject_rule(config), config.erosion)


def _check_other_images(config: Config, validation: Store, training: Store | None) -> None:
    """Refuse to calibrate on diseased images, or on what the model has learnt from."""
    validation.check_health()
    if validation.sha256 == config.training.store:
        raise UsageError("the validation images are the training images", "healthy images of other subjects")
    if training is None or training.sha256 != config.training.store:
        return
    subjects, images = validation.shared_with(training)
    if subjects or images:
        who = f", and shares {len(subjects)} subjects with it, the first {subjects[0]}" if subjects else ""
        raise UsageError(
            f"the store {validation.facts.name} holds {images} images that the model was trained on{who}",
            "healthy images of other subjects",
            "prepare the domain again into another folder, and train anew",
        )


def _read_back(folder: Path) -> dict[str, Predict]:
    return {
        "safetensors": as_predict(load_detector(folder)),
        "torchscript": as_predict(load_script(folder / TORCHSCRIPT)),
        "onnx": onnx_predict(folder / ONNX, "cpu", None),
    }


def _check_parity(parity: list[Parity]) -> None:
    for row in parity:
        if not row.passed:
            raise ToleranceError(
                f"the format {row.format} differs from the eager model by {row.map_difference:.1e} in maps and "
                f"{row.score_difference:.1e} in scores at batch {row.batch}, with a rank correlation of "
                f"{row.rank_correlation:.5f}",
                f"at most {row.tolerance:.0e} of the range, {row.map_range:.2g} and {row.score_range:.2g}",
            )


def _tell(folder: Path, config: Config, calibration: Calibration, proof: Proof, parity: list[Parity]) -> None:
    """Write what an artefact says of itself: to people, to runtimes, to the law and to the tools of bioimage.io."""
    proof.write(folder)
    describe(folder / ONNX, facts_of(config, calibration))
    write_card(folder, config, calibration, parity)
    _write_legal(folder, config)
    write_rdf(folder, config, proof, OPSET, versions()["torch"])


def _write_legal(folder: Path, config: Config) -> None:
    domain = config.images
    write_text(folder / "LICENSE", importlib.metadata.distribution("upd-zoo").read_text("licenses/LICENSE") or "")
    terms = f"Trained on {domain.title}. Licence of the data: {domain.licence}.\n"
    terms += f"Attribution: {domain.attribution}.\n" if domain.attribution else ""
    write_text(folder / DATA_TERMS, terms)
    citation = f'cff-version: 1.2.0\ntitle: "{config.id}"\nmessage: Cite the study and the authors of {config.title}.\n'
    authors = "type: software\nlicense: Apache-2.0\nauthors:\n  - name: The upd-zoo developers\n"
    write_text(folder / "CITATION.cff", citation + authors)
