"""What a frozen backbone says of every training image, computed once and kept on disk while a method learns from it."""

import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from upd_zoo.fitting.learner import Learner
from upd_zoo.layers.backbone import FeatureBackbone

FOLDER: Final = "levels"
"""In the folder of a run, and only while it is trained."""
MOST: Final = 4 << 30
"""Bytes that levels may take; those of more images are computed anew in every step."""
_FREE: Final = 2
"""How many times what levels take must be free on the disk."""


class KeptLevels:
    """Levels of all training images, in files that are mapped into memory.

    Args:
        backbone: Frozen.
        count: Number of images.
        folder: For the files; what lies there is of a run that was killed, and goes.
    """

    def __init__(self, backbone: FeatureBackbone, count: int, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder, self._filled = folder, 0
        self._levels = [
            np.memmap(folder / f"{number}.float32", np.float32, "w+", shape=(count, *shape))
            for number, shape in enumerate(_shapes(backbone), start=1)
        ]

    def append(self, levels: Iterable[Tensor]) -> None:
        """Keep the levels (B, C, H, W) of the next images."""
        for kept, level in zip(self._levels, levels, strict=True):
            kept[self._filled : self._filled + len(level)] = level.permute(0, 2, 3, 1).numpy()
        self._filled += len(level)

    def of(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> list[Tensor]:
        """Return the levels (B, C, H, W) of some images, by their rows, channels last in memory."""
        return [torch.from_numpy(kept[rows]).permute(0, 3, 1, 2) for kept in self._levels]

    def remove(self) -> None:
        """Remove the files."""
        self._levels.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def recalling(
    method: Learner, kept: KeptLevels | None, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> AbstractContextManager[None]:
    """Return a context in which a method's backbone answers with the kept levels of some images, if any are kept."""
    backbone = method.described_by()
    return nullcontext() if kept is None or backbone is None else backbone.recalling(kept.of(rows))


def are_worth_keeping(backbone: FeatureBackbone, count: int, looks: int, folder: Path) -> bool:
    """Return whether levels of images are kept: each is looked at twice or more, and the disk has room.

    Args:
        backbone: Frozen.
        count: Number of images.
        looks: How many images all steps look at together, those before a stop included: so a run that goes on does as
            it did.
        folder: On the disk in question.
    """
    taken = 4 * count * sum(map(prod, _shapes(backbone)))
    return looks >= 2 * count and taken <= MOST and shutil.disk_usage(folder).free >= _FREE * taken


def _shapes(backbone: FeatureBackbone) -> list[tuple[int, int, int]]:
    return [(side, side, channels) for side, channels in zip(backbone.sides, backbone.channels, strict=True)]
