"""What the gauntlet runs on: every method in its smallest form, and what it is trained for."""

from dataclasses import replace

import pytest

from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, load_recipe
from upd_zoo.registry import create, registered
from upd_zoo.vocabulary import Protocol

LIGHT_BACKBONE = "test_resnet"
"""timm's smallest network with strides 4, 8 and 16."""
GREY, COLOUR, PRETRAINED = "phantom-t2", "phantom-fundus", "phantom-t2-ccd"
"""What methods are trained for: grey images, coloured ones, and grey ones from networks that CCD pre-trained."""
_PROTOCOLS = {GREY: Protocol.SOUND, COLOUR: Protocol.STUDY, PRETRAINED: Protocol.SOUND}
_COLOUR_STEPS = 2
"""The gauntlet asks whether the loss falls on grey images; on coloured ones it asks whether everything fits."""


def light_recipe(method: str, kind: str) -> Recipe:
    """Return the recipe of the smallest network, with the smallest backbone where the method reads one."""
    recipe = load_recipe(ModelId.parse(f"{method}-{kind}"), _PROTOCOLS[kind], "tiny")
    if kind == COLOUR:
        phases = {name: phase.model_copy(update={"steps": _COLOUR_STEPS}) for name, phase in recipe.phases.items()}
        recipe = replace(recipe, phases=phases)
    backbone = {"backbone": LIGHT_BACKBONE} if "backbone" in recipe.settings else {}
    return replace(recipe, settings={**recipe.settings, **backbone})


def methods_with_encoders() -> list[str]:
    """Return the methods that may start from a pre-trained network."""
    recipes = {name: light_recipe(name, GREY) for name in registered()}
    return [name for name, recipe in recipes.items() if create(name, 1, 128, recipe.settings).encoders()]


def case(name: str, *kind: str, slow: bool = False) -> pytest.ParameterSet:
    """Return a method, or a method and a kind of images, as a case for `make test` or only for `make test-all`."""
    return pytest.param(name, *kind, marks=[pytest.mark.slow] if slow else [], id="-".join((name, *kind)))


METHODS = [case(name) for name in sorted(registered())]
WITH_ENCODERS = methods_with_encoders()
PAIRS = [
    *(case(name, kind, slow=kind != GREY) for name in sorted(registered()) for kind in (GREY, COLOUR)),
    *(case(name, PRETRAINED, slow=True) for name in WITH_ENCODERS),
]
"""Every method on every kind of images; `make test` takes the grey ones, `make test-all` the others too."""
EXPORTED = [
    pytest.param(*each.values, marks=pytest.mark.slow if each.marks or number % 6 else [], id=each.id)
    for number, each in enumerate(PAIRS)
]
"""The same, of which `make test` exports every third method: the graphs of formats take long to make."""
