"""What the cards on the Hugging Face Hub say of models: the labels, and the `model-index`, of their front matter.

Whoever can write a card can write anything there, so that only figures of known metrics that can be are taken, and of
labels a few short ones.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from upd_zoo.artefact.metrics import METRICS
from upd_zoo.hub.catalogue import Figure, Measured
from upd_zoo.vocabulary import is_set_name

ASKED: Final = "expand=cardData&expand=model-index"
"""What a list of models is asked for, so that figures come with the names."""
LABEL: Final = "as its card says"
"""What is told of a model whose figures nobody here measured, and whose labels nobody here checked."""
_IMAGES: Final = re.compile(r"(?<!\d)(\d{1,9}) images$")
_MOST_SETS: Final = 100
_MOST_LABELS: Final = 20
_LONGEST_LABEL: Final = 120
"""Characters; the longest of upd-zoo's own, of a calibration in folds, has fewer than 80."""


def measured_in(entry: Mapping[str, Any]) -> dict[str, Measured]:
    """Return what a model of a list scores by its card, by test set; nothing where its card says nothing.

    Args:
        entry: What the hub's list says of the model, which may be anything.
    """
    index = entry.get("model-index") or _card(entry).get("model-index")
    found: dict[str, tuple[int, dict[str, Figure]]] = {}
    for result in _dicts(_first(index).get("results")):
        data = _first([result.get("dataset")])
        name, title = str(data.get("type")), str(data.get("name"))
        counted = _IMAGES.search(title)
        if is_set_name(name) and counted is not None and len(found) < _MOST_SETS:
            figures = found.setdefault(name, (int(counted[1]), {}))[1]
            figures.update(_figures(result.get("metrics")))
    return {name: Measured(images, None, figures) for name, (images, figures) in found.items() if figures}


def labels_in(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reader of any number of a model must be told by its card; nothing where its card says nothing.

    Args:
        entry: What the hub's list says of the model, which may be anything.
    """
    labels = _card(entry).get("labels")
    words = [each for each in labels if isinstance(each, str)] if isinstance(labels, list) else []
    return tuple(each for each in words if each.isprintable() and 0 < len(each) <= _LONGEST_LABEL)[:_MOST_LABELS]


def _card(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    card = entry.get("cardData")
    return card if isinstance(card, dict) else {}


def _figures(metrics: object) -> Iterator[tuple[str, Figure]]:
    known = {metric.id for metric in METRICS}
    for metric in _dicts(metrics):
        name, value = str(metric.get("type")), _share(metric.get("value"))
        if name in known and value is not None:
            yield name, Figure(value, _interval(metric.get("args")))


def _interval(args: object) -> tuple[float, float] | None:
    bounds = next(iter(args.values()), None) if isinstance(args, dict) else None
    if not isinstance(bounds, list) or len(bounds) != 2:
        return None
    low, high = map(_share, bounds)
    return None if low is None or high is None else (low, high)


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= 1 else None


def _dicts(values: object) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _first(values: object) -> dict[str, Any]:
    return next(iter(_dicts(values)), {})
