"""Lay out the recipe of every method of the study, and write `cards/settings.md`.

    python scripts/settings.py
    python scripts/settings.py --check

With `--check` nothing is written; exit code 8 where the page is not current.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from parameters import published
from upd_harness.cli.terminal import Terminal, reports_errors
from upd_zoo.errors import ToleranceError
from upd_zoo.files import write_text
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.registry import registered
from upd_zoo.vocabulary import Protocol

PAGE: Final = Path(__file__).resolve().parents[1] / "cards" / "settings.md"
DOMAINS: Final = {"camcan-t2": "brain T2", "camcan-t1": "brain T1", "chexpert": "chest X-ray", "ddr": "fundus"}
_HEAD = """# Settings

Written by `scripts/settings.py` from the recipes in `zoo/upd_zoo/recipes`: what each method is made and trained with,
for the study's domains; open and synthetic domains take those of the domain they stand for. Where the protocols differ,
the value is that of `sound`, and that of `study` stands in brackets. The docstring of the method's class says what a
setting means; `pooling` turns a map into a score. Changes of profile `quick` are given for T2-weighted phantoms.
"""


def facts_of(recipe: Recipe) -> dict[str, str]:
    """Return what a recipe says, by row of the table."""
    facts = {f"`{name}`": _text(value) for name, value in recipe.settings.items()}
    facts["pixels"] = "[-1, 1]" if recipe.centred else "[0, 1]"
    facts["pooling"] = str(recipe.score_rule)
    facts["batch"] = str(recipe.batch_size)
    for name, phase in recipe.phases.items():
        optimiser = [
            _text(value) if key == "name" else f"{key} {_text(value)}" for key, value in phase.optimiser.items()
        ]
        schedule = [f"{key} {_text(value)}" for key, value in phase.schedule.items()]
        facts[f"steps ({name})"] = str(phase.steps)
        facts[f"optimiser ({name})"] = ", ".join(optimiser)
        facts[f"schedule ({name})"] = ", ".join(schedule) or "constant"
    return facts


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_text, value))})"
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows_of(method: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's name and its cells, one per domain."""
    facts = {
        protocol: [facts_of(load_recipe(ModelId(method, None, domain), protocol)) for domain in DOMAINS]
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


def as_markdown() -> str:
    """Return the page."""
    lines = [_HEAD]
    for method in sorted(published()):
        lines += [
            f"## {registered()[method].title}",
            "",
            f"| | {' | '.join(DOMAINS.values())} |",
            f"|---|{'---|' * len(DOMAINS)}",
        ]
        lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows_of(method)]
        lines += ["", f"`quick`: {quick_of(method)}.", ""]
    return "\n".join(lines)


@reports_errors
def main(check: Annotated[bool, typer.Option("--check", help="Write nothing.")] = False) -> None:
    """Write the page of settings, or check that it is current."""
    text = as_markdown()
    if not check:
        write_text(PAGE, text)
        Terminal().data({"page": str(PAGE)}, str(PAGE))
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        raise ToleranceError(f"{PAGE.name} is not current", "", "python scripts/settings.py")


if __name__ == "__main__":
    typer.run(main)
