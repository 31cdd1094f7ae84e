"""The orientation that an Exif block or a TIFF directory names, and nothing else of it.

Both have one structure. Cameras, phones and editors write its other parts in many broken ways, and a good image does
not become a bad one by them: what cannot be read of the orientation is said, and the image is taken as it is stored.

Source: TIFF 6.0 for the structure; Exif 2.32 for the orientation.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from upd_zoo.caution import Caution, CautionCode

BYTE_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION: Final = 274
_ENTRY: Final = 12
_ORIENTATIONS: Final = range(1, 9)
_UPRIGHT: Final = 1
_CODES: Final = {1: "B", 3: "H", 4: "I"}
_UNREADABLE: Final = Caution(
    CautionCode.ORIENTATION,
    "What the file says of its orientation cannot be read; the image is taken as it is stored. See in the overlay "
    "whether it is upright; if not, turn it and save it again.",
)


def orientation(blocks: Iterable[bytes | memoryview]) -> tuple[int, tuple[Caution, ...]]:
    """Return the orientation, 1 to 8, that a file's blocks agree on, and what is doubtful about it.

    Args:
        blocks: Every Exif block of the file, or the whole file where it is a TIFF; none means upright.
    """
    named = {value for block in blocks for value in _named(bytes(block))}
    readable = [value for value in named if value is not None]
    if not named:
        return _UPRIGHT, ()
    if len(readable) == 1 and readable[0] in _ORIENTATIONS:
        return readable[0], ()
    return _UPRIGHT, (_UNREADABLE,)


def _named(block: bytes) -> Iterator[int | None]:
    """Yield every orientation in the first directory of a block; None for what cannot be read."""
    try:
        order = BYTE_ORDERS[block[:4]]
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + _ENTRY * entries, _ENTRY):
            tag, kind, count = struct.unpack_from(f"{order}HHI", block, at)
            if tag == _ORIENTATION:
                yield struct.unpack_from(f"{order}{_CODES[kind]}", block, at + 8)[0] if count == 1 else None
    except (struct.error, KeyError):
        yield None
