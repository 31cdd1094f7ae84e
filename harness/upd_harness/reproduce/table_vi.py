"""Table VI: how fast every method is, and how large.

Networks are the study's own, for its chest X-ray setting, with drawn weights. Frames per second are of this machine,
beside those of the study's; they are never judged, for its machine was another. Parameters are judged: they are equal
where they round to the printed millions, by themselves or with what the study is known to have counted besides
(`besides` in published.toml, with the remark that says what).

Source: section VI-E of the study; cards/parameters.md.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from upd_harness.engines.local import apart
from upd_harness.evaluation.published import published
from upd_harness.report.run_record import versions
from upd_harness.reproduce.order import Order
from upd_harness.reproduce.result import SCHEMA, Block, Reproduction
from upd_harness.speed.hardware import hardware
from upd_harness.speed.rates import NETWORK, PATIENCE, WHOLE, rates_of
from upd_harness.speed.untrained import untrained
from upd_zoo.errors import NotFoundError, closest
from upd_zoo.names import ModelId
from upd_zoo.phantoms.files import write_phantom_files
from upd_zoo.progress import Progress, Report
from upd_zoo.recipe import load_recipe
from upd_zoo.vocabulary import Protocol

MANY: Final = 32
_DOMAIN, _FILES = "chexpert", "phantom-cxr"
_ROUNDS: Final = 5
_SECONDS: Final = 20.0
"""For which more than one round is timed; two batches of each method then take some minutes in all."""


def reproduce_table_vi(order: Order, on_progress: Report) -> Reproduction:
    """Return Table VI: all methods of the study, or those that are asked for, each measured in a process of its own.

    Args:
        order: `backbone`, where it is given, replaces the networks of methods that describe images by one.
        on_progress: Told after every method.

    Raises:
        NotFoundError: The study printed nothing of a method that is asked for.
    """
    printed, cells = published("table-vi"), []
    for method in order.methods:
        if method not in printed:
            raise NotFoundError(f"Table VI has no method called '{method}'", closest(method, printed))
    methods = order.methods or [*printed]
    for done, method in enumerate(methods, start=1):
        cells.append(cell(apart(measured, method, order.protocol, order.backbone), printed[method]))
        on_progress(Progress(method, done, len(methods)))
    machine = hardware()
    return Reproduction(
        "table-vi",
        {"schema": SCHEMA, "item": "table-vi", "protocol": order.protocol, "machine": machine, "versions": versions()}
        | {"cells": cells},
        title="Images per second, and parameters",
        blocks=[Block("Speed and size", _HEAD, [_row(each) for each in cells], _notes(order, machine))],
        cells=[_flat(each) for each in cells],
        outside=sum(each["verdict"].startswith("differs") for each in cells),
    )


def measured(method: str, protocol: Protocol, backbone: str | None, many: int = MANY) -> dict[str, Any]:
    """Return the rates and the size of a method; torch is imported, so this belongs into a process of its own.

    Args:
        method: Its id.
        protocol: Of the recipe.
        backbone: timm's name of the network of methods that take one; None for the study's own.
        many: Images of a large batch.
    """
    model = ModelId(method, None, _DOMAIN)
    if backbone is not None and "backbone" in load_recipe(model, protocol).settings:
        model = replace(model, backbone=backbone)
    recipe = load_recipe(model, protocol)
    images = np.random.default_rng(0).random((many, recipe.domain.modality.channels, recipe.side, recipe.side))
    with tempfile.TemporaryDirectory() as temporary:
        paths = [*write_phantom_files(_FILES, Path(temporary), many)]
        paths[-1].unlink()  # the one that is cut short
        loaded, size = untrained(model, recipe, images.astype(np.float32))
        rates = rates_of(loaded, images.astype(np.float32), Path(temporary), _ROUNDS, _SECONDS)
    return {
        "method": method,
        "model": model.name,
        "side": recipe.side,
        "device": loaded.device,
        "rates": {name: [asdict(rate) for rate in pair] for name, pair in rates.items()},
        "size": {**asdict(size), "parameters": size.parameters},
    }


def cell(found: Mapping[str, Any], printed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measured method with what the study printed of it, and the verdict on its size.

    Args:
        found: From `measured`.
        printed: Entry of the method in published.toml: `millions`, `fps` and `remark`; `besides` where the study
            counts what is not counted here, in millions.
    """
    judged = found["model"] == f"{found['method']}-{_DOMAIN}"
    verdict = _verdict(found["size"]["parameters"], printed) if judged else "not judged: another backbone"
    return {**found, "published": dict(printed), "verdict": verdict}


def _verdict(parameters: int, printed: Mapping[str, Any]) -> str:
    own, besides = parameters / 1e6, printed.get("besides", 0.0)
    if round(own) == printed["millions"]:
        return "equal"
    if round(own + besides) == printed["millions"]:
        return f"equal with {besides:.3f} besides: {printed['remark']}"
    return f"differs by {own + besides - printed['millions']:+.1f}"


_HEAD: Final = (
    "method",
    "network, 1",
    f"network, {MANY}",
    "file to score, 1",
    f"file to score, {MANY}",
    "study, fps",
    "parameters, M",
    "trained, M",
    "stored, MB",
    "study, M",
    "verdict on parameters",
)


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    rates = [rate["per_second"] for name in (NETWORK, WHOLE) for rate in each["rates"][name]]
    size, printed = each["size"], each["published"]
    return (
        each["model"].removesuffix(f"-{_DOMAIN}"),
        *("not tried" if rate is None else f"{rate:.3g}" for rate in rates),
        str(printed["fps"]),
        f"{size['parameters'] / 1e6:.3f}",
        f"{size['trained'] / 1e6:.3f}",
        f"{size['stored'] / 1e6:.1f}",
        str(printed["millions"]),
        each["verdict"],
    )


def _flat(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method as a row of a CSV file."""
    rates = {
        f"{name}, {rate['batch_size']} [images/s]": rate["per_second"]
        for name in (NETWORK, WHOLE)
        for rate in each["rates"][name]
    }
    printed = {"published fps": each["published"]["fps"], "published millions": each["published"]["millions"]}
    return {"model": each["model"], "device": each["device"], **rates, **each["size"], **printed} | {
        "verdict": each["verdict"]
    }


def _notes(order: Order, facts: Mapping[str, Any]) -> list[str]:
    """Return what must be said of the table."""
    machine = ", ".join((facts["processor"], f"{facts['cores']} cores", *facts["accelerators"]))
    return [
        f"Measured on {machine}, under a load of {facts['load'][0]} at the end; the study's on a Quadro RTX 8000. "
        "Images per second are the shortest of up to five calls in turns, and are not judged.",
        f"Networks as in the {order.protocol} protocol for chest radiographs, with drawn weights. A call with {MANY} "
        f"images is not tried where one image took more than {PATIENCE / MANY:.2g} s.",
    ]
