"""Write the pages and schemas that are made of what the code says, or check that they are current.

    python scripts/pages.py tables
    python scripts/pages.py cards
    python scripts/pages.py schemas --check

`tables` are `cards/settings.md` and `cards/parameters.md`; `cards` are those of the packaged models, from their
records; `schemas` are the JSON Schemas of the artefact's records, in the package. With `--check` nothing is written,
and the exit code is 8 where something is missing, changed or left over.
"""

import json
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic.json_schema import GenerateJsonSchema

import upd_zoo.schemas
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.folder import record_of
from upd_zoo.artefact.record import read_record
from upd_zoo.artefact.records import CALIBRATION, CARD, CONFIG, MANIFEST, Config, Manifest
from upd_zoo.card.writing import write_card
from upd_zoo.errors import ToleranceError
from upd_zoo.files import to_json, write_text
from upd_zoo.hub.catalogue import Row
from upd_zoo.hub.packaged import FOLDER, packaged, place_of
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.roster import own_methods
from upd_zoo.vocabulary import Protocol

if TYPE_CHECKING:  # schemas need no torch
    from upd_zoo.method import Method

CARDS: Final = Path(__file__).resolve().parents[1] / "cards"
SCHEMAS: Final = Path(upd_zoo.schemas.__file__).parent
DOMAIN_TITLES: Final = {"camcan-t2": "brain T2", "camcan-t1": "brain T1", "chexpert": "chest X-ray", "ddr": "fundus"}
"""The study's domains, as the heads of columns name them."""
OUTSIDE: Final = " (not in the study)"
_SUFFIX: Final = ".schema.json"
_SETTINGS_HEAD = """# Settings

Written by `scripts/pages.py tables` from the recipes in `zoo/upd_zoo/recipes`: what each method is made and trained
with, for the study's domains; open and synthetic domains take those of the domain they stand for. Where the protocols
differ, the value is that of `sound`, and that of `study` stands in brackets. The docstring of the method's class says
what a setting means; `smoothing` of maps and `erosion` of tissue are in pixels, `pooling` turns a map into a score.
Changes of profile `quick` are given for T2-weighted phantoms.
"""


_PARAMETERS_HEAD = """# Parameters

Written by `scripts/pages.py tables`: millions of parameters of each method under the study's recipes, as built here.
`frozen` are those of a feature backbone that training leaves alone; buffers (statistics, running means, permutations)
are not counted, as Table VI of the study does not count them. `Table VI` is what the study prints, for its chest X-ray
setting.

| method | domains | trainable | frozen | used | Table VI | why they differ |
|---|---|---|---|---|---|---|
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Write what is made of the code.")
Check = Annotated[bool, typer.Option("--check", help="Write nothing; fail where something is not current.")]


# Settings


def facts_of(recipe: Recipe) -> dict[str, str]:
    """Return what a recipe says, by row of the table."""
    facts = {f"`{name}`": _text(value) for name, value in recipe.settings.items()}
    facts["pixels"] = "[-1, 1]" if recipe.centred else "[0, 1]"
    facts["pooling"] = str(recipe.score_rule)
    facts["smoothing"], facts["erosion"] = str(recipe.smoothing), str(recipe.erosion)
    facts["batch"] = str(recipe.batch_size)
    for name, phase in recipe.phases.items():
        optimiser = [
            _text(value) if key == "name" else f"{key} {_text(value)}" for key, value in phase.optimiser.items()
        ]
        schedule = [f"{key} {_text(value)}" for key, value in phase.schedule.items()]
        facts[f"steps ({name})"] = str(phase.steps)
        facts[f"optimiser ({name})"] = ", ".join(optimiser)
        facts[f"schedule ({name})"] = ", ".join(schedule) or "constant"
        if phase.clip:
            facts[f"longest gradient ({name})"] = str(phase.clip)
    return facts


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_text, value))})"
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows_of(method: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's name and its cells, one per domain."""
    facts = {
        protocol: [facts_of(load_recipe(ModelId(method, None, domain), protocol)) for domain in DOMAIN_TITLES]
        for protocol in Protocol
    }
    names = dict.fromkeys(name for each in (*facts[Protocol.SOUND], *facts[Protocol.STUDY]) for name in each)
    for name in names:
        pairs = zip(facts[Protocol.SOUND], facts[Protocol.STUDY], strict=True)
        yield name, [_cell(sound, study, name) for sound, study in pairs]


def _cell(sound: Mapping[str, str], study: Mapping[str, str], name: str) -> str:
    value, other = sound.get(name, "default"), study.get(name, "default")
    return value if value == other else f"{value} [{other}]"


def quick_of(method: str) -> str:
    """Return how the quick profile differs, on T2-weighted phantoms."""
    model = ModelId(method, None, "phantom-t2")
    full, quick = facts_of(load_recipe(model)), facts_of(load_recipe(model, profile="quick"))
    return "; ".join(f"{name} {value}" for name, value in quick.items() if full.get(name) != value)


