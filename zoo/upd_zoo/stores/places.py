"""Where prepared stores lie, and which of them a protocol reads; no reader of a data set is needed to say so."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

from upd_zoo.vocabulary import SCALES, STUDY_SIDE, Framing, Protocol, Scale, Side, get_domain, has_study_splits

DATA_VARIABLE: Final = "UPD_ZOO_DATA"


class Part(StrEnum):
    """What the images of a store are for; no subject is in two parts."""

    TRAIN = "train"
    VALIDATION = "validation"
    """Healthy images that no weight has seen, for calibration."""
    TEST = "test"


class StoreName(NamedTuple):
    """The name of a prepared store, which is also its place in the data folder.

    Such as `idrid/train`, `ddr/train-study` and `idrid/train-256`.

    Attributes:
        target: A domain (train, validation) or a test set (test).
        part: What its images are for.
        protocol: `study` where it is chosen, split or scaled as in the study; the store that both protocols read is
            `sound`.
        side: Height and width of its images in pixels; told where it is not the study's.
    """

    target: str
    part: Part
    protocol: Protocol = Protocol.SOUND
    side: Side = STUDY_SIDE

    @property
    def scale(self) -> Scale | None:
        """Which value of its brain scans becomes 1; None of photographs."""
        return SCALES[self.protocol] if get_domain(self.target).modality.framing is Framing.SQUARE_SLICES else None

    def __str__(self) -> str:
        study = "-study" if self.protocol is Protocol.STUDY else ""
        side = "" if self.side == STUDY_SIDE else f"-{self.side}"
        return f"{self.target}/{self.part}{study}{side}"


def data_folder(option: Path | None = None) -> Path:
    """Return the folder of the prepared stores.

    It is `option`, or else the environment variable `UPD_ZOO_DATA`, or else `data` in the user's own folder for
    upd-zoo's data.
    """
    if option is not None:
        return option
    variable = os.environ.get(DATA_VARIABLE)
    return Path(variable) if variable else platformdirs.user_data_path("upd-zoo", appauthor=False) / "data"


def store_name(target: str, part: str, protocol: Protocol = Protocol.SOUND, side: Side = STUDY_SIDE) -> StoreName:
    """Return which store training, export and evaluation under a protocol read.

    It is the study's own where the protocol is `study` and such splits are known or the images are brain scans,
    else the one that both read.

    Args:
        target: Identifier of a domain (for `train` and `validation`) or of a test set (for `test`).
        part: `train`, `validation` or `test`.
        protocol: The protocol of the model.
        side: The side of its images in pixels.

    Raises:
        ValueError: There is no such part.
    """
    own = StoreName(target, Part(part), protocol, side)
    return own if has_study_splits(target) or own.scale is not None else own._replace(protocol=Protocol.SOUND)


def store_path(
    data: Path, target: str, part: str, protocol: Protocol = Protocol.SOUND, side: Side = STUDY_SIDE
) -> Path:
    """Return where `store_name` of the same arguments is below the folder of the prepared stores."""
    return data / str(store_name(target, part, protocol, side))
