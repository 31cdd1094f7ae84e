"""Which methods there are, by their ids and without importing one: names are read where torch is not installed.

Those of the zoo are the files of `upd_zoo.methods`. Another package names its own as entry points:

    [project.entry-points."upd_zoo.methods"]
    toy = "toy_zoo.toy"             # the id, and the module in which the class is registered

and keeps the recipe beside that module, as `recipes/toy.toml`.
"""

from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

GROUP: Final = "upd_zoo.methods"


def known_methods() -> tuple[str, ...]:
    """Return the id of every method, in the order of the alphabet."""
    return tuple(sorted({*own_methods(), *(entry.name for entry in foreign_methods())}))


def own_methods() -> tuple[str, ...]:
    """Return the id of every method of the zoo, after which its module is named, in the order of the alphabet."""
    names = (entry.name for entry in (files("upd_zoo") / "methods").iterdir())
    modules = (name.removesuffix(".py") for name in names if name.endswith(".py") and name[0] != "_")
    return tuple(sorted(name.replace("_", "-") for name in modules))


def foreign_methods() -> tuple[EntryPoint, ...]:
    """Return what other packages name as their methods, whether it can be imported or not."""
    return tuple(entry_points(group=GROUP))


def package_of(entry: EntryPoint) -> str:
    """Return the name of the package that an entry point comes from, as it was installed."""
    return entry.value if entry.dist is None else entry.dist.name


def foreign_recipe(method: str) -> Path | None:
    """Return the recipe that lies beside the module of another package's method; None where there is none."""
    for entry in foreign_methods():
        if entry.name == method:
            with suppress(
                Exception
            ):  # whatever a package does when it is imported is told where its method is asked for
                spec = find_spec(entry.module)
                path = Path(str(spec and spec.origin)).parent / "recipes" / f"{method}.toml"
                if path.is_file():
                    return path
    return None
