"""The records of an artefact, whose JSON Schemas lie beside this file."""

from collections.abc import Mapping
from typing import Final

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.provenance import Provenance
from upd_zoo.artefact.record import Record
from upd_zoo.artefact.records import Backbone, Config, Manifest, Result

SCHEMAS: Final[Mapping[str, type[Record]]] = {
    "config": Config,
    "backbone": Backbone,
    "calibration": Calibration,
    "manifest": Manifest,
    "provenance": Provenance,
    "result": Result,
}
