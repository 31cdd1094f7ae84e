"""The model card: what a person should know of a model before using it."""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.metrics import METRICS, Metric, figure
from upd_zoo.artefact.proof import PROOF
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CARD, DATA_TERMS, RESULTS, TORCHSCRIPT, WEIGHTS, Config, Parity, Result
from upd_zoo.files import write_text
from upd_zoo.vocabulary import TEST_SETS, Access, Domain, Framing


def write_card(folder: Path, config: Config, calibration: Calibration, parity: list[Parity]) -> None:
    """Write the model card of an artefact, with every result that lies in its folder."""
    results = [read_record(path, Result) for path in sorted((folder / RESULTS).glob("*.json"))]
    template = (files("upd_zoo") / "card" / "model_card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - the result is Markdown of our own records
    )
    environment.filters["figure"] = figure
    body = environment.from_string(template).render(
        config=config,
        domain=config.images,
        terms=terms_of(config.images),
        framed=_FRAMED[config.framing],
        weights=(folder / WEIGHTS).is_file(),
        script=(folder / TORCHSCRIPT).is_file(),
        proof=(folder / PROOF[0]).is_file(),
        calibration=calibration,
        formats=list(_formats(parity)),
        batches=sorted({row.batch for row in parity}),
        results=results,
        shown=[metric for metric in METRICS if any(metric in _measured(result) for result in results)],
        measured=_measured,
        bounded=_bounded,
        others=lambda result: [label for label in result.labels if label not in config.labels],
        test_sets=TEST_SETS,
    )
    write_text(folder / CARD, f"---\n{_front_matter(config, results).to_yaml()}\n---\n\n{body}")
    ModelCard.load(folder / CARD)


class _Format(NamedTuple):
    """How far a format is from the model in memory: shares of the range of its answers, and the least correlation."""

    format: str
    map: float
    score: float
    rank: float


def _formats(parity: Sequence[Parity]) -> Iterator[_Format]:
    """Yield the largest differences of each format over all sizes of a batch."""
    for name in dict.fromkeys(row.format for row in parity):
        rows = [row for row in parity if row.format == name]
        yield _Format(
            name,
            max(row.map_difference / (row.map_range or 1) for row in rows),
            max(row.score_difference / (row.score_range or 1) for row in rows),
            min(row.rank_correlation for row in rows),
        )


def _measured(result: Result) -> list[Metric]:
    """Return the metrics that a test set allows: without masks of lesions, those of images alone."""
    return [metric for metric in METRICS if getattr(result.metrics, metric.id) is not None]


def _bounded(result: Result, metric: str) -> str:
    """Return a figure with its interval, where it has one."""
    text, bounds = figure(getattr(result.metrics, metric)), result.intervals.get(metric)
    return text if bounds is None else f"{text} ({figure(bounds[0])} to {figure(bounds[1])})"


_FRAMED: Final = {
    Framing.CENTRE_CROP: "the square in the middle of a photograph",
    Framing.SQUARE_SLICES: "axial slices, with background around them to a square",
    Framing.STRETCH: "the whole image, stretched to a square",
}


def _front_matter(config: Config, results: Sequence[Result]) -> ModelCardData:
    """Return what the Hub reads: it finds models by it, and shows their figures."""
    tags = ["upd-zoo", "anomaly-detection", "medical-imaging", config.images.modality.id, config.method]
    measured = [each for result in results for each in _as_evaluated(result)]
    origin, terms = config.weights_origin, terms_of(config.images)
    return ModelCardData(
        library_name="upd-zoo",
        pipeline_tag=_TASK,
        tags=[*tags, "research-only"],
        datasets=[config.domain],
        base_model=f"timm/{origin.backbone}.{origin.name}" if origin is not None and origin.source == "timm" else None,
        model_name=config.id,
        eval_results=measured,
        metrics=list(dict.fromkeys(each.metric_type for each in measured)) or None,
        labels=config.labels or None,
        license=terms.hub,
        license_name=terms.name,
        license_link=terms.link,
    )


def _as_evaluated(result: Result) -> Iterator[EvalResult]:
    """Yield the figures of a result as the Hub knows them."""
    for metric in METRICS:
        value, bounds = getattr(result.metrics, metric.id), result.intervals.get(metric.id)
        if value is not None:
            yield EvalResult(
                task_type=_TASK,
                dataset_type=result.test_set,
                dataset_name=f"{TEST_SETS[result.test_set].title}, {result.images} images",
                metric_type=metric.id,
                metric_name=metric.title,
                metric_value=round(value, 4),
                metric_args=None if bounds is None else {"interval of 95 %": [round(each, 4) for each in bounds]},
            )


class Terms(NamedTuple):
    """A licence as the Hub writes it; name and place of one that the Hub does not know."""

    hub: str
    name: str | None = None
    link: str | None = None


def terms_of(domain: Domain) -> Terms:
    """Return the licence of weights: ours where the data allow that, else that of the data."""
    if domain.licence in _PASSED_ON:
        return Terms(_PASSED_ON[domain.licence])
    if domain.access in (Access.OPEN, Access.SYNTHETIC):
        return Terms("apache-2.0")
    return Terms("other", "-".join(re.findall(r"[a-z0-9]+", domain.licence.lower())), DATA_TERMS)


_TASK: Final = "image-segmentation"
_PASSED_ON: Final = {"CC BY-SA 3.0": "cc-by-sa-3.0"}
"""Licences of open data that ask what is made of them to keep them, and how the Hub writes them."""
