"""The pages: a scoring run or an evaluation as one HTML file, with everything inside, that opens offline.

File names, messages and whatever else comes from outside are hostile until escaped: every value passes `_shown`, then
Jinja's autoescape; and a content security policy forbids the page to load anything or to run any other script.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from upd_harness.report.charts import Axis, Tick, histogram, slice_curve
from upd_harness.report.overlay import overlay
from upd_harness.report.ranking import Case, Survey
from upd_harness.report.text import legible
from upd_zoo.artefact.metrics import BESIDE, METRICS, Metric
from upd_zoo.files import replacing
from upd_zoo.vocabulary import TEST_SETS

REPORT: Final = "report.html"
ABSENT: Final = "\N{EN DASH}"
_MOST_BYTES: Final = 512 * 1024
"""A larger thumbnail is none of ours, and is not put into the page."""
_SIGNATURES: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}

_GLYPHS: Final = "◇△□▽○☆◁▷"


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One strip of the gallery.

    Attributes:
        title: Which case, such as "highest-scoring anomalous image".
        jpeg: Bytes of a JPEG file: image, map over image, truth.
        caption: What to know about it, such as its score.
    """

    title: str
    jpeg: bytes
    caption: str


def write_score_report(
    output: Path,
    run: Mapping[str, Any],
    found: Survey,
    by_model: Mapping[str, Survey] | None = None,
    *,
    name: str = REPORT,
) -> Path:
    """Write `report.html` of a scoring run into its output folder, whole or not at all.

    Args:
        output: Folder of the run; thumbnails are read from it, and a missing one leaves its place empty.
        run: The content of `run.json`. Where it has `colours`, a mapping with `low` and `high`, the colour bar
            carries the map values at its ends; where it has `left_out` and `earlier_results`, what was not scored is
            told.
        found: The content of `results.jsonl` in short.
        by_model: The same of each of the run's `models`, by its name; scores of two models cannot be compared, so
            each ranks its own.
        name: File name of the report.

    Returns:
        Path of the report.
    """
    used = _used(run, found, by_model or {})
    models = [model for model, _ in used]
    return write_page(
        output / name,
        "score.html.jinja",
        run=run,
        models=models,
        labels=list(dict.fromkeys(label for model in models for label in model["labels"])),
        found=found,
        shares=[_Share.of(output, model, own) for model, own in used],
        left_out=run.get("left_out") or {},
        earlier_results=run.get("earlier_results") or (),
        slice_curve=slice_curve,
        colour_bar=_colour_bar(),
    )


def write_evaluation_report(
    output: Path,
    result: Mapping[str, Any],
    run: Mapping[str, Any],
    gallery: Sequence[GalleryItem],
    *,
    healthy_scores: NDArray[Any] | Sequence[float] = (),
    anomalous_scores: NDArray[Any] | Sequence[float] = (),
) -> Path:
    """Write `report.html` of an evaluation into its output folder, whole or not at all.

    Args:
        output: Folder of the evaluation.
        result: The content of an artefact's `results/<test set>.json` (`upd_zoo.artefact.records.Result`).
        run: The content of `run.json`.
        gallery: Strips, in the order they are shown.
        healthy_scores: (N,) scores of the healthy images, for the histogram.
        anomalous_scores: (M,) scores of the anomalous images.

    Returns:
        Path of the report.
    """
    test_set = TEST_SETS.get(result["test_set"])
    return write_page(
        output / REPORT,
        "evaluation.html.jinja",
        run=run,
        models=[run["model"]],
        labels=list(dict.fromkeys([*result["labels"], *run["model"]["labels"]])),
        result=result,
        test_set=test_set.title if test_set else result["test_set"],
        baselines=[(_glyph(index), name) for index, name in enumerate(result["baselines"])],
        metrics=_metric_rows(result),
        unit=Axis(0.0, 1.0, 8.0, 212.0),
        chart=histogram(np.asarray(healthy_scores), np.asarray(anomalous_scores)),
        gallery=[(item, data_uri(item.jpeg)) for item in gallery],
        colour_bar=_colour_bar(),
        colour_ticks=_colour_ticks(run.get("colours")),
    )


@dataclass(frozen=True, slots=True)
class _Share:
    """What one model of a scoring run scored.

    Attributes:
        model: What `run.json` says of it.
        found: What it scored.
        cases: Those that are shown, each with its picture.
        colour_ticks: What the colours of its maps mean.
        are_values: Whether they are map values; else they are shares of the scale.
    """

    model: Mapping[str, Any]
    found: Survey
    cases: Iterator[tuple[Case, str | None]]
    colour_ticks: tuple[Tick, ...]
    are_values: bool

    @classmethod
    def of(cls, output: Path, model: Mapping[str, Any], found: Survey) -> "_Share":
        ticks = _colour_ticks(model.get("colours"))
        return cls(model, found, _pictured(output, found.pictured), ticks, "colours" in model)


def _used(
    run: Mapping[str, Any], found: Survey, by_model: Mapping[str, Survey]
) -> list[tuple[Mapping[str, Any], Survey]]:
    """Return the models of a run that scored anything, the first where none did, each with what it scored."""
    if "model" in run:
        colours = {"colours": run["colours"]} if "colours" in run else {}
        return [({**run["model"], **colours}, found)]
    scored = [(model, by_model[model["id"]]) for model in run["models"]]
    return [each for each in scored if each[1].counts["ok"]] or scored[:1]


