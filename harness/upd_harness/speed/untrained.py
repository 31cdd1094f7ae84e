"""Models with drawn weights: as large and as fast as trained ones, and good for nothing else.

Torch is imported here alone, and only when a model is made.
"""

from dataclasses import dataclass
from typing import Final

from upd_zoo.artefact.appearance import coarse, figures_of
from upd_zoo.artefact.calibration import Calibration, Quantiles, appearance_of
from upd_zoo.artefact.records import Config, Training
from upd_zoo.names import ModelId
from upd_zoo.recipe import Recipe, draft_of
from upd_zoo.runtime.model import Array, Model
from upd_zoo.vocabulary import SCALES, Framing

LABEL: Final = "random weights"
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model is.

    Attributes:
        trained: Parameters that training moves.
        frozen: Parameters of a backbone that training leaves alone.
        stored: Bytes of all weights, statistics and tables that its file holds.
    """

    trained: int
    frozen: int
    stored: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trained + self.frozen


def untrained(model: ModelId, recipe: Recipe, look: Array) -> tuple[Model, Size]:
    """Return a model that nobody trained, on the accelerator where there is one, and its size.

    Args:
        model: Its name.
        recipe: Decides its networks and what happens to its maps.
        look: (N, C, H, W) in [0, 1], images that it is to take for healthy ones, so that it refuses no file of theirs.
    """
    import torch

    from upd_zoo.detector import Detector
    from upd_zoo.runtime.eager import as_predict

    torch.manual_seed(_SEED)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    config = config_of(model, recipe)
    detector = Detector.from_config(config)
    sizes = {True: 0, False: 0}
    for parameter in detector.method.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    stored = sum(tensor.nbytes for tensor in detector.method.state_dict().values())
    predict = as_predict(detector.to(device), device)
    loaded = Model(config, calibration_of(look), "0" * 64, "torch", device, "float32", predict)
    return loaded, Size(sizes[True], sizes[False], stored)


def config_of(model: ModelId, recipe: Recipe) -> Config:
    """Return the configuration of a model that nobody trained."""
    scans = recipe.domain.modality.framing is Framing.SQUARE_SLICES
    training = Training(
        profile=recipe.profile,
        seed=_SEED,
        phases={},
        batch_size=recipe.batch_size,
        images=0,
        subjects=0,
        store="0" * 64,
        device="cpu",
    )
    scale = SCALES[recipe.protocol] if scans else None
    return draft_of(model.name, recipe.method, recipe, training, scale, [LABEL])


def calibration_of(look: Array) -> Calibration:
    """Return what such a model would know of healthy images: made-up scores, and how some images look.

    Args:
        look: (N, C, H, W) in [0, 1].
    """
    spread = Quantiles(count=3, levels=[0.0, 0.5, 0.999, 1.0], values=[0.0, 1.0, 5.0, 6.0])
    return Calibration(
        dataset="none",
        image_scores=spread,
        subject_scores=spread,
        map_values=spread,
        false_positive_rate=0.05,
        appearance=appearance_of(figures_of(look), coarse(look), [str(number) for number in range(len(look))]),
        image_threshold=5.0,
        subject_threshold=5.0,
        map_threshold=5.0,
    )
