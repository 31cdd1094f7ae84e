"""Which subject belongs to which part, decided by the subject's name alone.

A hash of salt and name gives every subject a position in [0, 1), and the parts cut that interval. So a subject stays
in its part whatever the order of the files, on every machine, and when others are added or cannot be read; the price
is that the shares are met only on average. The salt belongs to the data set and is never changed: another salt would
put subjects that a published model was trained on into the test.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import TypeVar

from upd_zoo.errors import UsageError

PartType = TypeVar("PartType")


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
