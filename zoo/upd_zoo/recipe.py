"""Recipes: the settings and the training of each method, and what a domain, protocol or profile changes.

One TOML file per method, in `recipes/`, or beside the method where another package brings it. Its top level holds the
study's values; `[modality.…]`, `[access.…]`, `[domain.…]`, `[start.ccd]`, `[protocol.…]` and `[profile.…]` hold only
what they change, laid over it in this order. A layer may hold layers itself: `[protocol.study.modality.fundus]` is what
the study does on fundus images alone.

A method that is trained in phases has a table `[phase.…]` for each; a phase inherits steps, optimiser and schedule from
the top level. A method without gradients has `steps = 0`. `extends` names a method whose recipe lies below this one.

`ccd.toml` is how networks are pre-trained; instead of `[start.ccd]` it has `[encoder.…]`, by the name of the network.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from upd_zoo.artefact.record import Setting
from upd_zoo.artefact.records import Config, OwnImages, Phase, PixelConvention, Training
from upd_zoo.errors import NotFoundError, UsageError, closest
from upd_zoo.names import ModelId
from upd_zoo.roster import foreign_methods, foreign_recipe, known_methods, package_of
from upd_zoo.stores.domains import UNNAMED
from upd_zoo.vocabulary import STUDY_SIDE, Domain, Pretrain, Protocol, Scale, ScoreRule, Side, side_of

_PRETRAINING = "ccd"
FULL_PROFILE = "full"
"""The study's own budget; any other profile is named in the labels of what it makes."""

LIGHT_PROFILE = "light"
"""What the packaged models were made by: a network and a budget for a processor."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made.

    Attributes:
        side: Height and width, in pixels, of the images that the model takes.
        settings: Arguments of the method's class.
        phases: What is minimised, by name; `main` alone where the method has no phases, nothing where it learns
            without gradients.
        batch_size: Images per step.
        centred: Whether the method takes pixels in [-1, 1].
        pretrain: Where a backbone's weights come from by default.
        weights: Who has ImageNet weights: `timm`, or `packaged` for those that upd-zoo brings.
        score_rule: How a map becomes a score where the method has none of its own.
        smoothing: Standard deviation of the Gaussian that smooths maps, in pixels of the model's image; 0 for none.
        erosion: Pixels by which tissue is eroded before it is the foreground.
        precision: Numbers of training, `float32`, or `bfloat16` where the device has them.
    """

    method: str
    domain: Domain
    protocol: Protocol
    profile: str
    side: Side
    settings: dict[str, Setting]
    phases: dict[str, Phase]
    batch_size: int
    centred: bool
    pretrain: Pretrain
    weights: str
    score_rule: ScoreRule
    smoothing: float
    erosion: int
    precision: str

    @property
    def document(self) -> dict[str, Any]:
        """All of it, as JSON keeps it; of the domain, its name."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in {"domain", "phases"}},
            "domain": self.domain.id,
            "phases": {name: phase.model_dump(mode="json") for name, phase in self.phases.items()},
        }


def draft_of(
    name: str, title: str, recipe: Recipe, training: Training, scale: Scale | None, labels: list[str]
) -> Config:
    """Return the configuration of a model that a recipe decides, before weights from elsewhere are chosen.

    Args:
        name: Of the model.
        title: Of its method.
        recipe: Decides all that stands in no other argument.
        training: How it is trained.
        scale: How its scans are scaled; None of photographs.
        labels: What a reader of any of its numbers must be told.
    """
    modality = recipe.domain.modality
    return Config(
        id=name,
        method=recipe.method,
        title=title,
        domain=recipe.domain.id,
        pretrain=Pretrain.NONE,
        protocol=recipe.protocol,
        settings=recipe.settings,
        input=PixelConvention(channels=modality.channels, height=recipe.side, width=recipe.side),
        framing=modality.framing,
        centred=recipe.centred,
        foreground=modality.foreground,
        score_rule=recipe.score_rule,
        weights_origin=None,
        scale=scale,
        smoothing=recipe.smoothing,
        erosion=recipe.erosion,
        own=OwnImages.of(recipe.domain),
        training=training,
        labels=labels,
    )


def usual_profile(model: ModelId) -> str:
    """Return the budget of a model for which none is named: of images that a call was just given, the light one if any.

    Stores of collections with a name have the side that their owner gave, which the light budget may not share.

    Raises:
        NotFoundError: The method has no recipe.
    """
    light = model.domain.id == UNNAMED and LIGHT_PROFILE in _read(model.method).get("profile", {})
    return LIGHT_PROFILE if light else FULL_PROFILE


def profile_labels(recipe: Recipe) -> list[str]:
    """Return what a reader must be told of a recipe's budget: nothing where it is the study's."""
    return [] if recipe.profile == FULL_PROFILE else [f"{recipe.profile} profile"]


def side_labels(side: Side) -> list[str]:
    """Return what a reader must be told of the size of images: nothing where it is the study's."""
    return [] if side == STUDY_SIDE else [f"{side} pixels"]