def write_page(report: Path, template: str, **content: Any) -> Path:
    """Write a page from one of the package's templates, whole or not at all; return its path.

    Args:
        report: The file.
        template: Name of the template.
        content: What it shows by the names that it uses; every text is escaped.
    """
    environment = _environment()
    style, script = (Markup(environment.get_template(name).render()) for name in ("style.css", "script.js"))  # noqa: S704 - files of this package
    content |= {"style": style, "style_hash": _csp_hash(style), "script": script, "script_hash": _csp_hash(script)}
    with replacing(report) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(environment.get_template(template).generate(content))
    return report


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("upd_harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": _duration, "count": "{:,}".format, "fixed": _fixed}
    return environment


def _shown(value: Any) -> Any:
    """Return the text of a value as the page shows it; applied to every expression of every template."""
    match value:
        case Markup():
            return value
        case None:
            return ABSENT
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}" if math.isfinite(value) else ABSENT
        case str():
            return legible(value)
        case Mapping():
            return ", ".join(f"{_shown(key)} {_shown(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(str(_shown(item)) for item in value)
        case _:
            return value


def _fixed(value: float | None, digits: int) -> str:
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _pictured(output: Path, cases: Iterable[Case]) -> Iterator[tuple[Case, str | None]]:
    """Give each case with its thumbnail, one at a time, so that the pictures are never in memory together."""
    for case in cases:
        yield case, None if case.thumbnail is None else _picture(output, case.thumbnail)


def _picture(output: Path, name: str) -> str | None:
    """Return a picture within the folder `output` as a data URI, or None where there is no such picture."""
    try:
        path = (output / name).resolve()
        inside = path.is_relative_to(output.resolve()) and path.is_file() and path.stat().st_size <= _MOST_BYTES
        return data_uri(path.read_bytes()) if inside else None
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None


def data_uri(data: bytes) -> str | None:
    """Return a picture, JPEG or PNG, as an address that holds it; None for anything else."""
    kinds = (kind for signature, kind in _SIGNATURES.items() if data.startswith(signature))
    kind = next(kinds, None)
    return None if kind is None else f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _colour_bar() -> str | None:
    """Return the colour scale over mid-grey as a data URI, drawn as the maps are, hence true to them."""
    ramp = np.tile(np.linspace(0, 1, 256), (16, 1))
    stream = BytesIO()
    overlay(np.full((1, *ramp.shape), 0.45), ramp, 0, 1).save(stream, "PNG", optimize=True)
    return data_uri(stream.getvalue())


def _colour_ticks(colours: Mapping[str, float] | None) -> tuple[Tick, ...]:
    """Return quarters of the bar (352 pixels), labelled by map value where known and by share of the scale else."""
    low, high, unit = (0.0, 100.0, " %") if colours is None else (colours["low"], colours["high"], "")
    bar = Axis(0.0, 1.0, 0.5, 351.5)
    return tuple(Tick(bar.at(part), f"{low + (high - low) * part:.3g}{unit}") for part in (0, 0.25, 0.5, 0.75, 1))


def _metric_rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give one row per metric: its value with interval, or why it has none, and the baselines beside it."""
    measured = [each for each in BESIDE if result["metrics"].get(each.id) is not None]
    for metric in (*METRICS, *measured):
        value, interval = result["metrics"][metric.id], result["intervals"].get(metric.id)
        rivals = [metrics.get(metric.id) for metrics in result["baselines"].values()]
        baselines = [(_glyph(index), rival) for index, rival in enumerate(rivals)]
        known = [baseline for _, baseline in baselines if baseline is not None]
        yield {
            "name": metric.title,
            "meaning": metric.meaning,
            "value": value,
            "interval": interval,
            "baselines": baselines,
            "reason": None if value is not None else _reason(metric, result),
            "no_better": value is not None and bool(known) and max(known) >= (interval or [value])[0],
        }


def _glyph(index: int) -> str:
    return _GLYPHS[index % len(_GLYPHS)]


def not_clearly_better(result: Mapping[str, Any]) -> list[str]:
    """Return the metrics by which a model is not clearly better than a trivial baseline."""
    return [row["name"] for row in _metric_rows(result) if row["no_better"]]


def why_undefined(result: Mapping[str, Any]) -> list[str]:
    """Return why metrics of a result have no value, one line for each reason; nothing where all have one."""
    names: dict[str, list[str]] = {}
    for metric in METRICS:
        if result["metrics"][metric.id] is None:
            names.setdefault(_reason(metric, result), []).append(metric.title)
    return [f"{', '.join(each)} not defined: {reason}" for reason, each in names.items()]


def _reason(metric: Metric, result: Mapping[str, Any]) -> str:
    """Say why a metric is not defined."""
    test_set = TEST_SETS.get(result["test_set"])
    if metric.of_pixels and test_set is not None and not test_set.has_masks:
        return "this test set has no lesion masks"
    if result["anomalous"] == 0:
        return "nothing in these images is anomalous"
    if metric.of_pixels:
        return "no lesion masks were found"
    return "no image is healthy" if result["anomalous"] == result["images"] else "not computed"
