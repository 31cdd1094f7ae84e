"""What somebody may have meant who mistyped the name of a model: only names that can be."""

import re
from collections.abc import Collection, Iterator
from difflib import SequenceMatcher
from typing import Final

from upd_zoo.errors import ALIKE, fold

_LIKE: Final = 0.6
"""How alike each half of a name must be to a real one, by the ratio of difflib."""
_MOST: Final = 3
_PARTS: Final = re.compile(r"(?P<method>[^.]+)(?P<backbone>\.[a-z0-9_]+(?:\.[a-z0-9_]+)?)?(?P<rest>-.+)")


def nearest_models(text: str, methods: Collection[str], targets: Collection[str]) -> list[str]:
    """Return the names of models nearest to one that was mistyped, the nearest first; none where none is near.

    Method and target are compared each by itself, wherever the one may end and the other begin, so that a typo in one
    of them does not lead to another name of the other.

    Args:
        text: What was typed, without a revision.
        methods: The ids of the methods there are.
        targets: The ids of the domains and test sets there are.
    """
    parts = _PARTS.fullmatch(text)
    backbone = (parts["backbone"] or "") if parts else ""
    written = fold(text.replace(backbone, "", 1) if backbone else text)
    stem = written.removesuffix("-ccd")
    ending = written.removeprefix(stem)
    found: dict[str, float] = {}
    for head, tail in _halves(stem):
        for method, by_method in _alike(head, methods):
            for target, by_target in _alike(tail, targets):
                name = f"{method}{backbone}-{target}{ending}"
                found[name] = max(found.get(name, 0.0), (by_method + by_target) / 2)
    best = max(found.values(), default=0.0)
    near = [name for name, likeness in found.items() if likeness >= best - ALIKE / 2]  # each half counts half
    return sorted(near, key=lambda name: (-found[name], name))[: 1 if best == 1 else _MOST]


def _halves(stem: str) -> Iterator[tuple[str, str]]:
    places = (place for place, sign in enumerate(stem) if sign == "-")
    return ((stem[:place], stem[place + 1 :]) for place in places)


def _alike(written: str, names: Collection[str]) -> list[tuple[str, float]]:
    """Return the names that are like what was written, with how alike they are."""
    rated = ((name, SequenceMatcher(None, written, name).ratio()) for name in names)
    return [(name, likeness) for name, likeness in rated if likeness >= _LIKE]
