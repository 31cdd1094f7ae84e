"""The registry: every method by its id, those of other packages included."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from upd_zoo.artefact.record import Setting
from upd_zoo.errors import NotFoundError, UsageError, closest
from upd_zoo.method import METHODS, Method


@cache
def registered() -> Mapping[str, type[Method]]:
    """Return every method of `upd_zoo.methods` by its id."""
    package = importlib.import_module("upd_zoo.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"upd_zoo.methods.{module.name}")
    return dict(sorted(METHODS.items()))


def create(method: str, channels: int, settings: Mapping[str, Setting]) -> Method:
    """Return a new, untrained method.

    Args:
        method: Its id.
        channels: 1 or 3.
        settings: Arguments of its class.

    Raises:
        NotFoundError: No method has this id.
        UsageError: The class does not take one of the settings.
    """
    methods = registered()
    if method not in methods:
        raise NotFoundError(f"no method is called '{method}'", closest(method, methods))
    try:
        return methods[method](channels, **settings)
    except TypeError as error:
        raise UsageError(f"{methods[method].title} cannot be made with {dict(settings)}: {error}") from error
