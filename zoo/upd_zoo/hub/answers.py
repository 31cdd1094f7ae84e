"""What is answered where a model is not to be had: why, how to make it, and what there is in its place.

Everything follows from the name of the model, the facts of the domains and what a hub lists; no network is needed.
"""

import shlex
from collections.abc import Collection, Iterator
from typing import Final

from upd_zoo.errors import NotFoundError, closest, did_you_mean
from upd_zoo.names import ModelId
from upd_zoo.roster import known_methods
from upd_zoo.suggestions import nearest_models
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Domain

_LIST: Final = "upd-zoo list"
_ACCESS: Final = {
    "agreement": "whose images come under an agreement ({licence})",
    "open": "whose images are open ({licence})",
    "synthetic": "which are drawn on this machine",
}
"""What is told of the images that a model learns from, by the access to them."""


def unknown_model(model: ModelId, known: Collection[str], place: str = "", *, hidden: bool = False) -> NotFoundError:
    """Return the error that says that a hub does not hold a model, what it holds like it, and how to make it.

    Args:
        model: What was asked for.
        known: The names of the models of the hub.
        place: How the hub is written; empty where none is meant.
        hidden: Whether the hub may keep it from who does not show a token.
    """
    if _is_no_method(model, known):
        return _no_method(model)
    named = f"no model is called {_both_names(model)}" + (f" on {place}" if place else "")
    accepted = closest(model.canonical.name, known) if known else ""
    listing = f"{_LIST} --hub {shlex.quote(place)}" if place else _LIST
    ways = ["pass --token if it is private"] if hidden else []
    ways += [] if hidden and not known else [listing]  # who hides a model may list none
    return NotFoundError(named, accepted, f"{', or '.join(ways)}, or {how_to_make(model)}")


def not_published(model: ModelId, listed: Collection[str], place: str, packaged: Collection[str] = ()) -> NotFoundError:
    """Return the error that says that the weights of a model are nowhere to be fetched yet.

    Args:
        model: What was asked for.
        listed: The names of the models that are published.
        place: The hub that would hold it, how it is written.
        packaged: The names of the models that lie in this package.
    """
    if _is_no_method(model, {*listed, *packaged}):
        return _no_method(model)
    domain, canonical = model.domain, model.canonical.name
    weights = "its weights" if model.name == canonical else f"its weights, {canonical},"
    why = _ACCESS[domain.access].format(licence=domain.licence)
    relatives = [_offer_packaged(ModelId.parse(name), model) for name in _near(model, packaged)]
    relatives += [_offer(each, listed) for each in _relatives(model) if each.name not in packaged]
    return NotFoundError(
        f"{model.name} is not published yet: {weights} learn from {domain.title}, {why}",
        f"a relative on images of the same kind: {' or '.join(relatives)}" if relatives else "",
        f"{how_to_make(model)}, and then name out/runs/{canonical}/artefact in its place; "
        f"or add --hub {place} to ask whether it is there by now",
    )


def unknown_revision(model: ModelId, known: Collection[str]) -> NotFoundError:
    """Return the error that says that a model has no such revision, and what to type instead."""
    return NotFoundError(f"{model.name} has no revision '{model.revision}'", closest(model.revision, known), _LIST)


def how_to_make(model: ModelId) -> str:
    """Return the commands that make a model, in one line for a shell."""
    domain, name = model.domain, model.canonical.name
    root = "" if domain.synthetic else " --root FOLDER"
    start = f"upd-zoo pretrain {name} && " if model.ccd else ""
    return f"upd-zoo prepare {domain.id}{root} && {start}upd-zoo train {name}"


def _is_no_method(model: ModelId, known: Collection[str]) -> bool:
    """Return whether a method is unknown here and to a hub, which may hold models of methods from elsewhere."""
    return model.method not in {*known_methods(), *(ModelId.parse(name).method for name in known)}


def _no_method(model: ModelId) -> NotFoundError:
    near = nearest_models(model.name, known_methods(), {*DOMAINS, *TEST_SETS})
    accepted = did_you_mean(near) if near else closest(model.method, known_methods())
    return NotFoundError(f"no method is called '{model.method}'", accepted, _LIST)


def _both_names(model: ModelId) -> str:
    canonical = model.canonical.name
    return model.name if model.name == canonical else f"{model.name} (whose weights are {canonical})"


def _relatives(model: ModelId) -> Iterator[ModelId]:
    """Yield the models of the same method on images of the same kind that need no agreement."""
    own = model.domain
    for domain in DOMAINS.values():
        if domain.id != own.id and domain.access != "agreement" and _alike(domain, own):
            yield ModelId(model.method, model.backbone, domain.id, model.ccd)


def _near(model: ModelId, packaged: Collection[str]) -> list[str]:
    """Return which packaged models know images of the same modality, those of the same contrast and method first."""
    near = [name for name in packaged if ModelId.parse(name).domain.modality == model.domain.modality]
    return sorted(near, key=lambda name: _distance(ModelId.parse(name), model))


def _distance(other: ModelId, model: ModelId) -> tuple[bool, bool, str]:
    return not _alike(other.domain, model.domain), other.method != model.method, other.name


def _alike(domain: Domain, other: Domain) -> bool:
    return (domain.modality, domain.contrast) == (other.modality, other.contrast)


def _offer_packaged(model: ModelId, asked: ModelId) -> str:
    """Return a packaged model with what it learnt from, and whether that is another contrast than was asked for."""
    other = "" if _alike(model.domain, asked.domain) else f", {model.domain.contrast} instead"
    return f"{model.name} ({model.domain.title}{other}; in this package)"


def _offer(model: ModelId, listed: Collection[str]) -> str:
    """Return a model with what it learns from and how to get it."""
    how = f"upd-zoo pull {model.name}" if model.name in listed else f"not published either: {how_to_make(model)}"
    return f"{model.name} ({model.domain.title}; {how})"
