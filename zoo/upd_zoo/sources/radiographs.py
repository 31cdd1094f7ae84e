"""Chest radiographs that a table describes, whichever data set they come from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from upd_zoo.errors import InputError, InputErrorCode
from upd_zoo.images.framing import frame
from upd_zoo.images.gate import read_photograph
from upd_zoo.sources.tables import inside
from upd_zoo.stores.store import Sample
from upd_zoo.vocabulary import CHEST_XRAY, Side


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One row of a table.

    Attributes:
        name: Its file, relative to the data set's folder.
        subject: The patient.
        healthy: Whether it is used as a healthy one.
        sex: `F` or `M`; empty where it is not known.
        age: In whole years; None where it is not known.
        view: `PA` or `AP`; empty where it is not known.
    """

    name: str
    subject: str
    healthy: bool
    sex: str = ""
    age: int | None = None
    view: str = ""

    def read(self, root: Path, side: Side) -> list[Sample]:
        """Read it from the data set's folder, as a square of this side.

        Raises:
            InputError: Its name leads out of the folder, or the file cannot be read or is in colour.
        """
        image = frame(_grey(inside(root, self.name)), CHEST_XRAY.framing, side)
        return [Sample(image, not self.healthy, self.subject, sex=self.sex, age=self.age, view=self.view)]


def _grey(path: Path) -> npt.NDArray[np.float32]:
    """Return the pixels (1, H, W) in [0, 1] of a radiograph; some are stored as colours that are all grey."""
    image = read_photograph(path).data
    if (image != image[:1]).any():
        raise InputError(InputErrorCode.CHANNELS, f"{path.name} is in colour", "a grey radiograph")
    return image[:1]