def fraction_labels(fraction: float) -> list[str]:
    """Return what a reader must be told of the share of the subjects that was trained on: nothing where it is all."""
    if fraction == 1:
        return []
    return [f"{100 * fraction:g} % of the training subjects" if fraction else "a single training subject"]


def load_recipe(
    model: ModelId,
    protocol: Protocol = Protocol.SOUND,
    profile: str = FULL_PROFILE,
    steps: int | None = None,
    batch_size: int | None = None,
    side: int | None = None,
) -> Recipe:
    """Return the recipe of a model.

    Args:
        model: Its name.
        protocol: `study` repeats the study's quirks.
        profile: The study's budget, or a named smaller one.
        steps: Optimiser steps of every phase instead of the recipe's; the profile's name then says so.
        batch_size: Images per step instead of the recipe's.
        side: Height and width of images in pixels, instead of the recipe's; smoothing and erosion grow with them.

    Raises:
        NotFoundError: The method has no recipe.
        UsageError: No model takes images of such a side, the method has no such profile, takes no backbone where the
            name gives one, takes no steps where some are given, or the budget is nothing.
    """
    _check_work(steps, batch_size)
    document = _read(model.method)
    profiles = {FULL_PROFILE, *document.get("profile", {})}
    if profile not in profiles:
        raise UsageError(f"the method {model.method} has no profile called '{profile}'", ", ".join(sorted(profiles)))
    merged = _layered(document, _layers_of(model, protocol, profile))
    own = side_of(merged.get("side", STUDY_SIDE))
    taken = own if side is None else side_of(side)
    return Recipe(
        method=model.method,
        domain=model.domain,
        protocol=protocol,
        profile=_named(profile, steps),
        side=taken,
        settings=_settings(model, merged),
        phases=_phases(model.method, merged, steps),
        batch_size=batch_size or merged["batch_size"],
        centred=merged.get("centred", False),
        pretrain=Pretrain.CCD if model.ccd else Pretrain(merged.get("pretrain", "none")),
        weights=merged.get("weights", "timm"),
        score_rule=ScoreRule(merged.get("score_rule", model.domain.modality.score_rule)),
        smoothing=merged.get("smoothing", 0.0) * taken / own,
        erosion=round(merged.get("erosion", 0) * taken / own),
        precision=merged.get("precision", "float32"),
    )


