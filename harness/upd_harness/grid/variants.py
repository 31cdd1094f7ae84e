"""Variants of a recipe: what is changed of it, by names such as `smoothing`, `steps`, `optimiser.lr`, `settings.x`."""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Final

from upd_zoo.artefact.record import Setting
from upd_zoo.artefact.records import Phase
from upd_zoo.errors import UsageError, closest
from upd_zoo.recipe import Recipe
from upd_zoo.vocabulary import side_of

_PHASE: Final = ("optimiser", "schedule")
_PHASE_VALUES: Final = ("steps", "clip")
"""Of a phase: its tables, and its single values."""
_FIXED: Final = frozenset({"method", "domain", "protocol", "profile", "settings", "phases"})
"""Fields of a recipe that say what it is, or that are changed by their parts."""
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {"side": side_of}
"""What reads the value of a field whose type does not say which values it takes."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What is changed of a recipe.

    Attributes:
        changes: The new values by name; nothing for the recipe as it is.
    """

    changes: Mapping[str, Setting]

    @property
    def name(self) -> str:
        """The changes as they would be typed; `recipe` where there are none."""
        return " ".join(f"{key}={_text(value)}" for key, value in self.changes.items()) or "recipe"


def variants_of(vary: Sequence[str], explicit: Sequence[str]) -> list[Variant]:
    """Return the variants that texts describe, none twice.

    Args:
        vary: `KEY=VALUE,VALUE,…` each; every combination of their values is a variant.
        explicit: `KEY=VALUE KEY=VALUE …`, each one variant; an empty text is the recipe as it is.

    Returns:
        The combinations, then the explicit ones; the recipe as it is where neither is given.

    Raises:
        UsageError: A text has another form.
    """
    axes = [[(key, value) for value in values] for key, values in map(_parsed, vary)]
    variants = [Variant(dict(changes)) for changes in product(*axes)] if axes or not explicit else []
    variants += [Variant({key: _only(key, values) for key, values in map(_parsed, text.split())}) for text in explicit]
    return list({variant.name: variant for variant in variants}.values())


def _parsed(text: str) -> tuple[str, list[Setting]]:
    """Return key and values of `KEY=VALUE,VALUE`, values as TOML spells them or else as text."""
    key, sign, values = text.partition("=")
    if not sign or not key or not values:
        raise UsageError(f"'{text}' does not say what is changed", "KEY=VALUE or KEY=VALUE,VALUE", "smoothing=0,2,4")
    try:
        found: list[Setting] = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError:
        return key, list(map(_value, values.split(",")))
    return key, found


def _value(text: str) -> Setting:
    try:
        value: Setting = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value


def _only(key: str, values: Sequence[Setting]) -> Setting:
    if len(values) != 1:
        raise UsageError(f"a variant gives {key} {len(values)} values", "one", f"use --vary {key}=… for several")
    return values[0]


def _text(value: Setting) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def varied(recipe: Recipe, changes: Mapping[str, Setting]) -> Recipe:
    """Return a recipe with other values.

    Args:
        recipe: Stays as it is.
        changes: `steps`, `clip`, `optimiser.…` and `schedule.…` go to every phase, `settings.…` to the arguments of the
            method's class, anything else is a field of the recipe.

    Raises:
        UsageError: A recipe has no such name, or takes no such value.
    """
    for key, value in changes.items():
        table, _, name = key.partition(".")
        if table == "settings" and name:
            recipe = replace(recipe, settings={**recipe.settings, name: value})
        elif key in _PHASE_VALUES or (table in _PHASE and name):
            recipe = replace(recipe, phases={each: _phase(phase, key, value) for each, phase in recipe.phases.items()})
        else:
            recipe = _with_field(recipe, key, value)
    return recipe


def _phase(phase: Phase, key: str, value: Setting) -> Phase:
    table, _, name = key.partition(".")
    change = {key: value} if not name else {table: {**getattr(phase, table), name: value}}
    return Phase.model_validate({**phase.model_dump(), **change})


def _with_field(recipe: Recipe, key: str, value: Setting) -> Recipe:
    known = [field.name for field in fields(Recipe) if field.name not in _FIXED]
    if key not in known:
        names = (*known, *_PHASE_VALUES, "optimiser.lr", "settings.NAME")
        raise UsageError(f"a recipe has nothing called '{key}'", closest(key, names))
    kind: Callable[[Any], Any] = _READ.get(key, type(getattr(recipe, key)))
    if isinstance(value, bool) is not (kind is bool):
        raise UsageError(f"{key} cannot be {_text(value)}", f"a value such as {getattr(recipe, key)}")
    try:
        return replace(recipe, **{key: kind(value)})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{key} cannot be {_text(value)}", f"a value such as {getattr(recipe, key)}") from error


def without(changes: Mapping[str, Setting], names: Iterable[str]) -> dict[str, Setting]:
    """Return the changes but those of some names."""
    left_out = {*names}
    return {key: value for key, value in changes.items() if key not in left_out}


def flattened(recipe: Recipe) -> dict[str, Setting]:
    """Return what a recipe says, by the names that `varied` takes; of phases, what all of them share."""
    values: dict[str, Setting] = {
        field.name: getattr(recipe, field.name) for field in fields(Recipe) if field.name not in _FIXED
    }
    values |= {f"settings.{name}": value for name, value in recipe.settings.items()}
    phases = [_flat_phase(phase) for phase in recipe.phases.values()]
    shared = {
        key: value for key, value in (phases[0] if phases else {}).items() if all(_has(p, key, value) for p in phases)
    }
    return values | shared


def _flat_phase(phase: Phase) -> dict[str, Setting]:
    tables = {table: getattr(phase, table) for table in _PHASE}
    return {name: getattr(phase, name) for name in _PHASE_VALUES} | {
        f"{table}.{key}": value for table, held in tables.items() for key, value in held.items()
    }


def _has(phase: Mapping[str, Setting], key: str, value: Setting) -> bool:
    return key in phase and phase[key] == value


def switches_of(recipe: Recipe, other: Recipe) -> dict[str, Setting]:
    """Return the changes that lead from a recipe to another of the same method, as far as single values can."""
    own = flattened(recipe)
    return {key: value for key, value in flattened(other).items() if own.get(key) != value}
