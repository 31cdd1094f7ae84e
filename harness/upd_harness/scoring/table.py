"""Images scored for a program: rows and maps in memory, and nothing written.

Files go through the same reader, the same models and the same judgement as those of `upd-zoo score`.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from upd_harness.scoring.heads import Heads
from upd_harness.scoring.inputs import Input
from upd_harness.scoring.journal import Row
from upd_harness.scoring.panel import Panel, Scorer, packaged_panel
from upd_harness.scoring.parts import batches
from upd_harness.scoring.pipeline import Pipeline, batched
from upd_harness.scoring.reading import Opened, Reader
from upd_harness.scoring.search import list_inputs
from upd_harness.scoring.writing import judge
from upd_zoo.errors import InputError, NotFoundError
from upd_zoo.hub.packaged import place_of
from upd_zoo.progress import Progress, Report, silent
from upd_zoo.runtime.folder import load_folder
from upd_zoo.runtime.model import Array, Model
from upd_zoo.scores import Prediction, Scored, Table

_BATCH: Final = 16
_WORKERS: Final = 2


def score(
    path: Path, model: Model | None, *, prepare: bool, batch_size: int = _BATCH, on_progress: Report = silent
) -> Table:
    """Return a row for every image below a folder.

    Args:
        path: A folder, searched recursively, or one file.
        model: What scores; None for the packaged model of each kind of image.
        prepare: Whether a named model has brains found in whole heads.
        batch_size: Images per call of the network.
        on_progress: Told after every input.

    Raises:
        UpdZooError: There is no such path or no image, no model, or the model does not run. An image that cannot be
            scored raises nothing: its row says why.
    """
    panel = packaged_panel(lambda name: load_folder(place_of(name))) if model is None else _panel(model, prepare)
    inputs = panel.listed(list_inputs(path).inputs)
    pipeline = Pipeline(Reader(panel), _Teller(panel), batch_size=batch_size, workers=_WORKERS)
    found: dict[str, Scored] = {}
    for row in pipeline.rows(batches(inputs, batch_size)):
        found[row["input"]] = _scored(row)
        on_progress(Progress("", len(found), len(inputs), row["input"]))
    return Table(tuple(found[each.name] for each in inputs))


def predict(model: Model, file: Path, *, prepare: bool) -> Prediction:
    """Return the map of one file, in the file's own shape, and what the model says of it.

    Raises:
        InputError: The file cannot be scored.
        UpdZooError: There is no such file, or the model does not run.
    """
    if not file.is_file():
        raise NotFoundError(f"the file {file} does not exist", "one image; upd_zoo.score takes a folder")
    panel = _panel(model, prepare)
    (source,) = panel.listed([Input.of(file)])
    opened = Reader(panel).open(source)
    if opened.case is None:
        raise opened.error or AssertionError("what is not refused was read")
    maps, scores = batched(model, opened.case.images, _BATCH)
    return Prediction(opened.case.restore(maps), _scored(_Teller(panel).row(opened, maps, scores, 0.0)))


def _panel(model: Model, prepare: bool) -> Panel:
    heads = Heads.known_to(model.config) if prepare else None
    return Panel((Scorer(model, model.revision or "main", heads),))


class _Teller:
    """Tells of results and writes none."""

    def __init__(self, panel: Panel) -> None:
        self._alone = panel.scorers[0] if panel.named else None

    def row(self, opened: Opened, maps: Array, scores: Array, seconds: float) -> Row:  # noqa: ARG002 - a row of a run tells them
        """Return the row of one input."""
        scorer = opened.scorer or self._alone
        head: Row = {"input": opened.source.name, "model": "" if scorer is None else scorer.model.config.id}
        try:
            case, judged, _ = judge(opened, maps, scores)
        except InputError as error:
            return {**head, "status": "failed", "error": str(error), "warnings": ()}
        return {**head, **judged, "error": "", "warnings": tuple(caution.message for caution in case.cautions)}


def _scored(row: Row) -> Scored:
    named: dict[str, Any] = {field.name: row.get(field.name) for field in fields(Scored)}
    return Scored(**named)
