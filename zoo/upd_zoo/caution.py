"""Cautions: what a user should know of one input that is scored all the same.

An `InputError` says that a file cannot be used; a `Caution` says that its score may not mean what it seems to. Both
have a code for programs and a sentence for people. Cautions travel with the image, from the reader that noticed it to
`results.jsonl`, the terminal and the report, where they are called warnings.
"""

from enum import StrEnum
from typing import Any, NamedTuple


class CautionCode(StrEnum):
    """What is doubtful about an input; written to `results.jsonl` as `warnings[].code`."""

    BITS = "bits"
    """It uses a small part of its type's range."""
    CHANNELS = "channels"
    """It has other channels than the model takes, and they were reduced."""
    COARSE = "coarse"
    """It has fewer pixels than the model looks at."""
    CROPPED = "cropped"
    """The model did not see all of what it shows."""
    FORMS = "forms"
    """Its header places it in two different ways."""
    NO_GEOMETRY = "no-geometry"
    """A picture taken for a slice: nothing says how it lies."""
    NOT_FINITE = "not-finite"
    """Values that are no numbers were taken for background."""
    ORIENTATION = "orientation"
    """What its file says of its orientation cannot be read."""
    OUTLIER = "outlier"
    """A few values lie far above the rest."""
    SKULL = "skull"
    """More tissue than a brain has: the skull may not be stripped."""
    SPACE = "space"
    """Its slices are those of another space than its own."""
    TILTED = "tilted"
    """Its slices are not those that the model knows: the head is turned."""
    TRAILING = "trailing"
    """Bytes follow after its end."""
    UNLIKE = "unlike"
    """It lies outside what the model knows of healthy images."""


class Caution(NamedTuple):
    """What a user should know of one input that is scored all the same.

    Attributes:
        code: What is doubtful, for programs.
        message: The same for people, with figures and a remedy, as whole sentences.
    """

    code: CautionCode
    message: str

    def as_document(self) -> dict[str, Any]:
        """Return it as `results.jsonl` holds it."""
        return {"code": str(self.code), "message": self.message}
