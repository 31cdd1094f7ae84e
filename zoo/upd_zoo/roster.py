"""Which methods there are, by their ids and without importing one: names are read where torch is not installed."""

from importlib.resources import files


def known_methods() -> tuple[str, ...]:
    """Return the id of every method, after which its module is named, in the order of the alphabet."""
    modules = (entry.name.removesuffix(".py") for entry in (files("upd_zoo") / "methods").iterdir())
    return tuple(sorted(name.replace("_", "-") for name in modules if name[0] != "_"))
