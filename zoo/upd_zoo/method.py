"""The contract of a method: what it learns from healthy images, and the map it draws of a new one.

A method is one class in one file, made known by the decorator `register`; nothing else names it. The file lies in
`upd_zoo.methods`, or in another package that names it as an entry point: see `upd_zoo.roster`.
Whatever it fits, draws or looks up is a parameter or a buffer, so that its `state_dict` and its settings are the whole
method. Its map is a function of the image alone: nothing is sampled at test time, no image depends on its neighbours.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeVar

from torch import Tensor

from upd_zoo.errors import UsageError
from upd_zoo.fitting.learner import Learner
from upd_zoo.layers.encoder import Encoder

if TYPE_CHECKING:
    from upd_zoo.fitting.batches import Batches
    from upd_zoo.fitting.trainer import Trainer


class Prediction(NamedTuple):
    """What a detector says of a batch of images.

    Attributes:
        anomaly_map: (B, 1, H, W) float32, higher is more anomalous; exactly 0 outside the foreground.
        score: (B,) float32, higher is more anomalous.
    """

    anomaly_map: Tensor
    score: Tensor


class Method(Learner):
    """What learns from healthy images and maps anomalies.

    Args of every subclass: `channels`, 1 or 3, and `side`, the height and width of images in pixels; then the method's
    own settings by keyword, each with a default that is the study's value for brain MRI.
    """

    title: ClassVar[str]
    """Name in the study, such as CFLOW-AD."""
    least_rank_correlation: ClassVar[float | None] = None
    """For maps in which rounding grows: what the order of their values must share between formats, instead of the
    values themselves; Spearman's correlation."""

    def fit(self, batches: "Batches", trainer: "Trainer") -> None:
        """Learn from healthy images; by default by gradient descent on `training_step`.

        A method of several phases calls `trainer.minimise` once for each, with the turns that its steps take; one that
        needs statistics of all images reads them with `trainer.visit`.
        """
        trainer.minimise(self, batches)

    def encoders(self) -> Sequence[Encoder]:
        """Return the networks that may start from weights learnt beforehand, all from the same; nothing if none may."""
        return ()

    @abstractmethod
    def training_step(self, images: Tensor) -> dict[str, Tensor]:
        """Return named losses of a batch; `loss` is descended, the rest is logged.

        Args:
            images: (B, C, H, W) float32 in the method's pixel convention: [0, 1], or [-1, 1] where its recipe centres.
        """

    @abstractmethod
    def anomaly_map(self, images: Tensor) -> Tensor:
        """Return (B, 1, H, W) float32, higher where more anomalous, of images as `training_step` takes them."""

    def score(self, images: Tensor, pooled: Tensor) -> Tensor:  # noqa: ARG002 - methods with a score use it
        """Return (B,) float32, higher where more anomalous; by default what the domain's rule makes of the map.

        Args:
            images: As `anomaly_map` takes them.
            pooled: (B,) the map's maximum or mean over the foreground, whichever is the domain's rule.
        """
        return pooled

    def reconstruct(self, images: Tensor) -> Tensor | None:  # noqa: ARG002 - methods that reconstruct use it
        """Return (B, C, H, W) as the method would draw healthy images instead, or None where it draws none."""
        return None

    def synthetic(self, images: Tensor) -> dict[str, Tensor]:  # noqa: ARG002 - methods with synthetic anomalies use it
        """Return images with the synthetic anomalies that training plants, (B, C, H, W) each, by the anomaly's name."""
        return {}


METHODS: Final[dict[str, type[Method]]] = {}
"""Those whose files were imported, by id; `upd_zoo.registry` imports them all."""
MethodType = TypeVar("MethodType", bound=type[Method])


def register(method: MethodType) -> MethodType:
    """Make a method known by its `id`; a class decorator.

    Raises:
        UsageError: Another method has the same `id`.
    """
    if method.id in METHODS:
        both = f"{METHODS[method.id].__module__} and {method.__module__}"
        raise UsageError(f"two methods are called '{method.id}', in {both}", "one class per id")
    METHODS[method.id] = method
    return method