def load_pretraining(base: Recipe, encoder: str, steps: int | None = None, batch_size: int | None = None) -> Recipe:
    """Return the recipe by which a network is pre-trained.

    Args:
        base: Recipe of the method that will start from it, without CCD.
        encoder: Name of the network.
        steps: Optimiser steps instead of the recipe's; the profile's name then says so.
        batch_size: Images per step instead of the recipe's.

    Raises:
        UsageError: The budget is nothing.
    """
    _check_work(steps, batch_size)
    chosen = {
        "modality": base.domain.modality.id,
        "domain": base.domain.id,
        "encoder": encoder,
        "protocol": base.protocol,
        "profile": base.profile,
    }
    merged = _layered(_read(_PRETRAINING), chosen)
    return replace(
        base,
        method=_PRETRAINING,
        profile=_named(base.profile, steps),
        settings={"centrings": int(base.centred)} | merged["settings"],
        phases=_phases(_PRETRAINING, merged, steps),
        batch_size=batch_size or merged["batch_size"],
        centred=False,
        pretrain=Pretrain(merged.get("pretrain", base.pretrain)),
        precision=merged.get("precision", "float32"),
    )


def _layers_of(model: ModelId, protocol: Protocol, profile: str) -> dict[str, str]:
    """Return which layer of every kind is laid over the top level, in order."""
    return {
        "modality": model.domain.modality.id,
        "access": model.domain.access,
        "domain": model.domain.id,
        "start": "ccd" if model.ccd else "",
        "protocol": protocol,
        "profile": profile,
    }


def _check_work(steps: int | None, batch_size: int | None) -> None:
    for what, number in {"steps": steps, "images per step": batch_size}.items():
        if number is not None and number < 1:
            raise UsageError(f"{number} {what} train nothing", "at least 1")


def _settings(model: ModelId, merged: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings of a recipe, with the backbone that the model's name gives."""
    settings = dict(merged.get("settings", {}))
    if model.backbone is None:
        return settings
    if "backbone" not in settings:
        raise UsageError(
            f"the method {model.method} has no feature backbone to choose", f"{model.method}-{model.target}"
        )
    return {**settings, "backbone": model.backbone}


def _named(profile: str, steps: int | None) -> str:
    return profile if steps is None else f"{profile} ({steps} steps)"


def _phases(method: str, merged: Mapping[str, Any], steps: int | None) -> dict[str, Phase]:
    """Return the phases of a recipe by name, each with what it inherits."""
    inherited = {key: merged[key] for key in Phase.model_fields if key in merged}
    if "phase" not in merged and not inherited["steps"]:
        if steps is not None:
            raise UsageError(f"the method {method} learns without optimiser steps", "no number of steps")
        return {}
    override = {} if steps is None else {"steps": steps}
    phases = merged.get("phase", {"main": {}})
    return {name: Phase.model_validate({**inherited, **own, **override}) for name, own in phases.items()}


def _read(method: str) -> dict[str, Any]:
    document = tomllib.loads(_file_of(method).read_text(encoding="utf-8"))
    return _overlay(_read(document.pop("extends")), document) if "extends" in document else document


def _file_of(method: str) -> Traversable:
    """Return the recipe of a method: in `recipes/`, or beside the method where another package brings it."""
    folder = files("upd_zoo") / "recipes"
    own = folder / f"{method}.toml"
    if own.is_file():
        return own
    path = foreign_recipe(method)
    if path is not None:
        return path
    package = next((package_of(entry) for entry in foreign_methods() if entry.name == method), None)
    if package is None:
        raise NotFoundError(f"there is no recipe for a method called '{method}'", closest(method, known_methods()))
    raise NotFoundError(
        f"the method '{method}' of the package {package} has no recipe",
        "a TOML file of the method's id",
        f"put recipes/{method}.toml beside its module",
    )


def _layered(document: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return what a document says of the chosen modality, domain, protocol and profile."""
    merged = {key: value for key, value in document.items() if key not in chosen}
    for layer, name in chosen.items():
        if name in document.get(layer, {}):
            merged = _overlay(merged, _layered(document[layer][name], chosen))
    return merged


def _overlay(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, table by table."""
    result = dict(base)
    for key, value in changes.items():
        result[key] = _overlay(result.get(key, {}), value) if isinstance(value, Mapping) else value
    return result
