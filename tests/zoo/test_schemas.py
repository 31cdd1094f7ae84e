"""The published JSON Schemas: they are those of the records, and what is written has their structure."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fake.artefact import write_artefact
from fake.knowledge import APPEARANCE
from upd_zoo.artefact.calibration import Calibration, Quantiles
from upd_zoo.artefact.provenance import PROVENANCE, Images, Provenance, Work
from upd_zoo.artefact.record import read_record, write_record
from upd_zoo.artefact.records import (
    CALIBRATION,
    CONFIG,
    MANIFEST,
    Backbone,
    Config,
    Metrics,
    Parity,
    Result,
    WeightsOrigin,
)
from upd_zoo.errors import ToleranceError
from upd_zoo.schemas import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "zoo" / "upd_zoo" / "schemas"
SHA = "0123456789abcdef" * 4
FILES = {
    "config": CONFIG,
    "calibration": CALIBRATION,
    "manifest": MANIFEST,
    "provenance": PROVENANCE,
    "result": "results/phantom-t1.json",
    "backbone": "backbone.json",
}
QUANTILES = Quantiles(count=3, levels=[0, 0.5, 1], values=[0, 0.25, 2])
METRICS = Metrics(ap_image=0.5, auroc=None, ap_pixel=1, dice=0.25, dice_threshold=0.125)
every_record = pytest.mark.parametrize("name", SCHEMAS)
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,), "boolean": (bool,), "integer": (int,), "null": (type(None),), "number": (int, float),
    "object": (dict,), "string": (str,),
}  # fmt: skip


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one record of each kind."""
    folder = write_artefact(tmp_path_factory.mktemp("artefact"))
    calibration = Calibration(
        dataset="phantom-t1/validation",
        image_scores=QUANTILES,
        subject_scores=QUANTILES,
        map_values=QUANTILES,
        appearance=APPEARANCE,
        false_positive_rate=0.05,
        image_threshold=1,
        subject_threshold=1,
        map_threshold=0.5,
    )
    result = Result(
        model="vae-phantom-t1",
        revision="main",
        manifest=SHA,
        test_set="phantom-t1",
        store=SHA,
        seed=0,
        backend="onnx",
        images=4,
        anomalous=2,
        subjects=2,
        metrics=METRICS,
        intervals={"auroc": (0.25, 0.75)},
        baselines={"random": METRICS},
        labels=["synthetic phantoms"],
    )
    parity = Parity(
        format="onnx", batch=1, map_difference=0, score_difference=0, map_range=1, score_range=1, rank_correlation=1,
        tolerance=1e-4,
    )  # fmt: skip
    manifest = read_record(folder / MANIFEST, SCHEMAS["manifest"]).model_copy(update={"parity": [parity]})
    write_record(folder / MANIFEST, manifest)
    write_record(folder / FILES["calibration"], calibration)
    write_record(folder / FILES["result"], result)
    config = read_record(folder / CONFIG, Config)
    backbone = Backbone(
        id="ccd.vae-phantom-t1",
        encoder="vae",
        domain="phantom-t1",
        protocol=config.protocol,
        settings={"temperature": 0.2},
        weights_origin=WeightsOrigin(backbone="vae", source="random", name="", sha256=SHA),
        training=config.training,
        labels=["synthetic phantoms"],
    )
    write_record(folder / FILES["backbone"], backbone)
    work = Work(source_commit=None, code=SHA, versions={"python": "3.11"}, hardware="2 x Processor")
    images = Images(store=SHA, subjects=SHA)
    write_record(folder / PROVENANCE, Provenance(recipe=SHA, subjects=SHA, calibration=images, work=[work]))
    return folder


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, ROOT / "scripts" / "pages.py", "schemas", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def departures(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield where a document departs from a schema in its names, types and constants."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        if all(any(departures(value, choice, root)) for choice in schema["anyOf"]):
            yield f"{where}: none of the choices"
    elif not is_of_type(value, schema) or value != schema.get("const", value):
        yield f"{where}: {value!r}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from departures(item, item_schema(schema, index), root, f"{where}[{index}]")
    elif isinstance(value, dict):
        yield from departures_of_fields(value, schema, root, where)


def is_of_type(value: Any, schema: dict[str, Any]) -> bool:
    if isinstance(value, bool):
        return bool(schema.get("type", "boolean") == "boolean")
    expected = TYPES[schema["type"]] if "type" in schema else (object,)
    choices: list[Any] = schema.get("enum", [value])
    return isinstance(value, expected) and value in choices


def item_schema(schema: dict[str, Any], index: int) -> dict[str, Any]:
    items: dict[str, Any] = schema["prefixItems"][index] if "prefixItems" in schema else schema["items"]
    return items


def departures_of_fields(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], where: str
) -> Iterator[str]:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        if name in fields or isinstance(others, dict):
            yield from departures(item, fields.get(name, others), root, f"{where}.{name}")
        elif not others:
            yield f"{where}.{name} is unknown"


def test_the_published_schemas_are_those_of_the_records() -> None:
    done = run("--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in FOLDER.glob("*.json")} == {f"{name}.schema.json" for name in SCHEMAS}


@pytest.mark.parametrize("damage", ["changed", "missing", "left over"])
def test_a_schema_that_is_not_current_is_named_and_written_again(damage: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "schemas")
    file = folder / ("old.schema.json" if damage == "left over" else "result.schema.json")
    if damage == "missing":
        file.unlink()
    else:
        file.write_text("{}\n")
    done = run("--check", "--folder", folder)
    assert done.returncode == ToleranceError.exit_code
    assert f"not current: {file.name}." in done.stderr
    if damage != "left over":
        assert run("--folder", folder).returncode == 0
        assert file.read_bytes() == (FOLDER / file.name).read_bytes()


@every_record
def test_a_schema_names_its_dialect_and_its_version(name: str) -> None:
    schema = schema_of(name)
    assert schema["$schema"].endswith("/2020-12/schema")
    assert schema["properties"]["schema"]["const"] == SCHEMAS[name].model_fields["schema_"].default


@every_record
def test_what_is_written_has_the_structure_of_its_schema(name: str, artefact: Path) -> None:
    document = json.loads((artefact / FILES[name]).read_text(encoding="utf-8"))
    schema = schema_of(name)
    assert list(departures(document, schema, schema)) == []
    assert set(document) == set(schema["properties"])


@every_record
def test_a_departure_from_the_schema_is_seen(name: str, artefact: Path) -> None:
    document = json.loads((artefact / FILES[name]).read_text(encoding="utf-8"))
    schema = schema_of(name)
    first = schema["required"][0]
    wrong = [
        {**document, "surprise": 1},
        {key: value for key, value in document.items() if key != first},
        {**document, first: {"of": "another type"}},
        {**document, "schema": "upd-zoo/other/1"},
    ]
    assert all(list(departures(changed, schema, schema)) for changed in wrong)
