"""Which subject belongs to which part, decided by the subject's name alone.

A hash of salt and name gives every subject a position in [0, 1), and the parts cut that interval. So a subject stays
in its part whatever the order of the files, on every machine, and when others are added or cannot be read; the price
is that the shares are met only on average. The salt belongs to the data set and is never changed: another salt would
put subjects that a published model was trained on into the test.

The study's own splits go by place in a list instead: `shuffled` and `cut` are their arithmetic.

Who is in which part is written down too, a subject a line, in a text file beside each store. A subject that was once
listed in one part is never taken into another.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from upd_zoo.errors import UsageError
from upd_zoo.files import write_text

PartType = TypeVar("PartType")
Item = TypeVar("Item")

STUDY_SEED: Final = 42
"""Seed of every permutation of the study's loaders; independent of the seed of a run."""


def position(subject: str, salt: str) -> float:
    """Return the position of a subject in [0, 1): the first 53 bits of SHA-256 of salt, a zero byte and name."""
    digest = hashlib.sha256(f"{salt}\0{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def part_of(subject: str, shares: Mapping[PartType, float], salt: str) -> PartType:
    """Return the part that a subject belongs to.

    Args:
        subject: Name of the subject, unique in the data set.
        shares: The share of each part, in the order in which they cut the interval; they add up to 1.
        salt: Name of the split.

    Raises:
        UsageError: A share is negative, or they do not add up to 1.
    """
    if not math.isclose(sum(shares.values()), 1) or min(shares.values()) < 0:
        raise UsageError(f"the shares {list(shares.values())} do not divide a whole", "shares from 0 that add up to 1")
    place, end = position(subject, salt), 0.0
    *others, last = shares
    for part in others:
        end += shares[part]
        if place < end:
            return part
    return last


def shuffled(items: Sequence[Item], seed: int = STUDY_SEED) -> list[Item]:
    """Return the items in the order that `torch.randperm` on a CPU gives after `torch.manual_seed(seed)`.

    That is Fisher and Yates' shuffle, from the first place to the last, by the 32-bit numbers of a Mersenne Twister,
    which NumPy's `RandomState` draws too. torch does so up to some 200 million items.
    """
    order = list(items)
    draws = np.random.RandomState(seed).randint(1 << 32, size=len(order), dtype=np.uint32)
    for place, draw in enumerate(draws[:-1].tolist()):
        other = place + draw % (len(order) - place)
        order[place], order[other] = order[other], order[place]
    return order


def cut(items: Sequence[Item], percent: int) -> tuple[Sequence[Item], Sequence[Item]]:
    """Return the first `percent` in a hundred of the items, rounded down, and the rest."""
    end = len(items) * percent // 100
    return items[:end], items[end:]


def read_list(path: Path) -> list[str]:
    """Return the subjects that a text file lists; none where there is no file."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def extend_list(path: Path, subjects: Iterable[str]) -> None:
    """List subjects in a text file, in order of their names, beside those that it lists already."""
    listed = read_list(path)
    known = sorted({*listed, *subjects})
    if known != listed:
        write_text(path, "".join(f"{subject}\n" for subject in known))
