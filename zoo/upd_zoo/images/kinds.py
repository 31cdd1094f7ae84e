"""Of which kind are these images? Told where it is plain, and asked for where it is not.

A volume is a brain scan. A fundus is a disc in reds on a dark ground; a chest film is grey and fills its frame.
Whatever else a picture shows, a slice of a brain or a drawing, is not guessed at.

All of 467 photographs of IDRiD are told, and 724 of 736 films of NIH ChestX-ray14; the other films, and all of 180
slices of 15 heads of IXI along any axis, are told for neither.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import InputError, UsageError
from upd_zoo.images.gate import VOLUME_SUFFIXES, read_photograph, suffix_of
from upd_zoo.images.photograph import Photograph, thinned
from upd_zoo.vocabulary import BRAIN_MRI, CHEST_XRAY, FUNDUS, MODALITIES, Modality

_LOOKED_AT: Final = 12
"""Files of which the kind is told, spread evenly over all."""
_AGREED: Final = 0.75
"""Share of them that must be of one kind; among many there is always an odd one."""
_CORNER: Final = 16
"""A corner is a square with so many to a side of the image."""
_DARK: Final = 0.1
"""Of the brightest pixels: corners of photographs of IDRiD reach 0.03 at most."""
_FILLED: Final = 0.75
"""Share of a chest film that is not dark; 98.4 % of them have more, and no slice of a head has more than 0.69."""
_RED: Final = 1.1
"""How much more red than green, and how much more green than blue; in IDRiD at least 1.57 and 1.24."""
_BRIGHTEST: Final = 0.999


def modality_of(files: Sequence[Path]) -> Modality:
    """Return of which kind images are.

    Args:
        files: Volumes or photographs, of which some are looked at.

    Raises:
        UsageError: They are of several kinds, or of none that is plain.
    """
    rows = np.unique(np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).astype(int))
    found = Counter(_kind_of(files[row]) for row in rows)
    found.pop("unreadable", 0)
    kind, count = found.most_common(1)[0] if found else ("", 0)
    if kind in MODALITIES and count >= _AGREED * found.total():
        return MODALITIES[kind]
    told = ", ".join(f"{number} {name}" for name, number in found.most_common()) or "none of them can be read"
    raise UsageError(
        f"of which kind these images are is not plain: of {len(rows)} looked at, {told}",
        ", ".join(MODALITIES),
        f"add --modality {FUNDUS.id}, or whichever it is",
    )


def _kind_of(path: Path) -> str:
    """Return the modality of a file, what else it may be, or `unreadable`."""
    if suffix_of(path) in VOLUME_SUFFIXES:
        return BRAIN_MRI.id
    try:
        return kind_of_photograph(read_photograph(path))
    except InputError:
        return "unreadable"


def kind_of_photograph(photograph: Photograph) -> str:
    """Return the modality of a picture, or what it looks like where that is none for sure."""
    seen = thinned(photograph.stored.transpose(1, 2, 0)).astype(np.float32)
    brightness = seen.max(axis=2)
    dark = _DARK * float(np.quantile(brightness, _BRIGHTEST))
    shown = brightness > dark
    if (seen == seen[..., :1]).all():
        return CHEST_XRAY.id if shown.mean() >= _FILLED else "grey on black"
    red, green, blue = seen[shown].mean(axis=0)
    is_fundus = red > _RED * green and green > _RED * blue and _dark_corners(brightness, dark)
    return FUNDUS.id if is_fundus else "other colour pictures"


def _dark_corners(brightness: npt.NDArray[np.float32], dark: float) -> bool:
    """Return whether all four corners are dark."""
    height, width = (max(1, side // _CORNER) for side in brightness.shape)
    parts = [brightness[rows, columns] for rows in _ends(height) for columns in _ends(width)]
    return all(float(part.mean()) <= dark for part in parts)


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)
