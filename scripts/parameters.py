"""Count the parameters of every method under the study's recipes, and write `cards/parameters.md`.

    python scripts/parameters.py
    python scripts/parameters.py --check

With `--check` nothing is written; exit code 8 where the table is not current.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from upd_harness.cli.terminal import Terminal, reports_errors
from upd_zoo.errors import ToleranceError
from upd_zoo.files import write_text
from upd_zoo.method import Method
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import create, registered
from upd_zoo.vocabulary import DOMAINS, Protocol

TABLE = Path(__file__).resolve().parents[1] / "cards" / "parameters.md"
STUDY_DOMAINS = ("camcan-t2", "camcan-t1", "chexpert", "ddr")
_HEAD = """# Parameters

Written by `scripts/parameters.py`: millions of parameters of each method under the study's recipes, as built here.
`frozen` are those of a feature backbone that training leaves alone; buffers (statistics, running means, permutations)
are not counted, as Table VI of the study does not count them. `Table VI` is what the study prints, for its chest X-ray
setting.

| method | domains | trainable | frozen | used | Table VI | why they differ |
|---|---|---|---|---|---|---|
"""


def count(method: Method) -> tuple[float, float]:
    """Return how many millions of parameters training moves, and how many it leaves alone."""
    sizes = {True: 0, False: 0}
    for parameter in method.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    return sizes[True] / 1e6, sizes[False] / 1e6


def build(model: str) -> Method:
    """Return the untrained method of the study's recipe."""
    recipe = load_recipe(ModelId.parse(model), Protocol.STUDY)
    return create(recipe.method, recipe.domain.modality.channels, recipe.settings)


def published() -> dict[str, dict[str, Any]]:
    """Return Table VI's sizes and why they differ, by method."""
    text = (files("upd_harness") / "published.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)["table-vi"]
    return table


def as_markdown() -> str:
    """Return the table, one line for every size that a method has."""
    lines = []
    for method, entry in sorted(published().items()):
        domains: dict[tuple[float, float], list[str]] = {}
        for domain in STUDY_DOMAINS:
            domains.setdefault(count(build(f"{method}-{domain}")), []).append(DOMAINS[domain].id)
        title = registered()[method].title
        for (trainable, frozen), names in domains.items():
            sizes = " | ".join(f"{size:.3f}" for size in (trainable, frozen, trainable + frozen))
            lines.append(f"| {title} | {', '.join(names)} | {sizes} | {entry['millions']} | {entry['remark']} |")
    return _HEAD + "\n".join(lines) + "\n"


@reports_errors
def main(check: Annotated[bool, typer.Option("--check", help="Write nothing.")] = False) -> None:
    """Write the table of parameters, or check that it is current."""
    text = as_markdown()
    if not check:
        write_text(TABLE, text)
        Terminal().data({"table": str(TABLE)}, str(TABLE))
    elif not TABLE.is_file() or TABLE.read_text(encoding="utf-8") != text:
        raise ToleranceError(f"{TABLE.name} is not current", "", "python scripts/parameters.py")


if __name__ == "__main__":
    typer.run(main)
