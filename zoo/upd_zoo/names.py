"""What models are called: one grammar, one parser.

<method>[.<backbone>]-<domain or test set>[-ccd][@<revision>]
"""

import os
import re
from dataclasses import dataclass, replace
from typing import Final

from upd_zoo.errors import UsageError, did_you_mean
from upd_zoo.roster import known_methods
from upd_zoo.suggestions import nearest_models
from upd_zoo.vocabulary import DOMAINS, TEST_SETS, Domain, get_domain

MAIN: Final = "main"
"""The revision that is meant where none is named."""
_METHOD = re.compile(r"(?P<method>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?:\.(?P<backbone>[a-z0-9_]+(?:\.[a-z0-9_]+)?))?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GRAMMAR = "<method>[.<backbone>]-<domain or test set>[-ccd][@<revision>], such as rd-brats-t2 or vae-idrid@seed-1"
_ARTEFACT = f"{_GRAMMAR}; or, where a model is used, a folder such as out/runs/vae-phantom-t2/artefact"


def _nearest(name: str) -> str:
    """Return what a name that does not follow the grammar may have meant, or the grammar."""
    near = nearest_models(name, known_methods(), {*DOMAINS, *TEST_SETS})
    return did_you_mean(near) if near else _GRAMMAR


@dataclass(frozen=True, slots=True)
class ModelId:
    """The name of a model: `<method>[.<backbone>]-<domain or test set>[-ccd][@<revision>]`.

    Attributes:
        method: Identifier of the method, such as `rd`.
        backbone: timm name of the feature backbone where it is not the method's own; else None.
        target: Domain or test set as the user wrote it.
        ccd: Whether the weights started from CCD pre-training.
        revision: `main`, or a seed such as `seed-1`.
    """

    method: str
    backbone: str | None
    target: str
    ccd: bool = False
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> "ModelId":
        """Read a model name.

        Raises:
            UsageError: `text` does not follow the grammar, or names no known domain or test set.
        """
        name, at, revision = text.partition("@")
        if {"/", os.sep} & {*name}:
            raise UsageError(f"'{text}' is no model's name, and no artefact lies there", _ARTEFACT, "check the path")
        if at and not _REVISION.fullmatch(revision):
            raise UsageError(f"'{revision}' is not a revision", _GRAMMAR)
        stem = name.removesuffix("-ccd")
        targets = [target for target in {*DOMAINS, *TEST_SETS} if stem.endswith(f"-{target}")]
        if not targets:
            raise UsageError(f"'{text}' ends in no known domain or test set", _nearest(name), "upd-zoo list")
        target = max(targets, key=len)
        match = _METHOD.fullmatch(stem[: -len(target) - 1])
        if match is None:
            raise UsageError(f"'{text}' does not begin with a method", _nearest(name), "upd-zoo list")
        return cls(match["method"], match["backbone"], target, name.endswith("-ccd"), revision or MAIN)

    @property
    def domain(self) -> Domain:
        """The domain that the weights were trained on."""
        return get_domain(self.target)

    @property
    def canonical(self) -> "ModelId":
        """The one name under which the weights are stored: the target replaced by its domain."""
        return replace(self, target=self.domain.id)

    @property
    def name(self) -> str:
        """The name without its revision, which is also the name of the repository on the Hub."""
        method = self.method if self.backbone is None else f"{self.method}.{self.backbone}"
        return f"{method}-{self.target}{'-ccd' if self.ccd else ''}"

    def __str__(self) -> str:
        return self.name if self.revision == MAIN else f"{self.name}@{self.revision}"
