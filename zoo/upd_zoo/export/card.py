"""The model card: what a person should know of a model before using it."""

from importlib.resources import files
from pathlib import Path

import jinja2
from huggingface_hub import ModelCard, ModelCardData

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.metrics import METRICS, figure
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CARD, RESULTS, Config, Parity, Result
from upd_zoo.files import write_text
from upd_zoo.vocabulary import TEST_SETS


def write_card(folder: Path, config: Config, calibration: Calibration, parity: list[Parity]) -> None:
    """Write the model card of an artefact, with every result that lies in its folder."""
    results = [read_record(path, Result) for path in sorted((folder / RESULTS).glob("*.json"))]
    domain = config.images
    template = (files("upd_zoo") / "export" / "model_card.md.jinja").read_text(encoding="utf-8")
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
    write_text(folder / CARD, f"---\n{_front_matter(config).to_yaml()}\n---\n\n{body}")
    ModelCard.load(folder / CARD)


def _front_matter(config: Config) -> ModelCardData:
    tags = ["upd-zoo", "anomaly-detection", "medical-imaging", config.images.modality.id, config.method]
    return ModelCardData(
        license="apache-2.0", library_name="upd-zoo", pipeline_tag="image-segmentation", tags=[*tags, "research-only"]
    )
