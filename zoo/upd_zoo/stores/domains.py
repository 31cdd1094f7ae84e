"""Domains of one's own: named by their owner, prepared from folders, and known where their stores lie.

    DATA/domains.toml    a table for each domain and test set, as in the list of those that mean the same everywhere

A program that has the data folder adopts them before it reads a name; what does not have it finds them nowhere. The
facts of such a domain travel in the configuration of every model of it, so that a model runs without the stores.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from upd_zoo.errors import UsageError
from upd_zoo.files import write_text
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Domain, Modality, TestSet, is_set_name, read_sets

FILE: Final = "domains.toml"
UNNAMED: Final = "own"
"""The domain of a model that is trained on a folder without giving it a name; each user has another."""
_LISTED: Final = frozenset({*DOMAINS, *TEST_SETS})
"""The names that mean the same everywhere."""
_ACCEPTED: Final = "a name of its own, of small letters, digits and single dashes, without -ccd"
_EXAMPLE: Final = "choose another, such as clinic"


def check_own_name(name: str) -> None:
    """Refuse a name for images of one's own that could be taken for one that means the same everywhere.

    A model's name ends in that of its images: one of `my-idrid` would read as a method's model of `idrid` wherever
    `my-idrid` is not known.

    Raises:
        UsageError: It is such a name, or none that a model's name could end in.
    """
    if not is_set_name(name):
        raise UsageError(f"'{name}' is no name for images of one's own", _ACCEPTED, _EXAMPLE)
    taken = next((listed for listed in sorted(_LISTED) if f"-{name}".endswith(f"-{listed}")), None)
    if taken is not None:
        raise UsageError(
            f"images of one's own cannot be called '{name}': '{taken}' means the same everywhere", _ACCEPTED, _EXAMPLE
        )


def adopt(data: Path) -> None:
    """Make the domains and test sets of a data folder known in this process, in place of those of another.

    Raises:
        UsageError: Its `domains.toml` cannot be read, or a name could be taken for one that means the same everywhere.
    """
    domains, test_sets = read_own(data)
    _replace(domains, test_sets)


def read_own(data: Path) -> tuple[dict[str, Domain], dict[str, TestSet]]:
    """Return the domains and test sets of a data folder, by identifier; nothing where it has none of its own.

    Raises:
        UsageError: Its `domains.toml` cannot be read, or a name could be taken for one that means the same everywhere.
    """
    domains, test_sets = read_sets(data / FILE) if (data / FILE).is_file() else ({}, {})
    for name in {*domains, *test_sets}:
        check_own_name(name)
    return domains, test_sets


def add_own(data: Path, domain: Domain, test_sets: Iterable[TestSet]) -> None:
    """Write a domain and its test sets beside the stores, in place of what was known by its name, and adopt all.

    Raises:
        UsageError: A name could be taken for one that means the same everywhere.
    """
    check_own_name(domain.id)
    domains, others = read_own(data)
    kept = [each for each in others.values() if each.domain != domain.id]
    _write(data / FILE, (domains | {domain.id: domain}).values(), (*kept, *test_sets))
    adopt(data)


def know_own(domain: Domain) -> None:
    """Make one domain known in this process, beside what is.

    Raises:
        UsageError: Its name could be taken for one that means the same everywhere.
    """
    check_own_name(domain.id)
    DOMAINS[domain.id] = domain


def _replace(domains: Mapping[str, Domain], test_sets: Mapping[str, TestSet]) -> None:
    for name in {*DOMAINS} - _LISTED:
        del DOMAINS[name]
    for name in {*TEST_SETS} - _LISTED:
        del TEST_SETS[name]
    DOMAINS.update(domains)
    TEST_SETS.update(test_sets)


def _write(path: Path, domains: Iterable[Domain], test_sets: Iterable[TestSet]) -> None:
    tables = [("domains", each.id, _facts(each)) for each in domains]
    tables += [("test_sets", each.id, _facts(each)) for each in test_sets]
    texts = [
        "\n".join((f"[{kind}.{name}]", *(f"{key} = {_quoted(value)}" for key, value in facts)))
        for kind, name, facts in tables
    ]
    write_text(path, "\n\n".join(texts) + "\n")


def _facts(record: Domain | TestSet) -> list[tuple[str, str | bool]]:
    """Return what the table of a domain or test set says, key by key."""
    facts = [(each.name, getattr(record, each.name)) for each in fields(record) if each.name != "id"]
    return [(key, value.id if isinstance(value, Modality) else value) for key, value in facts]


def _quoted(value: str | bool) -> str:
    """Return a value as TOML has it, which quotes texts as JSON does."""
    return json.dumps(value, ensure_ascii=False)
