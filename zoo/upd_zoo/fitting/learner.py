"""What the trainer trains: a module that names its losses, and the turns in which its parts descend them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from upd_zoo.layers.backbone import FeatureBackbone


@dataclass(frozen=True, slots=True)
class Turn:
    """One update within a step of optimisation.

    Attributes:
        objective: Name of the method's function, images -> named losses, whose `loss` is descended.
        part: Name of the submodule whose parameters move; the whole method where it is empty.
    """

    objective: str = "training_step"
    part: str = ""


class Learner(nn.Module, ABC):
    """What learns from images by descending a loss."""

    id: ClassVar[str]
    """Identifier in model names, such as `cflow-ad`."""

    @abstractmethod
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return named losses of a batch (B, C, H, W) float32; `loss` is descended, the rest is logged."""

    def described_by(self) -> FeatureBackbone | None:
        """Return the frozen backbone whose levels are all that training reads of an image; None where it reads more."""
        return None

    def forward(self, images: Tensor, objective: str = "training_step") -> dict[str, Tensor]:
        """Return the named losses of one objective: what data-parallel wrappers call."""
        losses: dict[str, Tensor] = getattr(self, objective)(images)
        return losses


def trainable(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that training may change."""
    return (parameter for parameter in module.parameters() if parameter.requires_grad)