def settings_page() -> str:
    """Return the page of settings."""
    lines = [_SETTINGS_HEAD]
    for method in own_methods():
        lines += [
            f"## {_title(method)}{'' if method in published() else OUTSIDE}",
            "",
            f"| | {' | '.join(DOMAIN_TITLES.values())} |",
            f"|---|{'---|' * len(DOMAIN_TITLES)}",
        ]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows_of(method)]
        lines += ["", f"`quick`: {quick_of(method)}.", ""]
    return "\n".join(lines)


def _title(method: str) -> str:
    from upd_zoo.registry import registered

    return registered()[method].title


# Parameters


def count(method: "Method") -> tuple[float, float]:
    """Return how many millions of parameters training moves, and how many it leaves alone."""
    sizes = {True: 0, False: 0}
    for parameter in method.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    return sizes[True] / 1e6, sizes[False] / 1e6


def build(model: str) -> "Method":
    """Return the untrained method of the study's recipe."""
    from upd_zoo.registry import create

    recipe = load_recipe(ModelId.parse(model), Protocol.STUDY)
    return create(recipe.method, recipe.domain.modality.channels, recipe.side, recipe.settings)


def published() -> dict[str, dict[str, Any]]:
    """Return Table VI's sizes and why they differ, by method."""
    text = (files("upd_harness") / "published.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)["table-vi"]
    return table


def parameters_page() -> str:
    """Return the page of parameters, one line for every size that a method has."""
    lines = []
    for method, entry in sorted(published().items()):
        domains: dict[tuple[float, float], list[str]] = {}
        for domain in DOMAIN_TITLES:
            domains.setdefault(count(build(f"{method}-{domain}")), []).append(domain)
        for (trainable, frozen), names in domains.items():
            sizes = " | ".join(f"{size:.3f}" for size in (trainable, frozen, trainable + frozen))
            lines.append(
                f"| {_title(method)} | {', '.join(names)} | {sizes} | {entry['millions']} | {entry['remark']} |"
            )
    return _PARAMETERS_HEAD + "\n".join(lines) + "\n"


# Schemas


def schema_texts() -> dict[str, str]:
    """Return the text of each schema by its file name."""
    dialect = {"$schema": GenerateJsonSchema.schema_dialect}
    return {
        f"{name}{_SUFFIX}": to_json(dialect | kind.model_json_schema(by_alias=True)) + "\n"
        for name, kind in upd_zoo.schemas.SCHEMAS.items()
    }


# Cards of models


def card_texts(row: Row, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the card of a packaged model and the manifest that vouches for it, by their paths."""
    place = place_of(ModelId.parse(f"{row.id}@{row.revision}"), folder)
    config, calibration = read_record(place / CONFIG, Config), read_record(place / CALIBRATION, Calibration)
    manifest = read_record(place / MANIFEST, Manifest)
    with TemporaryDirectory() as temporary:
        work = shutil.copytree(place, Path(temporary) / "model")
        write_card(work, config, calibration, manifest.parity)
        yield place / CARD, (work / CARD).read_text(encoding="utf-8")
        # All else that an older version wrote stays as it is.
        document = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        document["files"][CARD] = record_of(work / CARD).model_dump()
        yield place / MANIFEST, to_json(document) + "\n"


# Commands


def publish(texts: Mapping[Path, str], *, check: bool, again: str) -> None:
    """Write files, or compare them with what they should be; schemas that belong to no record are told too.

    Args:
        texts: What each file holds.
        check: Whether to compare only.
        again: The command that writes them.

    Raises:
        ToleranceError: A file is missing, differs, or is left over.
    """
    if not check:
        for path, text in texts.items():
            write_text(path, text)
            Terminal().data(str(path), str(path))
        return
    left_over = {path for folder in {path.parent for path in texts} for path in folder.glob(f"*{_SUFFIX}")} - set(texts)
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if names := sorted(path.name for path in {*stale, *left_over}):
        raise ToleranceError(
            f"these files are not current: {', '.join(names)}",
            "what the code says",
            f"write them with python scripts/pages.py {again}, and delete what is left over",
        )


@app.command()
@reports_errors
def tables(check: Check = False) -> None:
    """Write the cards of settings and parameters."""
    texts = {CARDS / "settings.md": settings_page(), CARDS / "parameters.md": parameters_page()}
    publish(texts, check=check, again="tables")


@app.command()
@reports_errors
def cards(
    check: Check = False, folder: Annotated[Path, typer.Option(help="Where packaged models are.")] = FOLDER
) -> None:
    """Write the cards of the packaged models, and what their manifests say of them."""
    publish(
        {path: text for row in packaged(folder) for path, text in card_texts(row, folder)}, check=check, again="cards"
    )


@app.command()
@reports_errors
def schemas(
    check: Check = False, folder: Annotated[Path, typer.Option(help="Where the schemas are.")] = SCHEMAS
) -> None:
    """Write the JSON Schemas of the artefact's records."""
    publish({folder / name: text for name, text in schema_texts().items()}, check=check, again="schemas")


if __name__ == "__main__":
    app()
