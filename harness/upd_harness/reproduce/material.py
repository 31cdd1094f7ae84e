"""Whose images stand in the columns of a table and the panels of a figure, and what must be said of them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Material(StrEnum):
    """Whose images stand in the columns of a table and the panels of a figure."""

    STUDY = "study"
    """The study's own."""
    OPEN = "open"
    """Those that stand for them and need no data-use agreement."""
    PHANTOM = "phantom"
    """Those that stand for them and are made on this machine."""


BANNERS: Final[Mapping[Material, str]] = {
    Material.STUDY: "THE STUDY'S OWN DATA SETS",
    Material.OPEN: "OPEN STAND-INS, NOT THE STUDY'S DATA: WHAT IT PRINTED STANDS BESIDE THEM, AND JUDGES NONE",
    Material.PHANTOM: "PHANTOMS, NOT THE STUDY'S DATA: WHAT IT PRINTED STANDS BESIDE THEM, AND JUDGES NONE",
}
"""What terminal, page and files say of a material."""
