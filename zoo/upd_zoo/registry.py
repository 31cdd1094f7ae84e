"""The registry: every method by its id, those of other packages included."""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint

from upd_zoo.artefact.record import Setting
from upd_zoo.errors import NotFoundError, UsageError, closest
from upd_zoo.method import METHODS, Method
from upd_zoo.roster import foreign_methods, package_of


@cache
def registered() -> Mapping[str, type[Method]]:
    """Return every method by its id: those of `upd_zoo.methods`, and those that other packages name as entry points.

    A method of another package that cannot be imported is left out with a warning.

    Raises:
        UsageError: Two methods have the same id.
    """
    package = importlib.import_module("upd_zoo.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"upd_zoo.methods.{module.name}")
    for entry in foreign_methods():
        _enter(entry)
    return dict(sorted(METHODS.items()))


def _enter(entry: EntryPoint) -> None:
    """Import the module that an entry point names, which registers its method.

    Raises:
        UsageError: Another method has its id.
    """
    package, standing = package_of(entry), METHODS.get(entry.name)
    if standing is not None and entry.value.partition(":")[0] not in sys.modules:
        raise UsageError(
            f"two methods are called '{entry.name}': one of {standing.__module__}, one of the package {package}",
            "one method per id",
            f"remove one of the packages, such as with pip uninstall {package}",
        )
    before = dict(METHODS)
    try:
        entry.load()
        fault = "" if entry.name in METHODS else f"{entry.value} registers no method of this id"
    except (Exception, SystemExit) as error:  # whatever a package does when it is imported, ours can be used
        fault = f"{type(error).__name__}: {error}"
    if fault:
        METHODS.clear()
        METHODS.update(before)
        warnings.warn(f"The method '{entry.name}' of the package {package} is left out: {fault}", stacklevel=3)


def method_called(method: str) -> type[Method]:
    """Return a method by its id.

    Raises:
        NotFoundError: No method has this id, or its package cannot be imported.
    """
    methods = registered()
    if method not in methods:
        raise NotFoundError(
            f"no method is called '{method}'",
            closest(method, methods),
            "install the package that it comes from, where it is none of these",
        )
    return methods[method]


def create(method: str, channels: int, side: int, settings: Mapping[str, Setting]) -> Method:
    """Return a new, untrained method.

    Args:
        method: Its id.
        channels: 1 or 3.
        side: Height and width of the images in pixels.
        settings: Arguments of its class.

    Raises:
        NotFoundError: No method has this id.
        UsageError: The class does not take one of the settings.
    """
    kind = method_called(method)
    try:
        return kind(channels, side, **settings)
    except TypeError as error:
        raise UsageError(f"{kind.title} cannot be made with {dict(settings)}: {error}") from error
