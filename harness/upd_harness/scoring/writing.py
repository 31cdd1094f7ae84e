"""Results of inputs written: map, pictures, and the row that tells of them.

An input whose results cannot be stored is one failed row; a place that takes no more files stops the run.
"""

import struct
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.spatialimages import HeaderDataError

from upd_harness.report.overlay import colour_range, thumbnail
from upd_harness.scoring.cases import Case
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import IDENTIFYING, SCHEMA, Row
from upd_harness.scoring.output import OF_THE_PLACE, cannot_be_written
from upd_harness.scoring.panel import Panel
from upd_harness.scoring.reading import AGAIN, Opened, out_of_memory
from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.files import replacing, sha256_of
from upd_zoo.images.foreground import inside
from upd_zoo.runtime.model import Array

_UNWRITABLE: Final = (ArithmeticError, HeaderDataError, OSError, ValueError, struct.error)
"""What NumPy, nibabel, tifffile, Pillow and the operating system raise for results that they cannot store."""


class Writer:
    """Writes the results of inputs.

    Args:
        panel: What scored them.
        output: Where maps and pictures go.
    """

    def __init__(self, panel: Panel, output: Path) -> None:
        self.output = output
        self._alone = panel.scorers[0] if panel.named else None
        self._colours = {id(scorer): colour_range(scorer.model.calibration) for scorer in panel.scorers}

    def row(self, opened: Opened, maps: Array, scores: Array, seconds: float) -> Row:
        """Write the outputs of one input and return its row."""
        began, scorer = time.monotonic(), opened.scorer or self._alone
        try:
            result = self._succeeded(opened, maps, scores)
        except InputError as error:
            result = _failed(error)
        seconds += opened.seconds + time.monotonic() - began
        head = {"schema": SCHEMA, "input": opened.source.name, "input_sha256": opened.sha256}
        run = dict.fromkeys(IDENTIFYING) if scorer is None else scorer.described
        device = None if scorer is None else scorer.model.device
        return head | result | run | {"device": device, "seconds": round(seconds, 3)}

    def _succeeded(self, opened: Opened, maps: Array, scores: Array) -> Row:
        """Return what is told of a scored input.

        Raises:
            InputError: It was not read, its map is not finite, or its results cannot be stored.
        """
        case, judged, shown = judge(opened, maps, scores)
        written = self._written(opened, case, maps, shown)
        warnings = [caution.as_document() for caution in case.cautions]
        return {**judged, **written, "geometry": case.describe(), "warnings": warnings}

    def _written(self, opened: Opened, case: Case, maps: Array, worst: int) -> Row:
        """Write the outputs of one input; return their paths relative to the output folder, and their hashes.

        Raises:
            InputError: They cannot be stored, of this input alone.
            UpdZooError: Nothing can be stored in this place.
        """
        source, colours = opened.source, self._colours[id(opened.scorer)]
        try:
            outputs = source.outputs
            case.write(self.output, source, maps, colours)
            with replacing(self.output / outputs["thumbnail"]) as temporary:
                temporary.write_bytes(thumbnail(case.images[worst], maps[worst], *colours))
            hashes = {kind: sha256_of(self.output / name) for kind, name in outputs.items()}
            return {"outputs": outputs, "outputs_sha256": hashes}
        except MemoryError:
            raise out_of_memory(source) from None
        except _UNWRITABLE as error:
            if isinstance(error, OSError) and error.errno in OF_THE_PLACE:
                raise cannot_be_written(self.output, error) from error
            raise _unwritable(source, error) from error


def judge(opened: Opened, maps: Array, scores: Array) -> tuple[Case, Row, int]:
    """Return an input as its model saw it, what the model says of it, and which of its images shows that best.

    Args:
        opened: The input.
        maps: (N, H, W) of its images.
        scores: (N,) of them.

    Raises:
        InputError: It was not read, or its map is not finite.
    """
    source, case, scorer = opened.source, opened.case, opened.scorer
    if case is None or scorer is None:
        raise opened.error or InputError(InputErrorCode.UNREADABLE, f"{source.name}: it was not read")
    if not (np.isfinite(maps).all() and np.isfinite(scores).all()):
        raise InputError(InputErrorCode.NOT_FINITE, f"{source.name}: the model's map of it is not finite")
    calibration = scorer.model.calibration
    healthy = calibration.subject_scores if source.is_volume else calibration.image_scores
    threshold = calibration.subject_threshold if source.is_volume else calibration.image_threshold
    rule, tissue = calibration.subject_rule, inside(case.images, scorer.model.config.foreground).mean(axis=(1, 2))
    score = rule.score(scores, tissue)
    slice_scores: list[float | None] = [None] * case.depth
    for position, value in zip(case.positions, scores, strict=True):
        slice_scores[position] = float(value)
    judged: Row = {
        "status": "ok",
        "error": None,
        "score": score,
        "percentile": round(healthy.percentile(score), 3),
        "threshold": threshold,
        "is_anomalous": score > threshold,
        "slice_scores": slice_scores if source.is_volume else None,
    }
    return case, judged, rule.shown(scores, tissue)


def _unwritable(source: Input, error: BaseException) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
    problem = f"{source.files[0].name}: its results cannot be stored ({reason})"
    return InputError(InputErrorCode.UNWRITABLE, problem, "", AGAIN)


def _failed(error: InputError) -> Row:
    nothing: dict[str, Any] = dict.fromkeys(
        ("score", "percentile", "threshold", "is_anomalous", "slice_scores", "outputs", "outputs_sha256", "geometry")
    )
    return {"status": "failed", "error": {"code": str(error.code), "message": str(error)}, **nothing, "warnings": []}
