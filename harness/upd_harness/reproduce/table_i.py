"""Table I: how many images every part has, as printed and as prepared under both protocols.

The study's test validation, a tenth of every test, is in no store.
"""

from pathlib import Path
from typing import Any

from upd_harness.evaluation.published import published
from upd_harness.report.text import table
from upd_harness.reproduce.order import Order, facts_at
from upd_harness.reproduce.result import SCHEMA, Reproduction
from upd_zoo.progress import Progress, Report
from upd_zoo.stores.places import store_path
from upd_zoo.vocabulary import Protocol


def reproduce_table_i(order: Order, on_progress: Report) -> Reproduction:
    """Return Table I from the prepared stores; what is not prepared is said to be not."""
    printed = published("table-i")
    cells = []
    for done, (name, entry) in enumerate(printed.items(), start=1):
        cells.append(_cell(order.data, name, entry))
        on_progress(Progress(name, done, len(printed)))
    head = ("store", "Table I", "study", "verdict", "sound")
    rows = [(cell["store"], str(cell["published"]), *_shown(cell)) for cell in cells]
    return Reproduction("table-i", {"schema": SCHEMA, "item": "table-i", "cells": cells}, table(head, rows))


def _cell(data: Path, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    target, part = name.split("/")
    facts = {protocol.value: facts_at(store_path(data, target, part, protocol)) for protocol in Protocol}
    counts = {
        key: None if each is None else {"images": each.images, "anomalous": each.anomalous, "labels": each.labels}
        for key, each in facts.items()
    }
    study = facts[Protocol.STUDY]
    return {
        "store": name,
        "published": entry["images"],
        **counts,
        "verdict": _verdict(None if study is None else study.images, entry),
    }


def _verdict(images: int | None, entry: dict[str, Any]) -> str:
    if images is None:
        return "not prepared"
    remark = f" ({entry['remark']})" if "remark" in entry else ""
    return "equal" if images == entry["images"] else f"differs by {images - entry['images']:+d}{remark}"


def _shown(cell: dict[str, Any]) -> tuple[str, str, str]:
    study, sound = (_count(cell[protocol.value], cell["store"]) for protocol in (Protocol.STUDY, Protocol.SOUND))
    return study, cell["verdict"], sound


def _count(count: dict[str, Any] | None, name: str) -> str:
    if count is None:
        return "-"
    return f"{count['images']} ({count['anomalous']} anomalous)" if name.endswith("/test") else str(count["images"])
