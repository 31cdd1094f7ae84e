"""Calibration where nobody can be spared for it: everyone is scored by a model that has not learnt from him.

The subjects of a training are divided into parts. For each part a model is trained on all others by the same recipe,
and scores it; all scores together are the yardstick of the model that has learnt from everyone. Models of fewer images
know less of what is healthy and score it higher, so a threshold errs towards silence.

Reference: Vovk 2015, "Cross-conformal predictors".
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import CALIBRATION, CONFIG, Config
from upd_zoo.export.calibration import subject_rule
from upd_zoo.fitting.run import RunSettings, alone
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.recipe import Recipe
from upd_zoo.runtime.eager import as_predict, load_detector
from upd_zoo.stores.store import Sample, Store, write_store
from upd_zoo.training import train
from upd_zoo.yardstick import Yardstick

Rows = npt.NDArray[np.intp]

_FOLDS: Final = "folds"
"""Folder, within that of the run, of what is trained; it is removed in the end."""
_BATCH: Final = 16


def calibrate_by_folds(
    model: ModelId, recipe: Recipe, store: Store, run: Path, settings: RunSettings, on_progress: Report = silent
) -> None:
    """Write the calibration of a finished run into its folder, unless it is there.

    Args:
        model: Its name.
        recipe: How it was trained.
        store: What it was trained on; its facts say into how many parts its subjects are divided.
        run: Its folder.
        settings: Those of the run.
        on_progress: Told of every model that is trained.
    """
    with alone(run):
        if not (run / CALIBRATION).is_file():
            write_record(run / CALIBRATION, _by_folds(model, recipe, store, run, settings, on_progress))


def _by_folds(
    model: ModelId, recipe: Recipe, store: Store, run: Path, settings: RunSettings, on_progress: Report
) -> Calibration:
    config, folder, folds = read_record(run / CONFIG, Config), run / _FOLDS, store.facts.folds
    yardstick = Yardstick(config.foreground, subject_rule(config), config.erosion)
    subjects = np.array(store.subjects)
    names = list(dict.fromkeys(store.subjects))
    try:
        for fold in range(folds):
            on_progress(Progress("calibration", fold, folds))
            shutil.rmtree(folder, ignore_errors=True)
            unseen = np.isin(subjects, names[fold::folds])
            rest = _part(store, np.flatnonzero(~unseen), folder / "store")
            train(model, recipe, rest, folder / "run", replace(settings, resume=False))
            _judge(folder / "run", store, np.flatnonzero(unseen), yardstick)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return yardstick.calibration(store.facts.name).model_copy(update={"folds": folds})


def _part(store: Store, rows: Rows, folder: Path) -> Store:
    """Write a store of some images of a store."""
    samples = (Sample(np.array(store.images[row]), False, store.subjects[row]) for row in rows)
    facts = store.facts
    how: dict[str, Any] = {"channels": facts.channels, "side": facts.side, "has_masks": False}
    write_store(folder, facts.name, samples, labels=facts.labels, provenance=facts.provenance, **how)
    return Store(folder)


def _judge(run: Path, store: Store, rows: Rows, yardstick: Yardstick) -> None:
    predict = as_predict(load_detector(run))
    for start in range(0, len(rows), _BATCH):
        chosen = rows[start : start + _BATCH]
        images = np.ascontiguousarray(store.images[chosen])
        maps, scores = predict(images)
        yardstick.add(images, maps[:, 0], scores, [store.subjects[row] for row in chosen])
