"""Who is compared: which results are of one contestant, and what it is called.

A contestant is a method on its network, made in one way; its seeds are averaged. Two results of one method are of two
contestants where one of these tells them apart, and a name holds as many of them as are needed, `rd, camcan-t2`:

    domain      that a model learnt from, where it is not that of the test set
    revision    where it is neither the main one nor that of a seed
    place       the folder that was named, where two models of one seed would else be the same
    folder      within that place, likewise
    seed        where no test set had two contestants otherwise
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upd_zoo.artefact.records import Result
from upd_zoo.errors import UsageError
from upd_zoo.names import ModelId
from upd_zoo.vocabulary import TEST_SETS

_OF_A_SEED: Final = re.compile(r"main|local|seed-\d+")
"""Revisions that tell no more of how a model was made than its seed does."""
_NESTED: Final = "evaluation"
"""Folder of a grid's task that holds an evaluation for each test set."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A result that takes part.

    Attributes:
        result: What was measured.
        path: Its file.
        place: The folder that was named, in which it lies.
    """

    result: Result
    path: Path
    place: Path


Facets = tuple[str, ...]
"""Of a contestant: its method, then what tells it apart, empty where that says nothing."""


def names_of(entries: Sequence[Entry]) -> list[str]:
    """Return the name of the contestant of each result.

    Raises:
        UsageError: Two results on one test set are of the same model.
    """
    places = _shortest(entry.place for entry in entries)
    found = [_facets(entry.result) for entry in entries]
    found = _told_apart(entries, found, lambda entry: f"in {places[entry.place]}")
    found = _told_apart(entries, found, _folder)
    _check_once(entries, found)
    contestants: dict[str, set[Facets]] = defaultdict(set)
    for entry, facets in zip(entries, found, strict=True):
        contestants[entry.result.test_set].add(facets)
    if all(len(rivals) == 1 for rivals in contestants.values()):
        found = [(*facets, f"seed {entry.result.seed}") for entry, facets in zip(entries, found, strict=True)]
    needed = [len({*values}) > 1 for values in zip(*found, strict=True)]
    return [
        ", ".join((facets[0], *(value for value, told in zip(facets[1:], needed[1:], strict=True) if value and told)))
        for facets in found
    ]


def _facets(result: Result) -> Facets:
    """Return method, domain and revision of a result."""
    revision = "" if _OF_A_SEED.fullmatch(result.revision) else f"revision {result.revision}"
    try:
        model = ModelId.parse(result.model)
    except UsageError:  # maps of any origin, or of a domain that is not known here
        return result.model, "", revision
    home, domain = TEST_SETS.get(result.test_set), model.domain.id
    method = model.method if model.backbone is None else f"{model.method}.{model.backbone}"
    own = "" if home is not None and home.domain == domain else domain
    return f"{method}{'-ccd' if model.ccd else ''}", own, revision


def _told_apart(entries: Sequence[Entry], found: Sequence[Facets], told: Callable[[Entry], str]) -> list[Facets]:
    """Return facets with one more, which says something where results of one seed would else be one contestant's."""
    seeds: dict[Facets, set[tuple[str, int]]] = defaultdict(set)
    clash: set[Facets] = set()
    for entry, facets in zip(entries, found, strict=True):
        once = (entry.result.test_set, entry.result.seed)
        if once in seeds[facets]:
            clash.add(facets)
        seeds[facets].add(once)
    return [(*facets, told(entry) if facets in clash else "") for entry, facets in zip(entries, found, strict=True)]


def _folder(entry: Entry) -> str:
    """Return where a result lies in its place, without what is told already: model, seed and test set."""
    parts = entry.path.parents[1].relative_to(entry.place).parts
    kept = (part for part in parts if part not in (_NESTED, entry.result.test_set))
    return "/".join(name for part in kept if (name := part.partition("@seed-")[0].removeprefix(entry.result.model)))


def _shortest(places: Iterable[Path]) -> dict[Path, str]:
    """Return the last folders of each place, as many as tell all of them apart."""
    paths, length = {*places}, 1
    while len({path.parts[-length:] for path in paths}) < len(paths):
        length += 1
    return {path: "/".join(path.parts[-length:]) for path in paths}


def _check_once(entries: Sequence[Entry], found: Sequence[Facets]) -> None:
    """Refuse a model that takes part twice on one test set: by its files, or by all that could tell it apart."""
    known: set[tuple[object, ...]] = set()
    for entry, facets in zip(entries, found, strict=True):
        result = entry.result
        keys = {(result.test_set, facets, result.seed), (result.test_set, result.model, result.seed, result.manifest)}
        if keys & known:
            raise UsageError(
                f"two results on {result.test_set} are of {result.model}@{result.revision}",
                "each once",
                "leave one out",
            )
        known |= keys
