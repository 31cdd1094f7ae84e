"""The model card: what a person should know of a model before using it."""

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.metrics import METRICS, figure
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CARD, DATA_TERMS, RESULTS, Config, Parity, Result
from upd_zoo.files import write_text
from upd_zoo.vocabulary import TEST_SETS, Access, Domain


def write_card(folder: Path, config: Config, calibration: Calibration, parity: list[Parity]) -> None:
    """Write the model card of an artefact, with every result that lies in its folder."""
    results = [read_record(path, Result) for path in sorted((folder / RESULTS).glob("*.json"))]
    domain = config.images
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
        domain=domain,
        calibration=calibration,
        parity=parity,
        results=results,
        metrics=METRICS,
        test_sets=TEST_SETS,
    )
    write_text(folder / CARD, f"---\n{_front_matter(config, results).to_yaml()}\n---\n\n{body}")
    ModelCard.load(folder / CARD)


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
