"""A model's thresholds for one's own scanner, from healthy images of it; nothing is trained.

Its healthy scores, its picture of what healthy images look like and its thresholds become those of the images given.
The threshold that cases are held against keeps a promise (`upd_zoo.artefact.conformal`); that of pixels, and that of
single slices, lets the same share of those given through.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from upd_harness.scoring.inputs import Input
from upd_harness.scoring.panel import Panel, Scorer
from upd_harness.scoring.reading import Opened, Reader
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.conformal import Promise, drift, promise
from upd_zoo.artefact.graph_facts import describe, facts_of
from upd_zoo.artefact.provenance import hand_on, write_manifest
from upd_zoo.artefact.record import write_record
from upd_zoo.artefact.records import CALIBRATION, CARD, CONFIG, ONNX, Config, Manifest
from upd_zoo.errors import InputError, ToleranceError, UsageError
from upd_zoo.files import replacing_folder, write_text
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.model import Array, Model
from upd_zoo.yardstick import FALSE_POSITIVE_RATE, Yardstick

DATASET: Final = "own healthy images"
_LABEL: Final = "calibrated on "
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of a calibration.

    Attributes:
        config: What the model is, with labels that say on what its thresholds rest.
        calibration: What healthy images score and look like.
        promise: What the threshold of cases promises.
        before: That threshold as it was.
        drift: Where the median of the healthy cases lies, from 0 to 100, among those that the model was calibrated on
            before; None where both are alike.
        subjects: Whose each of the images is that were looked at; of volumes, of their slices.
        device: Where the model ran.
        failed: Inputs that could not be read, and why.
        warned: How many inputs are unlike the images that the model knew, or doubtful otherwise.
    """

    config: Config
    calibration: Calibration
    promise: Promise
    before: float
    drift: float | None
    subjects: Sequence[str]
    device: str
    failed: dict[str, InputError] = field(default_factory=dict)
    warned: int = 0

    @property
    def images(self) -> int:
        """How many were looked at; of volumes, their slices."""
        return len(self.subjects)


def calibrate(
    scorer: Scorer,
    inputs: Sequence[Input],
    subjects: Callable[[Sequence[str]], dict[str, str]],
    rate: float = FALSE_POSITIVE_RATE,
    *,
    batch_size: int = 16,
    on_progress: Report = silent,
) -> Calibrated:
    """Return a model's thresholds for images like some healthy ones.

    Args:
        scorer: The model, and how its scans are prepared; images are read as they are read to be scored.
        inputs: Healthy images, all photographs or all volumes.
        subjects: Gives whose each of some inputs is, by their names.
        rate: Share of healthy cases that may lie above the threshold.
        batch_size: Images per call of the network.
        on_progress: Told after every input.

    Raises:
        UsageError: They are too few for this rate, or both volumes and pictures.
        ToleranceError: Their scores are all the same.
    """
    model, reader = scorer.model, Reader(Panel((scorer,)))
    if len({each.is_volume for each in inputs}) > 1:
        raise UsageError("there are volumes and pictures", "healthy images of one kind", "keep them in two folders")
    whose = subjects([each.name for each in inputs])
    yardstick = Yardstick(model.config.foreground, model.calibration.subject_rule, model.config.erosion)
    failed: dict[str, InputError] = {}
    warned = 0
    for number, source in enumerate(inputs, start=1):
        opened = reader.open(source)
        if opened.error is not None:
            failed[source.name] = opened.error
        else:
            warned += _taken_in(opened, yardstick, model, whose[source.name], batch_size)
        on_progress(Progress("", number, len(inputs), source.name))
    scores = _cases(yardstick, volumes=inputs[0].is_volume)
    return replace(_calibrated(model, yardstick, scores, rate, inputs[0].is_volume), failed=failed, warned=warned)


def _taken_in(opened: Opened, yardstick: Yardstick, model: Model, subject: str, batch_size: int) -> bool:
    """Take in the images of one input; return whether there is a doubt about it."""
    assert opened.case is not None  # noqa: S101 - for the types
    images = opened.case.images
    for start in range(0, len(images), batch_size):
        batch: Array = images[start : start + batch_size]
        maps, scores = model(batch)
        yardstick.add(batch, maps[:, 0], scores, [subject] * len(batch))
    return bool(opened.case.cautions)


def _cases(yardstick: Yardstick, *, volumes: bool) -> Array:
    """Return the score of one case of each subject: of his volumes, or of the first of his pictures."""
    if not yardstick.subjects:
        return np.empty(0, np.float32)
    if volumes:
        return yardstick.subject_scores.astype(np.float32)
    firsts = list({name: row for row, name in reversed([*enumerate(yardstick.subjects)])}.values())
    return yardstick.image_scores[sorted(firsts)].astype(np.float32)


def _calibrated(model: Model, yardstick: Yardstick, scores: Array, rate: float, volumes: bool) -> Calibrated:
    kept = promise(scores, rate)
    if len(scores) >= _FEWEST and np.ptp(scores) == 0:
        raise ToleranceError(
            f"all {len(scores)} healthy cases score {scores[0]:g}", "scores that differ", "choose another model"
        )
    known = model.calibration
    found = yardstick.calibration(DATASET, rate)
    own = {"subject_threshold" if volumes else "image_threshold": kept.threshold}
    before = known.subject_threshold if volumes else known.image_threshold
    label = f"{_LABEL}{kept.cases} healthy subjects of one's own"
    labels = [each for each in model.config.labels if not each.startswith(_LABEL)]
    return Calibrated(
        model.config.model_copy(update={"labels": [*labels, label]}),
        found.model_copy(update=own),
        kept,
        before,
        drift(scores, known.subject_scores if volumes else known.image_scores),
        yardstick.subjects,
        model.device,
    )


def write_calibrated(found: Calibrated, source: Path, manifest: Manifest, names: Collection[str], folder: Path) -> None:
    """Write a model with its new thresholds as an artefact of its own.

    Args:
        found: What came of the calibration.
        source: The artefact that was calibrated.
        manifest: Its manifest.
        names: Which of its files are the model's own: the graph that was run, and licences. What trained it goes with
            them.
        folder: A new one.

    Raises:
        UsageError: There is something in it.
    """
    with replacing_folder(folder, ()) as temporary:
        for name in names:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes((source / name).read_bytes())
        write_record(temporary / CONFIG, found.config)
        write_record(temporary / CALIBRATION, found.calibration)
        if ONNX in names:
            describe(temporary / ONNX, facts_of(found.config, found.calibration))
        write_text(temporary / CARD, _card(found, manifest))
        hand_on(source, temporary, found.subjects, found.device)
        formats = {name.partition("/")[0] for name in names}
        write_manifest(temporary, manifest.id, [row for row in manifest.parity if row.format in formats])


def _card(found: Calibrated, manifest: Manifest) -> str:
    kept = found.promise
    return (
        f"# {manifest.id}, with thresholds of one's own images\n\n"
        f"Labels: {', '.join(found.config.labels)}. Research only.\n\n"
        f"The model is that of {manifest.created}; nothing was trained. Its thresholds come from {kept.cases} healthy "
        f"subjects: of new healthy cases like theirs, {kept.expected:.1%} are expected above {kept.threshold:.6g}, and "
        f"with a confidence of 95 % at most {kept.at_most:.1%}.\n"
    )
